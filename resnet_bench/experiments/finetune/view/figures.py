"""Figures of accuracy: against time, by variant, by share of data, time to a target."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.spec import (
    CONTROLS,
    RANDOM_PROBE,
    RAW_PIXELS,
    TransferEpoch,
)
from resnet_bench.experiments.finetune.view.groups import (
    Group,
    setting,
    strategies_of,
    variants_of,
    whole,
)
from resnet_bench.present import theme
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: Paul Tol's bright and vibrant schemes (2021), apart under colour blindness; the
#: markers repeat what the colours say.
LOOKS = {
    "probe": ("#4477AA", "o"),
    "freeze": ("#66CCEE", "v"),
    "freeze-drift": ("#0077BB", "^"),
    "last-stage": ("#228833", "s"),
    "full": ("#EE6677", "D"),
    "discriminative": ("#AA3377", "P"),
    "probe-then-full": ("#CC3311", "X"),
    "batchnorm-only": ("#009988", "p"),
    "scratch": ("#CCBB44", "h"),
    "scratch-equal-compute": ("#EE7733", "H"),
    RAW_PIXELS: ("#555555", "d"),
    RANDOM_PROBE: ("#999999", "<"),
}

ACCURACY = "test accuracy (%)"

#: Width that the longest name of a legend takes.
LEGEND_ENTRY_INCHES = 2.0

#: Factor between neighbouring curves on the logarithmic axis, so that their intervals
#: do not hide each other.
DODGE = 1.03

#: Percentage points below the target that curves over time show: what happens in the
#: first epoch would flatten all the rest.
SHOWN_BELOW_TARGET = 30.0


def accuracy_figures(run: Run, groups: Sequence[Group]) -> dict[str, Figure]:
    """Return the figures that the groups can fill, by file name."""
    made = {}
    networks = [group for group in whole(groups) if group.variant]
    trained = [group for group in networks if not group.is_control]
    pixels = [group for group in whole(groups) if group.strategy == RAW_PIXELS]
    intact = [group for group in groups if not group.permuted]
    if trained:
        made["accuracy-against-time"] = accuracy_against_time(run, trained, pixels)
    if networks:
        made["accuracy-by-variant"] = accuracy_by_variant(run, networks, pixels)
    if variants_of(intact) and len({group.fraction for group in intact}) > 1:
        made["data-fractions"] = data_fractions(run, intact)
    if trained:
        made["time-to-accuracy"] = time_to_accuracy(run, trained)
    return made


def accuracy_against_time(
    run: Run, groups: Sequence[Group], pixels: Iterable[Group]
) -> Figure:
    """Return accuracy after each epoch against training time, a panel per variant."""
    title = "Accuracy against training time, 95 % intervals over seeds at the end"
    x = "training time, no evaluation (s)"
    made, axes = _panels(run, title, variants_of(groups), x)
    curves = _curves(run)
    for group in groups:
        points = _mean_curve([curves.get(row["cell"], []) for row in group.rows])
        _curve(axes[group.variant or 0], group, points)
    target = float(run.config["target_accuracy"])
    for on in axes.values():
        _level(on, target, "target")
        on.set_xlim(left=0)
        on.set_ylim(bottom=max(on.get_ylim()[0], target - SHOWN_BELOW_TARGET))
    _pixel_levels(axes.values(), pixels)
    _legend_below(made, strategies_of(groups))
    return made


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


def _curve(axes: Axes, group: Group, points: Sequence[tuple[float, float]]) -> None:
    """Draw a training's mean curve and the interval at its end."""
    seconds = group.median("training_seconds") or 0.0
    if points:
        times, levels = zip(*points, strict=True)
        axes.plot(times, levels, linewidth=1.6, markersize=4, **_look(group.strategy))
        seconds = times[-1]
    _whisker(axes, seconds, group, markersize=5)


def accuracy_by_variant(
    run: Run, groups: Sequence[Group], pixels: Iterable[Group]
) -> Figure:
    """Return final accuracy by variant and strategy, with intervals over seeds."""
    variants, strategies = variants_of(groups), strategies_of(groups)
    title = "Accuracy after transfer, 95 %: whiskers over seeds, bands over test images"
    made = theme.figure(f"{title}\n{setting(run)}", width=7.6, height=4.4)
    axes = theme.axes(made, x="", y=ACCURACY)
    axes.grid(axis="y")
    step = min(0.12, 0.8 / len(strategies))
    for group in groups:
        place = strategies.index(group.strategy) - (len(strategies) - 1) / 2
        x = variants.index(group.variant or 0) + place * step
        _sampling_band(axes, x, group)
        _whisker(axes, x, group)
    axes.set_xticks(range(len(variants)), [VARIANTS[v].title for v in variants])
    axes.set_xlim(-0.6, len(variants) - 0.4)
    _pixel_levels([axes], pixels)
    axes.set_ylim(top=min(100.3, axes.get_ylim()[1]))
    _legend_below(made, strategies)
    return made


def _sampling_band(axes: Axes, x: float, group: Group) -> None:
    """Draw behind a point what a test half of this size leaves open."""
    low, high = group.sampling_bounds
    colour = theme.tint(_look(group.strategy)["color"], 0.3)
    axes.vlines(x, low, high, color=colour, linewidth=9, zorder=1)


def data_fractions(run: Run, groups: Sequence[Group]) -> Figure:
    """Return accuracy against the share of the training images, nested subsets."""
    title, x = "Accuracy against training images", "training images"
    made, axes = _panels(run, title, variants_of(groups), x)
    images = sorted({group.rows[0]["train_images"] for group in groups})
    for variant, on in axes.items():
        for place, strategy in enumerate(strategies_of(groups)):
            of = [g for g in groups if g.strategy == strategy]
            own = [group for group in of if group.variant in (variant, None)]
            _fraction_curve(on, own, DODGE**place)
        on.set_xscale("log")
        on.set_xticks(images, [str(each) for each in images])
        on.set_xticks([], minor=True)
    _legend_below(made, strategies_of(groups))
    return made


def _fraction_curve(axes: Axes, groups: Sequence[Group], dodge: float) -> None:
    """Draw one strategy's accuracy over the shares of the data."""
    ordered = sorted(groups, key=lambda group: group.fraction)
    images = [dodge * group.rows[0]["train_images"] for group in ordered]
    levels = [group.accuracy.estimate for group in ordered]
    if ordered:
        colour = _look(ordered[0].strategy)["color"]
        axes.plot(images, levels, color=colour, linewidth=1.4)
    for x, group in zip(images, ordered, strict=True):
        _whisker(axes, x, group, markersize=5)


def time_to_accuracy(run: Run, groups: Sequence[Group]) -> Figure:
    """Return the training time to the target, the median and each seed."""
    target = float(run.config["target_accuracy"])
    title = f"Training time until {target:g} % test accuracy, median over seeds"
    height = 1.7 + 0.3 * len(groups)
    made = theme.figure(f"{title}\n{setting(run)}", width=7.6, height=height)
    axes = theme.axes(made, x="training time, evaluation excluded (s)", y="")
    names = [f"{group.name}, {group.strategy}" for group in groups]
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    for y, group in enumerate(groups):
        _time_bar(axes, y, group)
    axes.set_xlim(0, 1.15 * axes.get_xlim()[1])  # room for the words
    return made


def _time_bar(axes: Axes, y: int, group: Group) -> None:
    style: dict[str, Any] = {
        "textcoords": "offset points",
        "va": "center",
        "fontsize": 9,
    }
    median = group.seconds_to_target
    if not math.isfinite(median):
        axes.annotate("not reached", (0, y), (4, 0), color=theme.NEUTRAL, **style)
        return
    colour = _look(group.strategy)["color"]
    axes.barh(y, median, 0.6, color=theme.tint(colour, 0.55))
    times = group.values("seconds_to_target")
    axes.plot(times, [y] * len(times), "o", color=colour, markersize=4)
    axes.annotate(f"median {median:.3g} s", (max([*times, median]), y), (6, 0), **style)


def _look(strategy: str) -> dict[str, Any]:
    """Return the colour and marker of a strategy or control."""
    colour, marker = LOOKS.get(strategy, (theme.NEUTRAL, theme.USER_MARKER))
    return {"color": colour, "marker": marker}


def _panels(
    run: Run, title: str, variants: Sequence[int], x: str
) -> tuple[Figure, dict[int, Axes]]:
    """Return a figure and its axes, one per variant, that share the vertical axis."""
    columns = min(3, len(variants))
    rows = math.ceil(len(variants) / columns)
    size = {"width": 3.4 + 2.6 * columns, "height": 1.6 + 2.9 * rows}
    figure = theme.figure(f"{title}\n{setting(run)}", **size)
    made: dict[int, Axes] = {}
    for place, variant in enumerate(variants):
        first = next(iter(made.values()), None)
        axes = figure.add_subplot(rows, columns, place + 1, sharey=first)
        axes.set_title(VARIANTS[variant].title)
        axes.set_xlabel(x)
        if place % columns == 0:
            axes.set_ylabel(ACCURACY)
        else:
            axes.tick_params(labelleft=False)
        axes.grid(visible=True)
        made[variant] = axes
    return figure, made


def _whisker(axes: Axes, x: float, group: Group, **style: Any) -> None:
    """Draw an accuracy with its interval, cut at 0 and 100 %."""
    interval: Interval = group.accuracy
    low, high = max(interval.low, 0.0), min(interval.high, 100.0)
    below, above = interval.estimate - low, max(0.0, high - interval.estimate)
    axes.errorbar(
        [x],
        [interval.estimate],
        yerr=[[below], [above]] if math.isfinite(interval.low) else None,
        capsize=3,
        linestyle="none",
        **{"markersize": 7, **_look(group.strategy), **style},
    )


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


def _pixel_levels(all_axes: Iterable[Axes], pixels: Iterable[Group]) -> None:
    """Mark what logistic regression on raw pixels reaches without any network."""
    for axes in all_axes:
        for control in pixels:
            _level(axes, control.accuracy.estimate, "raw pixels, no network")


def _legend_below(on: Figure, strategies: Sequence[str]) -> None:
    """Name the strategies once for all panels, below them."""
    axes = on.axes[0]
    handles = [
        axes.plot(
            [],
            [],
            linestyle="none",
            markersize=7,
            label=f"{name} (control)" if name in CONTROLS else name,
            **_look(name),
        )[0]
        for name in strategies
    ]
    most = max(1, min(len(handles), int(on.get_figwidth() / LEGEND_ENTRY_INCHES)))
    columns = math.ceil(len(handles) / math.ceil(len(handles) / most))
    on.legend(handles=handles, loc="outside lower center", ncols=columns)
