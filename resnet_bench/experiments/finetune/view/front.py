"""The front of accuracy against the measured cost of a training step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.base import OtherRuns, StepCost
from resnet_bench.experiments.finetune.view.drawing import titled, variants_of
from resnet_bench.experiments.finetune.view.groups import Group
from resnet_bench.present import theme
from resnet_bench.present.published import imagenet_accuracy
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

    def kept(self, cost: CostOf, level: LevelOf = own_accuracy) -> list[Point]:
        """Return the points that no cheaper one equals in accuracy, cheapest first."""
        return fronts.front(
            self.points,
            cost,
            lambda p: None if (at := level(p)) is None else at.estimate,
        )


def front_of(groups: Sequence[Group], others: OtherRuns) -> Front | None:
    """Return accuracy with step time and memory; None for less than two variants.

    Costs come from the newest `speed` run of this machine that has all variants, else
    from this run's own training.
    """
    shown = _shown(groups)
    variants = variants_of(shown)
    timed = (costs for costs in others.step_costs if {*variants} <= costs.keys())
    costs = next(timed, None) or _own_costs(shown)
    points = [
        Point(v, group.accuracy, costs[v], imagenet_accuracy(v))
        for group in shown
        if (v := group.variant or 0) in costs
    ]
    return Front(shown[0].strategy, points) if len(points) > 1 else None


def front(run: Run, found: Front | None) -> Figure | None:
    """Draw accuracy against step time and memory, and ImageNet's as reported."""
    if found is None:
        return None
    title = f"Accuracy against the cost of a step, strategy {found.strategy}"
    made = titled(run, title, width=12.0)
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
    levels = [(level(point) or point.accuracy).estimate for point in kept]
    axes.plot(
        [cost(point) or 0.0 for point in kept],
        levels,
        color="#999999",
        linewidth=1,
        dashes=(4, 4),
    )
    right = max((cost(point) or 0.0 for point in found.points), default=0.0)
    axes.set_xlim(0, 1.45 * right or 1.0)  # room for the names


def _own_costs(groups: Sequence[Group]) -> dict[int, StepCost]:
    costs = {}
    for group in groups:
        seconds = group.median("step_seconds")
        peak = group.median("peak_memory_bytes")
        first = group.rows[0]
        batch = (first.get("training") or {}).get("batch_size", "?")
        where = f"{batch} images of {first['image_size']} px, during this run"
        if seconds is not None and group.variant is not None:
            costs[group.variant] = StepCost(seconds, int(peak) if peak else None, where)
    return costs


def _shown(groups: Sequence[Group]) -> list[Group]:
    """Return the whole data's groups of the preferred strategy that steps."""
    largest = max((group.fraction for group in groups), default=1.0)
    candidates = [
        g for g in groups if g.variant and g.fraction == largest and not g.is_control
    ]
    for strategy in PREFERRED:
        found = [group for group in candidates if group.strategy == strategy]
        if found:
            return found
    return []


def _decorate(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y)
    axes.grid(visible=True)
    axes.margins(0.3)


def _point(axes: Axes, x: float, level: Interval, variant: int, *, rise: float) -> None:
    """Draw one variant, hollow where its level has no interval of ours.

    Its name stands `rise` points above the marker's middle.
    """
    low, high = max(level.low, 0.0), min(level.high, 100.0)
    style: dict[str, Any] = {"markerfacecolor": "white"} if low == high else {}
    axes.errorbar(
        [x],
        [level.estimate],
        yerr=[[level.estimate - low], [max(0.0, high - level.estimate)]],
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
