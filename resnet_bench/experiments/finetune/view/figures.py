"""Figures of accuracy: what transfer gains, by shots, against time and variant."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.cells import (
    RANDOM_PROBE,
    RAW_PIXELS,
    TransferEpoch,
)
from resnet_bench.experiments.finetune.view.groups import (
    Group,
    gain_over_random,
    gain_over_scratch,
    setting,
    strategies_of,
    title_of,
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
    networks = [group for group in whole(groups) if group.variant]
    if not networks:
        return {}
    trained = [group for group in networks if not group.is_control]
    pixels = [group for group in whole(groups) if group.strategy == RAW_PIXELS]
    intact = [group for group in groups if not group.permuted]
    made = {"gain-from-transfer": gain_from_transfer(run, intact)}
    if trained:
        made["accuracy-against-time"] = accuracy_against_time(run, trained, pixels)
    made["accuracy-by-variant"] = accuracy_by_variant(run, networks, pixels)
    if len({group.shots for group in intact}) > 1:
        made["accuracy-by-shots"] = accuracy_by_shots(run, intact)
    if trained:
        made["time-to-accuracy"] = time_to_accuracy(run, trained)
    return made


def accuracy_against_time(
    run: Run, groups: Sequence[Group], pixels: Iterable[Group]
) -> Figure:
    """Return accuracy after each epoch against training time, a panel per variant."""
    title = "Accuracy against training time, 95 % intervals at the end"
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
    title = "Accuracy after transfer, 95 % intervals over seeds and test images"
    made = theme.figure(f"{title}\n{setting(run)}", width=7.6, height=4.4)
    axes = theme.axes(made, x="", y=ACCURACY)
    axes.grid(axis="y")
    step = min(0.12, 0.8 / len(strategies))
    for group in groups:
        place = strategies.index(group.strategy) - (len(strategies) - 1) / 2
        x = variants.index(group.variant or 0) + place * step
        _whisker(axes, x, group)
    axes.set_xticks(range(len(variants)), [VARIANTS[v].title for v in variants])
    axes.set_xlim(-0.6, len(variants) - 0.4)
    _pixel_levels([axes], pixels)
    axes.set_ylim(top=min(100.3, axes.get_ylim()[1]))
    _legend_below(made, strategies)
    return made


def accuracy_by_shots(run: Run, groups: Sequence[Group]) -> Figure:
    """Return accuracy against the training images of each class, nested subsets."""
    title, x = "Accuracy against training images", "training images of all classes"
    made, axes = _panels(run, title, variants_of(groups), x)
    images = sorted({group.rows[0]["train_images"] for group in groups})
    for variant, on in axes.items():
        for place, strategy in enumerate(strategies_of(groups)):
            of = [g for g in groups if g.strategy == strategy]
            own = [group for group in of if group.variant in (variant, None)]
            _curve_over_shots(on, own, DODGE**place)
        on.set_xscale("log")
        on.set_xticks(images, [str(each) for each in images])
        on.set_xticks([], minor=True)
    _legend_below(made, strategies_of(groups))
    return made


def _curve_over_shots(axes: Axes, groups: Sequence[Group], dodge: float) -> None:
    """Draw one strategy's accuracy over the shots, few first."""
    images = [dodge * group.rows[0]["train_images"] for group in groups]
    levels = [group.accuracy.estimate for group in groups]
    if groups:
        colour = _look(groups[0].strategy)["color"]
        axes.plot(images, levels, color=colour, linewidth=1.4)
    for x, group in zip(images, groups, strict=True):
        _whisker(axes, x, group, markersize=5)


def gain_from_transfer(run: Run, groups: Sequence[Group]) -> Figure:
    """Return what each strategy reaches and gains, a panel per network and shots."""
    variants = variants_of(groups)
    shots = list(dict.fromkeys(group.shots for group in groups))
    strategies = strategies_of(groups)
    size = {
        "width": 3.0 + 3.4 * len(shots),
        "height": 1.5 + (0.6 + 0.28 * len(strategies)) * len(variants),
    }
    title = (
        "What transfer gains (95 % intervals); "
        "arrows start at the same training from random weights"
    )
    figure = theme.figure(f"{title}\n{setting(run)}", **size)
    first = None
    for row, variant in enumerate(variants):
        for column, count in enumerate(shots):
            place = row * len(shots) + column + 1
            axes = figure.add_subplot(len(variants), len(shots), place, sharex=first)
            first = first or axes
            own = [g for g in groups if g.shots == count]
            own = [group for group in own if group.variant in (variant, None)]
            axes.set_title(f"{VARIANTS[variant].title}, {own[0].images_title}")
            _gains(axes, own, strategies, named=column == 0)
            if row == len(variants) - 1:
                axes.set_xlabel(ACCURACY)
    return figure


def _gains(
    axes: Axes, groups: Sequence[Group], strategies: Sequence[str], *, named: bool
) -> None:
    """Draw one network's accuracies as rows, and gains as arrows with their size."""
    names = list(map(title_of, strategies))
    axes.set_yticks(range(len(names)), names if named else [""] * len(names))
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.margins(x=0.12)
    chance = 100 / int(groups[0].rows[0]["classes"])
    axes.axvline(chance, color=theme.NEUTRAL, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.annotate(
        "chance", (chance, -0.5), (2, 0), textcoords="offset points", fontsize=8
    )
    for group in groups:
        y, level = strategies.index(group.strategy), group.accuracy
        spread = [[level.estimate - level.low], [level.high - level.estimate]]
        axes.errorbar(
            [level.estimate], [y], xerr=spread, capsize=3, **_look(group.strategy)
        )
        gain = gain_over_random(group, groups) or gain_over_scratch(group, groups)
        if gain is not None:
            _arrow(axes, y, level.estimate, gain.estimate)


def _arrow(axes: Axes, y: int, level: float, gain: float) -> None:
    """Draw an arrow from what a row is compared with, and write its length behind."""
    axes.annotate(
        "",
        (level, y + 0.3),
        (level - gain, y + 0.3),
        arrowprops={"arrowstyle": "->", "color": theme.NEUTRAL, "linewidth": 1.2},
    )
    axes.annotate(
        f"{gain:+.1f} pp",
        (max(level, level - gain), y + 0.3),
        (4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=theme.NEUTRAL,
    )


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
    size = {"width": max(7.6, 3.4 + 2.6 * columns), "height": 1.6 + 2.9 * rows}
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
    """Draw an accuracy with its interval."""
    interval: Interval = group.accuracy
    below, above = interval.estimate - interval.low, interval.high - interval.estimate
    axes.errorbar(
        [x],
        [interval.estimate],
        yerr=[[below], [above]],
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
            label=title_of(name),
            **_look(name),
        )[0]
        for name in strategies
    ]
    most = max(1, min(len(handles), int(on.get_figwidth() / LEGEND_ENTRY_INCHES)))
    columns = math.ceil(len(handles) / math.ceil(len(handles) / most))
    on.legend(handles=handles, loc="outside lower center", ncols=columns)
