import pytest
from matplotlib.colors import to_rgb

from resnet_bench.catalogue import VARIANTS
from resnet_bench.present import theme


def test_every_variant_has_a_colour_and_a_marker_of_its_own() -> None:
    assert set(theme.VARIANT_COLOURS) == set(VARIANTS) == set(theme.VARIANT_MARKERS)
    assert len(set(theme.VARIANT_COLOURS.values())) == len(VARIANTS)
    assert len({theme.marker_of(depth) for depth in VARIANTS}) == len(VARIANTS)


def simulated(colour: str, matrix: list[list[float]]) -> list[float]:
    linear = [channel**2.2 for channel in to_rgb(colour)]
    seen = [sum(w * c for w, c in zip(row, linear, strict=True)) for row in matrix]
    return [max(0.0, channel) ** (1 / 2.2) for channel in seen]


# Machado, Oliveira and Fernandes 2009, Table 1, severity 1.0.
PROTANOPIA = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
DEUTERANOPIA = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]


@pytest.mark.parametrize("matrix", [PROTANOPIA, DEUTERANOPIA])
@pytest.mark.parametrize("colours", [theme.VARIANT_COLOURS, theme.SHORTCUT_COLOURS])
def test_colours_stay_apart_for_colour_blind_eyes(
    colours: dict[object, str], matrix: list[list[float]]
) -> None:
    seen = [simulated(colour, matrix) for colour in colours.values()]
    for index, one in enumerate(seen):
        for other in seen[:index]:
            distance = sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
            assert distance > 0.15


def test_a_user_model_keeps_its_colour_and_two_of_them_differ() -> None:
    names = ["mine:net", "mine:other", "yours:net", 18]
    chosen = theme.palette(names)
    assert len(set(chosen.values())) == len(names)
    assert chosen["mine:net"] == theme.colour_of("mine:net")
    assert theme.marker_of("mine:net") == theme.USER_MARKER


def test_more_user_models_than_colours_share_some() -> None:
    names = [f"mine:net{index}" for index in range(9)]
    assert list(theme.palette(names)) == names


def test_arms_have_fixed_colours() -> None:
    assert theme.colour_of("plain") == theme.SHORTCUT_COLOURS["plain"]


def test_a_tint_is_between_the_colour_and_white() -> None:
    assert theme.tint("#0072B2", 1) == "#0072b2"
    assert theme.tint("#0072B2", 0) == "#ffffff"


def test_tints_of_a_series_are_told_from_every_other_colour() -> None:
    for name, colour in theme.SERIES.items():
        for strength in (1.0, 0.75, 0.5, 0.25):
            assert theme.series_of(theme.tint(colour, strength)) == name
    others = [*theme.USER_COLOURS, theme.NEUTRAL, "#ffffff", "#000000", "#cccccc"]
    assert {theme.series_of(theme.tint(each, 0.6)) for each in others} == {None}


def test_names_from_outside_are_shown_literally_or_with_question_marks() -> None:
    assert theme.drawable("a $x$\nb") == "a $x$\nb"
    assert theme.drawable("net\u6df1") == "net?"


def test_a_title_that_is_wider_than_its_figure_continues_on_another_line() -> None:
    parts = "digits on photographs · weights suite:photo-digits-0-4 · 3 seeds · EPYC"
    made = theme.figure(f"Gains\n{parts}", width=4.0)
    lines = made.get_suptitle().split("\n")
    assert " · ".join(lines[1:]) == parts
    assert [len(line) <= 50 for line in lines] == [True] * 3
    made.draw_without_rendering()
    (title,) = (text for text in made.texts if text.get_text().startswith("Gains"))
    assert title.get_window_extent().x1 <= made.bbox.x1
    wide = theme.figure(f"Gains\n{parts}", width=8.0)
    assert wide.get_suptitle() == f"Gains\n{parts}"
