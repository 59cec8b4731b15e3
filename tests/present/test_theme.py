import io
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from resnet_bench.catalogue import VARIANTS
from resnet_bench.errors import InputOutputError
from resnet_bench.present import theme


def example(title: str = "Time of a step") -> Figure:
    made = theme.figure(title, width=3, height=2)
    axes = theme.axes(made, x="work (GMAC)", y="time (ms)")
    axes.plot([0, 1], [1, 2], color=theme.colour_of(18))
    return made


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


def test_the_same_figure_gives_the_same_files(tmp_path: Path) -> None:
    first = theme.save(example(), tmp_path / "a", "time")
    second = theme.save(example(), tmp_path / "b", "time")
    assert [path.name for path in first] == ["time.png", "time.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_palette_of_a_png_keeps_its_colours() -> None:
    drawn, true = example(), io.BytesIO()
    packed = theme.png_bytes(drawn)
    drawn.savefig(true, format="png", dpi=theme.PNG_DOTS_PER_INCH)
    images = [
        Image.open(io.BytesIO(raw)).convert("RGB") for raw in (true.getvalue(), packed)
    ]
    expected, found = (np.asarray(image, dtype=float) for image in images)
    assert expected.shape == found.shape
    assert np.abs(expected - found).max() < 16
    assert np.abs(expected - found).mean() < 0.1


def test_text_in_an_svg_is_text() -> None:
    text = theme.svg_text(example())
    assert ">Time of a step<" in text
    assert ">work (GMAC)<" in text
    assert not re.search(r"\d{4}-\d{2}-\d{2}T", text)


def test_names_from_outside_are_drawn_literally_or_with_question_marks() -> None:
    assert theme.drawable("a $x$\nb") == "a $x$\nb"
    assert theme.drawable("net\u6df1") == "net?"
    assert "$x^2$ &lt;b&gt;" in theme.svg_text(example("$x^2$ <b>"))


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputOutputError, match="cannot write figure"):
        theme.save(example(), tmp_path / "file", "time")
