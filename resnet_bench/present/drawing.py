"""Figures as files and as parts of a page, where they follow the page's colours.

Whatever is drawn in the colour of a series carries that series' name, so that a page
can highlight it.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from PIL import Image

from resnet_bench.errors import InputOutputError
from resnet_bench.output import printable
from resnet_bench.present.theme import series_of

PNG_DOTS_PER_INCH = 160

SVG_SALT = "resnet-bench"

#: Begins the id of an element that belongs to a series.
SERIES_MARK = "series:"

#: Digits after the point, in points of 1/72 inch: a hundredth, and a tenth for lines
#: of many corners, which is an eighth of a pixel on a screen.
FINE, COARSE = 2, 1

#: From this many numbers on, a path is a long line.
LONG = 100

_TAG = re.compile(r"<[a-zA-Z][^>]*>")
_GEOMETRY = re.compile(
    r'(?<= )(d|x|y|width|height|points|transform)="((?!scale|matrix)[^"]*)"'
)
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_IDENTITY = re.compile(r' id="([^"]+)"')
_REFERENCE = re.compile(r'(?:href="|url\()#([^")]+)')


def _lay_out(drawn: Figure) -> None:
    """Lay the figure out once: matplotlib would do it at each of four draws."""
    engine = drawn.get_layout_engine()
    if engine is not None and drawn.axes:
        engine.execute(drawn)
        drawn.set_layout_engine(None)


def svg_text(drawn: Figure) -> str:
    """Return a figure as SVG with its text as text, the same for the same figure.

    Elements of a series say so in `data-series`.
    """
    _lay_out(drawn)
    mark_series(drawn)
    buffer = io.StringIO()
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": SVG_SALT,
            # Put together, images would be enlarged to the figure's pixels.
            "image.composite_image": False,
        }
    ):
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return printable(compact(buffer.getvalue()))


def mark_series(drawn: Figure) -> None:
    """Name every artist of a figure by the one series whose colour it has."""
    for artist in drawn.findobj():
        named = {series_of(to_hex(colour)) for colour in _colours(artist)} - {None}
        if len(named) == 1:
            artist.set_gid(f"{SERIES_MARK}{named.pop()}")


def _colours(artist: Artist) -> Iterator[Any]:
    if isinstance(artist, Text):
        yield artist.get_color()
    elif isinstance(artist, Line2D):
        yield artist.get_color()
        yield artist.get_markerfacecolor()
        yield artist.get_markeredgecolor()
    elif isinstance(artist, Patch):
        yield artist.get_facecolor()
        yield artist.get_edgecolor()
    elif isinstance(artist, Collection) and artist.get_array() is None:
        yield from artist.get_facecolor()
        yield from artist.get_edgecolor()


def compact(svg: str) -> str:
    """Return an SVG with rounded coordinates and only the ids that are used.

    What stands between tags, the text of labels, is left as it is.
    """
    used = set(_REFERENCE.findall(svg))

    def identity(found: re.Match[str]) -> str:
        if found[1].startswith(SERIES_MARK):
            return f' data-series="{found[1].removeprefix(SERIES_MARK)}"'
        return found[0] if found[1] in used else ""

    def tag(found: re.Match[str]) -> str:
        return _GEOMETRY.sub(_rounded, _IDENTITY.sub(identity, found[0]))

    return _TAG.sub(tag, svg)


def _rounded(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    numbers = len(_NUMBER.findall(value))
    digits = COARSE if name == "d" and numbers >= LONG else FINE
    value = _NUMBER.sub(lambda each: _short(float(each[0]), digits), value)
    return f'{name}="{" ".join(value.split())}"'


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def png_bytes(drawn: Figure) -> bytes:
    """Return a figure as PNG with a palette of 256 colours, a third of the size.

    Most figures hold few colours beside the shades of smoothed edges. Where there
    are more, as in heat maps, a shade can be off by a step; the SVG holds the true one.
    """
    _lay_out(drawn)
    pixels, packed = io.BytesIO(), io.BytesIO()
    # Not compressed: these pixels are read again at once.
    uncompressed = {"compress_level": 0}
    drawn.savefig(pixels, format="png", dpi=PNG_DOTS_PER_INCH, pil_kwargs=uncompressed)
    with Image.open(pixels) as image:
        palette = image.convert("RGB").quantize(dither=Image.Dither.NONE)
        dots = (PNG_DOTS_PER_INCH, PNG_DOTS_PER_INCH)
        palette.save(packed, "PNG", optimize=True, dpi=dots)
    return packed.getvalue()


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG, and its description for a page."""

    name: str
    #: The first line of the figure's title.
    title: str
    #: What it shows in words, for those who do not see it.
    description: str
    #: Width in inches, by which the page keeps text readable.
    inches: float
    svg: str

    @property
    def series(self) -> set[str]:
        """The series that it shows."""
        return set(re.findall(r'data-series="([^"]+)"', self.svg))


def drawing(name: str, figure: Figure) -> Drawing:
    """Return a figure drawn."""
    return Drawing(
        name=name,
        title=figure.get_suptitle().partition("\n")[0],
        description=description(figure),
        inches=round(float(figure.get_figwidth()), 2),
        svg=svg_text(figure),
    )


def description(figure: Figure) -> str:
    """Return the words of a figure's titles and axes as a sentence."""
    parts = [figure.get_suptitle()]
    for axes in figure.axes:
        labels = {"horizontal": axes.get_xlabel(), "vertical": axes.get_ylabel()}
        title = axes.get_title(loc="left") or axes.get_title()
        said = [title] if title else []
        said += [f"{side}: {label}" for side, label in labels.items() if label]
        parts.append(", ".join(said))
    return ". ".join(" ".join(part.split()) for part in parts if part)


#: Neutral colours of the theme become variables, so that a dark page can turn them.
VARIABLES = {
    "#ffffff": "paper",
    "#222222": "ink",
    "#111111": "ink",
    "#000000": "ink",
    "#262626": "ink",
    "#444444": "axis",
    "#5a5a5a": "muted",
    "#999999": "muted",
    "#cccccc": "axis",
    "#e3e3e3": "grid",
}

#: Relative luminance below which a line would not be seen on a dark page.
DARK = 0.1

_STYLE = re.compile(r'style="([^"]*)"')
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_NAMES = re.compile(r'(id="|href="#|url\(#)([^")]+)')


def page_svg(drawn: Drawing, prefix: str) -> str:
    """Return a drawing's SVG element alone, with variables for its colours.

    `prefix` keeps its ids apart from those of the page's other drawings; ids are made
    anew, of letters, digits and hyphens only.
    """
    text = drawn.svg[drawn.svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = _NAMES.sub(lambda found: f"{found[1]}{_id(f'{prefix}-{found[2]}')}", text)
    text = _STYLE.sub(_themed, text)
    text = re.sub(r">\s+<", "><", text)
    opening, rest = text.split(">", 1)
    opening = re.sub(r' (?:width|height)="[^"]*"', "", opening)
    label = f'<svg role="img" aria-label="{escape(drawn.description)}"'
    return f"{opening.replace('<svg', label)}>{rest}".strip()


def _id(name: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", name)


def _themed(found: re.Match[str]) -> str:
    # Areas keep their colours: a dark one may be an end of a colour scale.
    is_line = "stroke: #" in found[1]

    def adapted(each: re.Match[str]) -> str:
        colour = each[0].lower()
        if colour in VARIABLES:
            return f"var(--{VARIABLES[colour]})"
        if luminance(colour) < DARK and (is_line or series_of(colour)):
            return f"color-mix(in srgb, {colour}, white var(--lift))"
        return colour

    return f'style="{_COLOUR.sub(adapted, found[1])}"'


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2, from 0 to 1)."""
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in to_rgb(colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def save_figure(figure: Figure, drawn: Drawing, folder: Path) -> list[Path]:
    """Write a figure and its drawing as PNG and SVG; return their paths.

    Both are free of dates and versions, so the same run gives the same files.
    Raises InputOutputError if the folder cannot be written.
    """
    png, svg = folder / f"{drawn.name}.png", folder / f"{drawn.name}.svg"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        png.write_bytes(png_bytes(figure))
        svg.write_text(drawn.svg, encoding="utf-8")
    except OSError as error:
        raise InputOutputError(f"cannot write figure {png}: {error}") from error
    return [png, svg]
