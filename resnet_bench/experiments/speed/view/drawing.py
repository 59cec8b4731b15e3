"""What the figures of `speed` share: rows of bars, error bars and legends."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from resnet_bench.present import theme
from resnet_bench.statistics.intervals import Interval

MILLISECONDS = 1e3
BLACK = "#111111"

#: Intervals are drawn up to this multiple of the largest estimate.
FARTHEST = 2.0

#: How dark the bars of the two kinds of call are.
STRENGTHS = {"train": 1.0, "inference": 0.5}


def end_of(interval: Interval) -> float:
    """Return where an interval is drawn to: the estimate where bounds lack."""
    return interval.high if interval.bounded else interval.estimate


def spread(intervals: Sequence[Interval]) -> list[list[float]]:
    """Return how far bounds lie below and above; 0 where they cannot be told."""
    return [
        [each.estimate - each.low if each.bounded else 0.0 for each in intervals],
        [end_of(each) - each.estimate for each in intervals],
    ]


def stacked_bar(
    axes: Axes, y: float, left: float, width: float, height: float, colour: str
) -> None:
    """Draw a part of a stack of horizontal bars."""
    axes.barh(y, width, height, left, color=colour, edgecolor="white", lw=0.8)


def whisker(axes: Axes, at: float, y: float, interval: Interval, **look: Any) -> None:
    """Draw an interval as a horizontal bar around `at`."""
    style = {"color": BLACK, "capsize": 3, "lw": 1.1, **look}
    axes.errorbar([at], [y], xerr=spread([interval]), **style)


def point(axes: Axes, x: float, interval: Interval, **look: Any) -> None:
    """Draw an estimate above `x` with its interval."""
    axes.errorbar([x], [interval.estimate], yerr=spread([interval]), **look)


def name_bars(axes: Axes, names: Sequence[str]) -> None:
    """Put a name beside each of the rows of a horizontal chart, the first on top."""
    axes.set_yticks(range(len(names)), [theme.drawable(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def bar_chart(
    title: str, names: Sequence[str], x: str, inches_per_row: float
) -> Figure:
    """Return a figure with a named row for each bar."""
    made = theme.figure(title, height=1.5 + inches_per_row * len(names))
    axes = theme.axes(made, x=x, y="")
    name_bars(axes, names)
    axes.tick_params(axis="y", length=0)
    return made


def look_of(identity: object, colour: str, *, filled: bool) -> dict[str, Any]:
    """Return colour and marker of a model; what is not trained has an empty marker."""
    return {
        "marker": theme.marker_of(identity),
        "color": colour,
        "markerfacecolor": colour if filled else "white",
    }


def sample(
    label: str, marker: str = "o", colour: str = theme.NEUTRAL, **look: Any
) -> Line2D:
    """Return a marker for a legend."""
    return Line2D(
        [],
        [],
        marker=marker,
        ls="none",
        color=colour,
        label=theme.drawable(label),
        **look,
    )


def limit_axis(axes: Axes, estimates: Sequence[float]) -> None:
    """Begin the horizontal axis at 0 and end it before what no estimate reaches.

    A wide interval would leave no room for the others: it runs out of the picture.
    """
    most = FARTHEST * max(estimates, default=math.inf)
    axes.set_xlim(0, min(axes.get_xlim()[1], most))


def shades(colours: dict[str, float]) -> list[Patch]:
    """Return a patch for a legend by name, in tints of grey."""
    return [
        Patch(facecolor=theme.tint(theme.NEUTRAL, strength), label=name)
        for name, strength in colours.items()
    ]


def legend_below(
    made: Figure, handles: Sequence[Any], columns: int | None = None
) -> Figure:
    """Explain a figure below its axes, on one line unless told otherwise."""
    columns = columns or len(handles)
    made.legend(handles=list(handles), loc="outside lower center", ncols=columns)
    return made
