"""One look for every figure: colours, fonts, and how a figure becomes files.

Figures are built on `matplotlib.figure.Figure` directly, so that nothing is kept
in pyplot's global list and nothing needs a display.
"""

import io
import re
import zlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from resnet_bench.errors import InputOutputError

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


def compact(svg: str) -> str:
    """Return an SVG with rounded coordinates and only the ids that are used.

    What stands between tags, the text of labels, is left as it is.
    """
    used = set(_REFERENCE.findall(svg))

    def tag(found: re.Match[str]) -> str:
        text = _IDENTITY.sub(lambda each: each[0] if each[1] in used else "", found[0])
        return _GEOMETRY.sub(_rounded, text)

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


#: Okabe and Ito's colours (Color Universal Design, 2008), which stay apart under
#: the three common kinds of colour blindness; each variant keeps its own.
VARIANT_COLOURS = {
    18: "#0072B2",
    34: "#E69F00",
    50: "#009E73",
    101: "#CC79A7",
    152: "#D55E00",
}

#: Markers repeat what colours say, for print and for those who see no colour.
VARIANT_MARKERS = {18: "o", 34: "s", 50: "D", 101: "^", 152: "v"}

#: Paul Tol's high-contrast pair (2021), also apart in greyscale.
SHORTCUT_COLOURS = {"plain": "#BB5566", "residual": "#004488"}

#: What is left for user models, apart from VARIANT_COLOURS (Tol, muted).
USER_COLOURS = ("#882255", "#332288", "#44AA99", "#999933", "#AA4499", "#117733")

NEUTRAL = "#5A5A5A"
USER_MARKER = "P"

SVG_SALT = "resnet-bench"
PNG_DOTS_PER_INCH = 160
FONT = "DejaVu Sans"

STYLE: dict[str, Any] = {
    "axes.edgecolor": "#444444",
    "axes.labelcolor": "#222222",
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 10.5,
    "figure.dpi": 100,
    "font.family": "sans-serif",
    "font.sans-serif": [FONT],
    "grid.color": "#E3E3E3",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": SVG_SALT,
    "text.color": "#222222",
    # A user model's name may hold a dollar sign; it is never mathematics.
    "text.parse_math": False,
    "xtick.color": "#444444",
    "xtick.labelsize": 9,
    "ytick.color": "#444444",
    "ytick.labelsize": 9,
}


def apply_theme() -> None:
    """Set the style of all figures made from now on."""
    sns.set_theme(context="paper", style="ticks", rc=STYLE)


def colour_of(name: object) -> str:
    """Return the colour of a variant, a shortcut or a user model.

    A user model's colour follows from its name alone, so that it is the same in
    every figure of every run.
    """
    if isinstance(name, int) and name in VARIANT_COLOURS:
        return VARIANT_COLOURS[name]
    text = str(name)
    if text in SHORTCUT_COLOURS:
        return SHORTCUT_COLOURS[text]
    return USER_COLOURS[zlib.crc32(text.encode()) % len(USER_COLOURS)]


def palette(names: Iterable[object]) -> dict[object, str]:
    """Return a colour for each name; two user models of one figure differ."""
    chosen: dict[object, str] = {}
    for name in names:
        colour = colour_of(name)
        free = [each for each in USER_COLOURS if each not in chosen.values()]
        if colour in chosen.values() and free:
            colour = free[0]
        chosen.setdefault(name, colour)
    return chosen


def marker_of(name: object) -> str:
    """Return the marker of a variant; user models share one."""
    if isinstance(name, int):
        return VARIANT_MARKERS.get(name, USER_MARKER)
    return USER_MARKER


def tint(colour: str, strength: float) -> str:
    """Return `colour` mixed with white; strength 1 is the colour, 0 is white."""
    red, green, blue = (1 - strength * (1 - channel) for channel in to_rgb(colour))
    return to_hex((red, green, blue))


def figure(title: str, *, width: float = 7.2, height: float = 4.2) -> Figure:
    """Return an empty themed figure, sizes in inches.

    The title names the data and the machine, as every figure's must.
    """
    apply_theme()
    made = Figure(figsize=(width, height), layout="constrained")
    made.suptitle(drawable(title), x=0.01, ha="left", fontsize=11)
    return made


def axes(on: Figure, *, x: str, y: str) -> Axes:
    """Return one pair of axes, labelled with quantity and unit."""
    drawn = on.add_subplot()
    drawn.set_xlabel(x)
    drawn.set_ylabel(y)
    return drawn


def plain_log_ticks(axis: Axis, label: Callable[[float], str]) -> None:
    """Put plain numbers at 1, 2 and 5 times each power of ten of a log axis.

    Mathematics is off in this theme, so the usual powers would show as markup.
    """
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_formatter(NullFormatter())


@lru_cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(FONT)).get_charmap())


def drawable(text: str) -> str:
    """Return `text` with what the font cannot draw shown as a question mark."""
    return "".join(
        each if each == "\n" or ord(each) in _characters() else "?" for each in text
    )


def _lay_out(drawn: Figure) -> None:
    """Give everything its place, once: matplotlib would do it at each of four draws."""
    engine = drawn.get_layout_engine()
    if engine is not None and drawn.axes:
        engine.execute(drawn)
        drawn.set_layout_engine(None)


def svg_text(drawn: Figure) -> str:
    """Return a figure as SVG with its text as text, the same for the same figure."""
    _lay_out(drawn)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": SVG_SALT}):
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return compact(buffer.getvalue())


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


def save(drawn: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `name`.png and `name`.svg into `folder` and return their paths.

    Both are free of dates and versions, so the same run gives the same files.
    Raises InputOutputError if the folder cannot be written.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        png.write_bytes(png_bytes(drawn))
        svg.write_text(svg_text(drawn), encoding="utf-8")
    except OSError as error:
        raise InputOutputError(f"cannot write figure {png}: {error}") from error
    return png, svg
