"""The figure of the controls: what pre-training gains a probe, pixels intact or not."""

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.view.drawing import titled
from resnet_bench.experiments.finetune.view.groups import (
    NO_GAIN_MARGIN_POINTS,
    Group,
    control_gains,
    random_probe_gain,
)
from resnet_bench.present import theme
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

INTACT, PERMUTED = "#4477AA", "#EE6677"
#: An interval is drawn to this many points at most: of two seeds it is very wide.
WIDEST_POINTS = 40.0

Line = tuple[str, Interval, str]


def controls(run: Run, groups: Sequence[Group]) -> Figure | None:
    """Return the gain of a probe over one on random backbones, with its intervals.

    None without the negative control.
    """
    lines = list(_lines(groups))
    if not any(colour == PERMUTED for _, _, colour in lines):
        return None
    title = "What pre-training gains a probe over random backbones, 95 % over seeds"
    made = titled(run, title, height=1.9 + 0.32 * len(lines))
    axes = theme.axes(made, x="gain (percentage points)", y="")
    axes.grid(axis="x")
    axes.axvline(0, color=theme.NEUTRAL, linewidth=0.9)
    for y, (_, gain, colour) in enumerate(lines):
        _interval(axes, y, gain, colour)
    axes.set_yticks(range(len(lines)), [name for name, _, _ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    _margin(axes)
    return made


def _lines(groups: Sequence[Group]) -> Iterator[Line]:
    gains = control_gains(groups)
    for variant in sorted(each.variant for each in gains if each.variant):
        intact = random_probe_gain(variant, groups)
        if intact is not None:
            yield f"{VARIANTS[variant].title}, pixels intact", intact, INTACT
    for each in gains:
        name = VARIANTS[each.variant].title if each.variant else "all"
        yield f"{name}, pixels permuted: {each.verdict}", each.gain, PERMUTED


def _interval(axes: Axes, y: int, gain: Interval, colour: str) -> None:
    spread = [
        [min(gain.estimate - gain.low, WIDEST_POINTS)],
        [min(gain.high - gain.estimate, WIDEST_POINTS)],
    ]
    known = math.isfinite(gain.low)
    axes.errorbar(
        [gain.estimate],
        [y],
        xerr=spread if known else None,
        fmt="o",
        capsize=3,
        color=colour,
    )


def _margin(axes: Axes) -> None:
    """Mark from which gain on it would count as one."""
    axes.axvline(
        NO_GAIN_MARGIN_POINTS,
        color=theme.NEUTRAL,
        linewidth=0.9,
        linestyle=(0, (1, 2)),
    )
    axes.annotate(
        "counts as none below this",
        (NO_GAIN_MARGIN_POINTS, 0.01),
        (-3, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=theme.NEUTRAL,
    )
