"""One look for every figure: colours, markers, fonts and axes.

Figures are built on `matplotlib.figure.Figure` directly, so that nothing is kept
in pyplot's global list and nothing needs a display.
"""

import zlib
from collections.abc import Callable, Iterable
from functools import cache
from operator import mul
from typing import Any

import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from resnet_bench.output import printable

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
    "text.color": "#222222",
    # A user model's name may hold a dollar sign; it is never mathematics.
    "text.parse_math": False,
    "xtick.color": "#444444",
    "xtick.labelsize": 9,
    "ytick.color": "#444444",
    "ytick.labelsize": 9,
}


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


#: The series that a reader can highlight, and their colours.
SERIES = {str(depth): colour for depth, colour in VARIANT_COLOURS.items()}
SERIES |= SHORTCUT_COLOURS

#: A tint paler than this is told from no other.
PALEST = 0.2


@cache
def series_of(colour: str) -> str | None:
    """Return the series whose colour, or a tint of it, this is; None if it is none."""
    return next((name for name in SERIES if _is_tint(colour, SERIES[name])), None)


def _is_tint(colour: str, full: str) -> bool:
    """Return whether `colour` is `full` mixed with white, to a step of 8 bits."""
    paler = [1 - channel for channel in to_rgb(colour)]
    whole = [1 - channel for channel in to_rgb(full)]
    strength = sum(map(mul, paler, whole)) / sum(map(mul, whole, whole))
    off = max(abs(p - strength * w) for p, w in zip(paler, whole, strict=True))
    return bool(PALEST <= strength < 1.01 and off < 1.5 / 255)


#: Of titles: their size in points, and how many letters fit into an inch (13 seen).
TITLE_SIZE = 11
TITLE_LETTERS_PER_INCH = 12.5
SEPARATOR = " · "


def figure(title: str, *, width: float = 7.2, height: float = 4.2) -> Figure:
    """Return an empty themed figure, sizes in inches.

    The title names the data and the machine, as every figure's must. It continues on
    another line where its parts do not fit beside each other.
    """
    sns.set_theme(context="paper", style="ticks", rc=STYLE)
    made = Figure(figsize=(width, height), layout="constrained")
    lines = [_folded(line, width) for line in drawable(title).split("\n")]
    made.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=TITLE_SIZE)
    return made


def _folded(line: str, width: float) -> str:
    """Break a title between its parts where it is longer than the figure is wide."""
    folded, *others = line.split(SEPARATOR)
    for part in others:
        last = folded.rpartition("\n")[2]
        fits = len(last + SEPARATOR + part) <= TITLE_LETTERS_PER_INCH * width
        folded += (SEPARATOR if fits else "\n") + part
    return folded


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


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(FONT)).get_charmap())


def drawable(text: str) -> str:
    """Return `text` with what the font cannot draw shown as a question mark.

    Control characters are shown as such.
    """
    return "".join(
        each if each == "\n" or ord(each) in _characters() else "?"
        for each in printable(text)
    )
