"""The front of accuracy against the measured cost of a training step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.analysis import theme
from resnet_bench.analysis.reference import imagenet_accuracy
from resnet_bench.catalogue import VARIANTS
from resnet_bench.errors import ResnetBenchError
from resnet_bench.experiments.finetune.view_drawing import titled, variants_of
from resnet_bench.experiments.finetune.view_groups import Group
from resnet_bench.experiments.speed.view import json_object as speed_object
from resnet_bench.intervals import Interval
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_run

#: Strategies in the order in which the front prefers one that the run has.
PREFERRED = ("full", "discriminative", "probe-then-full", "scratch")

MEBIBYTE = 2.0**20


@dataclass(frozen=True)
class Cost:
    """What one step of a variant costs, and at which setting that was measured."""

    step_seconds: float
    peak_bytes: int | None
    where: str


def front(run: Run, groups: Sequence[Group]) -> Figure | None:
    """Return accuracy against step time, measured here beside torchvision's reported.

    Step times and memory come from a stored `speed` run of the same machine, else
    from this run's own training.
    """
    shown = _shown(groups)
    if not shown:
        return None
    variants = variants_of(shown)
    costs = speed_costs(run, variants) or _own_costs(shown)
    known = [group for group in shown if group.variant in costs]
    if not known:
        return None
    where = next(iter(costs.values())).where
    strategy = known[0].strategy
    made = titled(
        run, f"Accuracy against the cost of a step, strategy {strategy}", width=9.0
    )
    left = made.add_subplot(1, 2, 1)
    _decorate(left, "measured here", where, "test accuracy (%)")
    measured = {group.variant or 0: group.accuracy for group in known}
    _draw(left, measured, costs, hollow=False)
    right = made.add_subplot(1, 2, 2)
    _decorate(right, "ImageNet: reported, not measured here", where, "top-1 (%)")
    _draw(right, _reported(variants), costs, hollow=True)
    return made


def _reported(variants: Sequence[int]) -> dict[int, Interval]:
    """Return torchvision's ImageNet accuracies (V1), which have no interval."""
    found = {variant: imagenet_accuracy(variant) for variant in variants}
    return {
        variant: Interval(level, level, level, 1)
        for variant, level in found.items()
        if level is not None
    }


def _draw(
    axes: Axes, levels: dict[int, Interval], costs: dict[int, Cost], *, hollow: bool
) -> None:
    """Draw the variants, and a line through those that no other one dominates."""
    shown = {variant: level for variant, level in levels.items() if variant in costs}
    front_line: list[tuple[float, float]] = []
    for variant in sorted(shown, key=lambda each: costs[each].step_seconds):
        level = shown[variant].estimate
        if not front_line or level > front_line[-1][1]:
            front_line.append((1e3 * costs[variant].step_seconds, level))
        _point(axes, variant, costs[variant], shown[variant], hollow=hollow)
    times, bests = zip(*front_line, strict=True)
    axes.plot(times, bests, color="#999999", linewidth=1, linestyle=(0, (4, 4)))


def speed_costs(run: Run, variants: Sequence[int]) -> dict[int, Cost]:
    """Return step times from the newest speed run of this machine with all variants.

    Empty when no stored run has them.
    """
    results = run.folder.parent.parent
    for folder in reversed(run_folders(results, "speed")):
        try:
            other = read_run(folder)
        except ResnetBenchError:
            continue  # a damaged run is the listing's business, not this figure's
        if other.machine_key is not None and other.machine_key == run.machine_key:
            costs = _costs_of(other, str(run.config.get("device", "cpu")))
            if all(variant in costs for variant in variants):
                return {variant: costs[variant] for variant in variants}
    return {}


def _costs_of(speed: Run, device: str) -> dict[int, Cost]:
    """Return each variant's first residual row on the kind of device."""
    found: dict[int, Cost] = {}
    for row in speed_object(speed)["rows"]:
        same = row["device"].partition(":")[0] == device.partition(":")[0]
        plain = row["architecture"] not in (None, "residual")
        if row["step"] and row["variant"] and same and not plain:
            where = (
                f"{row['batch_size']} images of {row['image_size']} px, "
                f"{row['dtype']}; speed run {speed.id}"
            )
            cost = Cost(row["step"]["median"], row["train_peak_memory_bytes"], where)
            found.setdefault(row["variant"], cost)
    return found


def _own_costs(groups: Sequence[Group]) -> dict[int, Cost]:
    costs = {}
    for group in groups:
        seconds = group.median("step_seconds")
        peak = group.median("peak_memory_bytes")
        first = group.rows[0]
        batch = (first.get("training") or {}).get("batch_size", "?")
        where = f"{batch} images of {first['image_size']} px, during this run"
        if seconds is not None and group.variant is not None:
            costs[group.variant] = Cost(seconds, int(peak) if peak else None, where)
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


def _decorate(axes: Axes, title: str, where: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(f"training step (ms)\n{where}", fontsize=9)
    axes.set_ylabel(y)
    axes.grid(visible=True)
    axes.margins(0.3)


def _point(
    axes: Axes,
    variant: int,
    cost: Cost,
    level: Interval,
    *,
    hollow: bool,
) -> None:
    colour = theme.colour_of(variant)
    low, high = max(level.low, 0.0), min(level.high, 100.0)
    style: dict[str, Any] = {"markerfacecolor": "white"} if hollow else {}
    axes.errorbar(
        [1e3 * cost.step_seconds],
        [level.estimate],
        yerr=[[level.estimate - low], [max(0.0, high - level.estimate)]],
        marker=theme.marker_of(variant),
        markersize=8,
        markeredgewidth=1.6,
        color=colour,
        capsize=3,
        **style,
    )
    known = cost.peak_bytes is not None and not hollow
    memory = f"\n{(cost.peak_bytes or 0) / MEBIBYTE:,.0f} MiB" if known else ""
    axes.annotate(
        f"{VARIANTS[variant].title}{memory}",
        (1e3 * cost.step_seconds, level.estimate),
        (8, -2),
        textcoords="offset points",
        va="top",
        fontsize=8,
    )
