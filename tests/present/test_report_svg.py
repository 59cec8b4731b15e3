import re

from matplotlib.figure import Figure

from resnet_bench.present import theme
from resnet_bench.present.svg import drawing, luminance, page_svg


def example() -> Figure:
    made = theme.figure("Title\nwhere & when", width=3, height=2)
    axes = theme.axes(made, x="work (GMAC)", y="time (ms)")
    axes.barh([0], [3], color=theme.colour_of(18))
    axes.barh([1], [2], color=theme.tint(theme.colour_of(34), 0.5))
    axes.plot([0, 1], [0, 1], color=theme.SHORTCUT_COLOURS["residual"])
    axes.plot([0, 1], [1, 0], color="#440154")
    axes.set_title("one part", loc="left")
    return made


def test_a_drawing_is_described_for_those_who_do_not_see_it() -> None:
    made = drawing("time", example(), "a")
    assert (made.title, made.subtitle) == ("Title", "where & when")
    assert made.description == (
        "Title where & when. one part, horizontal: work (GMAC), vertical: time (ms)"
    )
    assert 'role="img" aria-label="Title where &amp; when. one part' in made.svg


def test_ids_of_two_figures_of_a_page_differ() -> None:
    one, other = (page_svg(example(), prefix, "") for prefix in ("a", "b"))
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = re.findall(r'(?:href="|url\()#([^")]+)', one)
    assert set(used) <= ids[0]


def test_neutral_colours_follow_the_page_and_series_are_marked() -> None:
    text = page_svg(example(), "a", "")
    assert "var(--paper)" in text
    assert "var(--ink)" in text
    assert re.search(r'fill: #0072b2"? ?[^>]*data-series="18"', text)
    assert 'data-series="34"' in text
    assert 'data-series="residual"' in text


def test_dark_lines_are_lifted_on_a_dark_page_and_areas_are_not() -> None:
    text = page_svg(example(), "a", "")
    assert "stroke: color-mix(in srgb, #440154, white var(--lift))" in text
    dark_area = theme.figure("T", width=2, height=2)
    theme.axes(dark_area, x="", y="").barh([0], [1], color="#440154", lw=0)
    assert "fill: #440154" in page_svg(dark_area, "a", "")


def test_the_svg_scales_with_the_page_and_carries_no_metadata() -> None:
    text = page_svg(example(), "a", "")
    opening = text[: text.index(">")]
    assert opening.startswith("<svg")
    assert " width=" not in opening
    assert "viewBox=" in opening
    assert "metadata" not in text
    assert not re.search(r"\d\.\d{3,}", text)


def test_luminance_goes_from_black_to_white() -> None:
    assert luminance("#000000") == 0
    assert luminance("#ffffff") == 1
    assert 0.2 < luminance("#808080") < 0.23
