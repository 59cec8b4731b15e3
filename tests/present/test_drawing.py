import io
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from resnet_bench.errors import InputOutputError
from resnet_bench.present import theme
from resnet_bench.present.drawing import (
    PNG_DOTS_PER_INCH,
    compact,
    drawing,
    luminance,
    page_svg,
    png_bytes,
    save_figure,
    svg_text,
)


def example(title: str = "Title\nwhere & when") -> Figure:
    made = theme.figure(title, width=3, height=2)
    axes = theme.axes(made, x="work (GMAC)", y="time (ms)")
    axes.barh([0], [3], color=theme.colour_of(18))
    axes.barh([1], [2], color=theme.tint(theme.colour_of(34), 0.5))
    axes.plot([0, 1], [0, 1], color=theme.SHORTCUT_COLOURS["residual"])
    axes.plot([0, 1], [1, 0], color="#440154")
    axes.set_title("one part", loc="left")
    return made


EXAMPLE = drawing("time", example())


def test_a_drawing_is_described_for_those_who_do_not_see_it() -> None:
    made = drawing("time", example())
    assert made.title == "Title"
    assert made.description == (
        "Title where & when. one part, horizontal: work (GMAC), vertical: time (ms)"
    )
    assert 'role="img" aria-label="Title where &amp; when. one part' in page_svg(
        made, "a"
    )


def test_ids_of_two_figures_of_a_page_differ() -> None:
    one, other = (page_svg(EXAMPLE, prefix) for prefix in ("a", "b"))
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = re.findall(r'(?:href="|url\()#([^")]+)', one)
    assert set(used) <= ids[0]


def test_control_characters_of_a_figure_are_shown_as_such() -> None:
    text = svg_text(example("a \x1b[1m"))
    assert "a \\x1b[1m" in text
    assert "\x1b" not in text


def test_ids_of_a_page_are_made_anew() -> None:
    text = page_svg(EXAMPLE, 'x_"><script>')
    assert "script" not in re.sub("x-script-", "", text)


def test_neutral_colours_follow_the_page_and_series_are_marked() -> None:
    text = page_svg(EXAMPLE, "a")
    assert "var(--paper)" in text
    assert "var(--ink)" in text
    assert re.search(r'<g data-series="18"><path [^>]*fill: #0072b2', text)
    assert EXAMPLE.series == {"18", "34", "residual"}


def test_dark_lines_are_lifted_on_a_dark_page_and_areas_are_not() -> None:
    text = page_svg(EXAMPLE, "a")
    assert "stroke: color-mix(in srgb, #440154, white var(--lift))" in text
    dark_area = theme.figure("T", width=2, height=2)
    theme.axes(dark_area, x="", y="").barh([0], [1], color="#440154", lw=0)
    assert "fill: #440154" in page_svg(drawing("dark", dark_area), "a")


def test_the_svg_scales_with_the_page_and_carries_no_metadata() -> None:
    text = page_svg(EXAMPLE, "a")
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


def saved(folder: Path) -> list[Path]:
    figure = example()
    return save_figure(figure, drawing("time", figure), folder)


def test_the_same_figure_gives_the_same_files(tmp_path: Path) -> None:
    first, second = saved(tmp_path / "a"), saved(tmp_path / "b")
    assert [path.name for path in first] == ["time.png", "time.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_palette_of_a_png_keeps_its_colours() -> None:
    drawn, true = theme.figure("T", width=3, height=2), io.BytesIO()
    theme.axes(drawn, x="x", y="y").plot([0, 1], color=theme.colour_of(18))
    packed = png_bytes(drawn)
    drawn.savefig(true, format="png", dpi=PNG_DOTS_PER_INCH)
    images = [
        Image.open(io.BytesIO(raw)).convert("RGB") for raw in (true.getvalue(), packed)
    ]
    expected, found = (np.asarray(image, dtype=float) for image in images)
    assert expected.shape == found.shape
    assert np.abs(expected - found).max() < 16
    assert np.abs(expected - found).mean() < 0.1


def test_text_in_an_svg_is_text_and_holds_no_date() -> None:
    assert ">work (GMAC)<" in EXAMPLE.svg
    assert not re.search(r"\d{4}-\d{2}-\d{2}T", EXAMPLE.svg)
    assert "$x^2$ &lt;b&gt;" in svg_text(example("$x^2$ <b>"))


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputOutputError, match="cannot write figure"):
        saved(tmp_path / "file")


def test_coordinates_are_rounded_and_labels_keep_every_digit() -> None:
    svg = (
        '<path d="M 1.23456 -0.0012 \nL 3.999999 4"/><text x="1.005001">0.00123</text>'
    )
    assert compact(svg) == '<path d="M 1.23 0 L 4 4"/><text x="1.01">0.00123</text>'


def test_a_long_line_is_rounded_to_a_tenth_of_a_point() -> None:
    line = " ".join(f"L {number}.123456 1.0" for number in range(60))
    assert "L 59.1 1" in compact(f'<path d="{line}"/>')


def test_only_ids_that_are_used_are_kept() -> None:
    svg = '<g id="a"/><path id="b" d="M 1 2"/><use xlink:href="#b"/>'
    assert compact(svg) == '<g/><path id="b" d="M 1 2"/><use xlink:href="#b"/>'


def test_text_that_looks_like_geometry_is_left_alone() -> None:
    svg = '<text>d="1.23456" id="z"</text>'
    assert compact(svg) == svg
