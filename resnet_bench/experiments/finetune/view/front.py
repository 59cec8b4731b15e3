"""The front of accuracy against the measured cost of a training step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.base import OtherRuns, StepCost
from resnet_bench.experiments.finetune.view.groups import (
    Group,
    Row,
    setting,
    variants_of,
    whole,
)
from resnet_bench.present import theme
from resnet_bench.present.published import imagenet_accuracy
from resnet_bench.present.tables import Table, interval_columns
from resnet_bench.statistics import fronts
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: Strategies in the order in which the front prefers one that the run has.
PREFERRED = ("full", "discriminative", "probe-then-full", "scratch")

MEBIBYTE = 2.0**20


@dataclass(frozen=True)
class Point:
    """A variant of the front: its accuracy here, its cost, and ImageNet as reported."""

    variant: int
    accuracy: Interval
    cost: StepCost
    reported_percent: float | None

    @property
    def step_milliseconds(self) -> float:
        """Time of a training step."""
        return 1e3 * self.cost.step_seconds

    @property
    def peak_mebibytes(self) -> float | None:
        """Peak memory of training."""
        peak = self.cost.peak_bytes
        return None if peak is None else peak / MEBIBYTE

    @property
    def reported(self) -> Interval | None:
        """Torchvision's ImageNet accuracy (V1), which has no interval."""
        level = self.reported_percent
        return None if level is None else Interval(level, level, level, 1)

    @property
    def json(self) -> Row:
        """The point as the JSON object holds it."""
        return {
            "variant": self.variant,
            "test_accuracy_percent": self.accuracy.json,
            "step_seconds": self.cost.step_seconds,
            "peak_memory_bytes": self.cost.peak_bytes,
            "reported_imagenet_percent": self.reported_percent,
        }


CostOf = Callable[[Point], float | None]
LevelOf = Callable[[Point], Interval | None]


def own_accuracy(point: Point) -> Interval | None:
    """Return the accuracy measured here."""
    return point.accuracy


@dataclass(frozen=True)
class Front:
    """All variants of the strategy that stands for the run."""

    strategy: str
    points: Sequence[Point]

    @property
    def where(self) -> str:
        """At which setting the costs were measured."""
        return self.points[0].cost.where

    @property
    def json(self) -> Row:
        """The front as the JSON object holds it."""
        points = [point.json for point in self.points]
        return {"strategy": self.strategy, "measured": self.where, "points": points}

    def kept(self, cost: CostOf, level: LevelOf = own_accuracy) -> list[Point]:
        """Return the points that no cheaper one equals in accuracy, cheapest first."""
        return fronts.front(
            self.points,
            cost,
            lambda point: None if (at := level(point)) is None else at.estimate,
        )


def front_of(groups: Sequence[Group], others: OtherRuns) -> Front | None:
    """Return accuracy with step time and memory; None for less than two variants.

    Costs come from the newest `speed` run of this machine that has all variants, else
    from this run's own training.
    """
    shown = _preferred(groups)
    variants = variants_of(shown)
    timed = (costs for costs in others.step_costs if {*variants} <= costs.keys())
    costs = next(timed, None) or _own_costs(shown)
    points = [
        Point(v, group.accuracy, costs[v], imagenet_accuracy(v))
        for group in shown
        if (v := group.variant or 0) in costs
    ]
    return Front(shown[0].strategy, points) if len(points) > 1 else None


def _preferred(groups: Sequence[Group]) -> list[Group]:
    """Return the groups of the preferred strategy that takes steps."""
    trained = [g for g in whole(groups) if g.variant and not g.is_control]
    for strategy in PREFERRED:
        found = [group for group in trained if group.strategy == strategy]
        if found:
            return found
    return []


def _own_costs(groups: Sequence[Group]) -> dict[int, StepCost]:
    costs = {}
    for group in groups:
        seconds = group.median("step_seconds")
        peak = group.median("peak_memory_bytes")
        first = group.rows[0]
        batch = first["training"]["batch_size"]
        where = f"{batch} images of {first['image_size']} px, during this run"
        if seconds is not None and group.variant is not None:
            costs[group.variant] = StepCost(seconds, int(peak) if peak else None, where)
    return costs


def front_table(run: Run, found: Front) -> Table:
    """Return accuracy beside step time and memory, and ImageNet's as reported."""
    by_time = found.kept(lambda point: point.step_milliseconds)
    by_memory = found.kept(lambda point: point.peak_mebibytes)
    rows = [
        {
            "network": VARIANTS[point.variant].title,
            **interval_columns("test_accuracy_percent", point.accuracy),
            "step_seconds": point.cost.step_seconds,
            "time_front": point in by_time,
            "peak_memory_bytes": point.cost.peak_bytes,
            "memory_front": point in by_memory,
            "reported_percent": point.reported_percent,
        }
        for point in found.points
    ]
    return Table(
        name="front",
        detail=True,
        title=f"Accuracy and the cost of a step: {found.strategy}\n{setting(run)}",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=[name for name in rows[0] if not name.endswith(("_low", "_high"))],
        notes=[
            f"Step and peak memory: training, {found.where}. Best: no cheaper network "
            "is as accurate. ImageNet: top-1 of torchvision's V1 weights, reported, "
            "not measured here."
        ],
        headers={
            "test_accuracy_percent": "accuracy",
            "step_seconds": "step",
            "time_front": "best by time",
            "peak_memory_bytes": "memory",
            "memory_front": "best by memory",
            "reported_percent": "ImageNet",
        },
    )


def front_figure(run: Run, found: Front) -> Figure:
    """Draw accuracy against step time and memory, and ImageNet's as reported."""
    title = f"Accuracy against the cost of a step, strategy {found.strategy}"
    made = theme.figure(f"{title}\n{setting(run)}", width=12.0, height=4.4)
    time, memory, reported = (made.add_subplot(1, 3, place) for place in (1, 2, 3))
    step = "training step (ms)"
    _decorate(time, "measured here", step, "test accuracy (%)")
    _draw(time, found, lambda p: p.step_milliseconds)
    _decorate(memory, "measured here", "peak memory (MiB)", "test accuracy (%)")
    _draw(memory, found, lambda p: p.peak_mebibytes)
    _decorate(reported, "ImageNet: reported, not measured here", step, "top-1 (%)")
    _draw(reported, found, lambda p: p.step_milliseconds, lambda p: p.reported)
    made.supxlabel(f"steps and memory: {found.where}", fontsize=9)
    return made


def _decorate(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y)
    axes.grid(visible=True)
    axes.margins(0.3)


def _draw(
    axes: Axes, found: Front, cost: CostOf, level: LevelOf = own_accuracy
) -> None:
    """Draw the variants, and a line through those that no other one dominates."""
    ordered = sorted(found.points, key=lambda point: cost(point) or 0.0)
    for place, point in enumerate(ordered):
        x, y = cost(point), level(point)
        if x is not None and y is not None:
            # Neighbours' names do not hide each other: one above, the next below.
            _point(axes, x, y, point.variant, rise=-10 if place % 2 else 4)
    kept = found.kept(cost, level)
    axes.plot(
        [cost(point) or 0.0 for point in kept],
        [(level(point) or point.accuracy).estimate for point in kept],
        color="#999999",
        linewidth=1,
        dashes=(4, 4),
    )
    right = max((cost(point) or 0.0 for point in found.points), default=0.0)
    axes.set_xlim(0, 1.45 * right or 1.0)  # room for the names


def _point(axes: Axes, x: float, level: Interval, variant: int, *, rise: float) -> None:
    """Draw one variant, hollow where its level has no interval of ours.

    Its name stands `rise` points above the marker's middle.
    """
    low, high = level.low, level.high
    style: dict[str, Any] = {"markerfacecolor": "white"} if low == high else {}
    axes.errorbar(
        [x],
        [level.estimate],
        yerr=[[level.estimate - low], [high - level.estimate]],
        marker=theme.marker_of(variant),
        markersize=8,
        markeredgewidth=1.6,
        color=theme.colour_of(variant),
        capsize=3,
        **style,
    )
    axes.annotate(
        VARIANTS[variant].title,
        (x, level.estimate),
        (8, rise),
        textcoords="offset points",
        fontsize=8,
    )
