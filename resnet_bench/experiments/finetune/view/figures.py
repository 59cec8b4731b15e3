"""Figures of `finetune`: accuracy against time, by variant, and by share of data."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.spec import CONTROLS, RAW_PIXELS, TransferEpoch
from resnet_bench.experiments.finetune.view.drawing import (
    legend_below,
    look,
    panels,
    strategies_of,
    titled,
    variants_of,
    whisker,
)
from resnet_bench.experiments.finetune.view.front import Front, front
from resnet_bench.experiments.finetune.view.groups import (
    NO_GAIN_MARGIN_POINTS,
    Group,
    control_gains,
    random_probe_gain,
)
from resnet_bench.present import theme
from resnet_bench.statistics.estimates import mean_interval
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


ACCURACY = "test accuracy (%)"

#: Factor between neighbouring curves on the logarithmic axis, so that their intervals
#: do not hide each other.
DODGE = 1.03

#: Percentage points below the target that curves over time show: what happens in the
#: first epoch would flatten all the rest.
SHOWN_BELOW_TARGET = 30.0


def figures(
    run: Run, groups: Sequence[Group], found: Front | None
) -> dict[str, Figure]:
    """Return the figures that the run can fill, by file name."""
    drawn = {name: draw(run, groups) for name, draw in FIGURES.items()}
    drawn["accuracy-step-time-front"] = front(run, found)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def accuracy_against_time(run: Run, groups: Sequence[Group]) -> Figure | None:
    """Return accuracy after each epoch against training time, a panel per variant."""
    shown = [g for g in _whole(groups) if g.variant and not g.is_control]
    if not shown:
        return None
    variants = variants_of(shown)
    title = "Accuracy against training time, 95 % intervals over seeds at the end"
    made = titled(run, title, **_size(variants))
    axes = panels(made, variants, x="training time, no evaluation (s)", y=ACCURACY)
    curves = _curves(run)
    for group in shown:
        on = axes[group.variant or 0]
        points = _mean_curve([curves.get(row["cell"], []) for row in group.rows])
        if points:
            times, levels = zip(*points, strict=True)
            on.plot(times, levels, linewidth=1.6, markersize=4, **look(group.strategy))
            seconds = times[-1]
        else:
            seconds = group.median("training_seconds") or 0.0
        whisker(on, seconds, group.accuracy, group.strategy, markersize=5)
    target = float(run.config["target_accuracy"])
    for on in axes.values():
        _level(on, target, "target")
        on.set_xlim(left=0)
        on.set_ylim(bottom=max(on.get_ylim()[0], target - SHOWN_BELOW_TARGET))
    _pixel_levels(axes.values(), groups)
    legend_below(made, strategies_of(shown), set(CONTROLS))
    return made


def accuracy_by_variant(run: Run, groups: Sequence[Group]) -> Figure | None:
    """Return final accuracy by variant and strategy, with intervals over seeds."""
    shown = [group for group in _whole(groups) if group.variant]
    if not shown:
        return None
    variants, strategies = variants_of(shown), strategies_of(shown)
    title = "Accuracy after transfer, 95 %: whiskers over seeds, bands over test images"
    made = titled(run, title)
    axes = theme.axes(made, x="", y=ACCURACY)
    axes.grid(axis="y")
    step = min(0.12, 0.8 / len(strategies))
    for group in shown:
        place = strategies.index(group.strategy) - (len(strategies) - 1) / 2
        x = variants.index(group.variant or 0) + place * step
        _sampling_band(axes, x, group)
        whisker(axes, x, group.accuracy, group.strategy)
    axes.set_xticks(range(len(variants)), [VARIANTS[v].title for v in variants])
    axes.set_xlim(-0.6, len(variants) - 0.4)
    _pixel_levels([axes], groups)
    axes.set_ylim(top=min(100.3, axes.get_ylim()[1]))
    legend_below(made, strategies, set(CONTROLS))
    return made


def _sampling_band(axes: Axes, x: float, group: Group) -> None:
    """Draw behind a point what a test half of this size leaves open."""
    low, high = group.sampling_bounds
    colour = theme.tint(look(group.strategy)["color"], 0.3)
    axes.vlines(x, low, high, color=colour, linewidth=9, zorder=1)


def data_fractions(run: Run, groups: Sequence[Group]) -> Figure | None:
    """Return accuracy against the share of the training images, nested subsets."""
    shown = [group for group in groups if not group.permuted]
    fractions = sorted({group.fraction for group in shown})
    variants = variants_of(shown)
    if len(fractions) < 2 or not variants:
        return None
    made = titled(run, "Accuracy against training images", **_size(variants))
    axes = panels(made, variants, x="training images", y=ACCURACY)
    for variant, on in axes.items():
        for place, strategy in enumerate(strategies_of(shown)):
            of = [g for g in shown if g.strategy == strategy]
            own = [group for group in of if group.variant in (variant, None)]
            _fraction_curve(on, own, DODGE**place)
        on.set_xscale("log")
        images = sorted({group.rows[0]["train_images"] for group in shown})
        on.set_xticks(images, [str(each) for each in images])
        on.set_xticks([], minor=True)
    legend_below(made, strategies_of(shown), set(CONTROLS))
    return made


def time_to_accuracy(run: Run, groups: Sequence[Group]) -> Figure | None:
    """Return the training time to the target, the median and each seed."""
    shown = [g for g in _whole(groups) if g.variant and not g.is_control]
    if not shown:
        return None
    target = float(run.config["target_accuracy"])
    title = f"Training time until {target:g} % test accuracy, median over seeds"
    made = titled(run, title, height=1.7 + 0.3 * len(shown))
    axes = theme.axes(made, x="training time, evaluation excluded (s)", y="")
    names = [f"{group.name}, {group.strategy}" for group in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    for y, group in enumerate(shown):
        _time_bar(axes, y, group)
    axes.set_xlim(0, 1.15 * axes.get_xlim()[1])  # room for the words
    return made


def _time_bar(axes: Axes, y: int, group: Group) -> None:
    style = look(group.strategy)
    median = group.seconds_to_target
    if not math.isfinite(median):
        axes.annotate(
            "not reached",
            (0, y),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=theme.NEUTRAL,
        )
        return
    axes.barh(y, median, 0.6, color=theme.tint(style["color"], 0.55))
    times = group.values("seconds_to_target")
    axes.plot(times, [y] * len(times), "o", color=style["color"], markersize=4)
    axes.annotate(
        f"median {median:.3g} s",
        (max([*times, median]), y),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
    )


def _whole(groups: Sequence[Group]) -> list[Group]:
    """Return the groups of the largest share of the data, pixels in their places."""
    largest = max((group.fraction for group in groups), default=1.0)
    return [g for g in groups if g.fraction == largest and not g.permuted]


def _size(variants: Sequence[int]) -> dict[str, float]:
    columns = min(3, len(variants))
    rows = math.ceil(len(variants) / 3)
    return {"width": 3.4 + 2.6 * columns, "height": 1.6 + 2.9 * rows}


def _curves(run: Run) -> dict[str, list[tuple[float, float]]]:
    """Return the (time, accuracy) points of every training by its cell."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in run.rows(TransferEpoch):
        point = (row["training_seconds"], row["test_accuracy_percent"])
        found.setdefault(row["cell"], []).append(point)
    return found


def _mean_curve(
    curves: Sequence[Sequence[tuple[float, float]]],
) -> list[tuple[float, float]]:
    """Return the mean time and accuracy after each epoch that every seed reached."""
    return [
        (
            statistics.mean(time for time, _ in points),
            statistics.mean(level for _, level in points),
        )
        for points in zip(*curves, strict=False)
    ]


def _fraction_curve(axes: Axes, groups: Sequence[Group], dodge: float) -> None:
    ordered = sorted(groups, key=lambda group: group.fraction)
    if not ordered:
        return
    strategy = ordered[0].strategy
    images = [dodge * group.rows[0]["train_images"] for group in ordered]
    levels = [mean_interval(g.values("test_accuracy_percent")) for g in ordered]
    style: dict[str, Any] = {"color": look(strategy)["color"], "linewidth": 1.4}
    axes.plot(images, [level.estimate for level in levels], **style)
    for x, level in zip(images, levels, strict=True):
        whisker(axes, x, level, strategy, markersize=5)


def _level(axes: Axes, level: float, words: str) -> None:
    axes.axhline(level, color=theme.NEUTRAL, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.annotate(
        words,
        (0.99, level),
        (0, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        color=theme.NEUTRAL,
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
        zorder=1,  # below the points and their whiskers
    )


def _pixel_levels(all_axes: Any, groups: Sequence[Group]) -> None:
    """Mark what logistic regression on raw pixels reaches without any network."""
    for control in _whole(groups):
        if control.strategy == RAW_PIXELS:
            for axes in all_axes:
                _level(axes, control.accuracy.estimate, "raw pixels, no network")


FIGURES: dict[str, Callable[[Run, Sequence[Group]], Figure | None]] = {
    "accuracy-against-time": accuracy_against_time,
    "accuracy-by-variant": accuracy_by_variant,
    "data-fractions": data_fractions,
    "time-to-accuracy": time_to_accuracy,
    "controls": controls,
}
