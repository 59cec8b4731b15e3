"""The results of a run grouped over seeds, and what every title says of the run."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resnet_bench.catalogue import DATASETS, VARIANTS
from resnet_bench.experiments.finetune.spec import CONTROLS, SCRATCH, TransferResult
from resnet_bench.present.machines import machine_title
from resnet_bench.statistics.estimates import (
    mean_interval,
    paired_difference_interval,
    wilson_interval,
)
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

Row = dict[str, Any]

#: Origins that say that nothing was pre-trained.
UNTRAINED = ("random", "none")


@dataclass(frozen=True)
class Group:
    """The seeds of one network, strategy and share of the data."""

    variant: int | None
    strategy: str
    fraction: float
    permuted: bool
    rows: Sequence[Row]

    @property
    def name(self) -> str:
        """What tables call the network."""
        return VARIANTS[self.variant].title if self.variant else "(no network)"

    @property
    def is_control(self) -> bool:
        """Whether it is a control and not a strategy."""
        return self.permuted or self.strategy in CONTROLS

    @property
    def title(self) -> str:
        """What tables call the strategy."""
        return f"{self.strategy} (control)" if self.is_control else self.strategy

    @cached_property
    def accuracy(self) -> Interval:
        """Test accuracy in percent with its interval over seeds."""
        return mean_interval(self.values("test_accuracy_percent"))

    @property
    def sampling_bounds(self) -> tuple[float, float]:
        """Wilson's 95 % interval in percent that a test half of this size leaves.

        All seeds share the test half.
        """
        images = int(self.rows[0]["test_images"])
        wrong = images - round(self.accuracy.estimate / 100 * images)
        errors = wilson_interval(wrong, images)
        return 100 * (1 - errors.high), 100 * (1 - errors.low)

    @property
    def sampling_points(self) -> float:
        """Half of that interval's width, in percentage points."""
        low, high = self.sampling_bounds
        return (high - low) / 2

    @property
    def by_seed(self) -> dict[int, float]:
        """Test accuracy in percent by seed, the mean where a seed has several rows."""
        found: dict[int, list[float]] = {}
        for row in self.rows:
            found.setdefault(row["seed"], []).append(row["test_accuracy_percent"])
        return {seed: statistics.mean(each) for seed, each in found.items()}

    def values(self, field: str) -> list[float]:
        """Return the known values of a field, one per seed."""
        return [float(row[field]) for row in self.rows if row[field] is not None]

    def median(self, field: str) -> float | None:
        """Return the median over seeds; None when no seed has the field."""
        values = self.values(field)
        return statistics.median(values) if values else None

    @property
    def seconds_to_target(self) -> float:
        """Median over seeds; one that did not reach the target counts as infinite."""
        times = [
            math.inf if row["seconds_to_target"] is None else row["seconds_to_target"]
            for row in self.rows
        ]
        return float(statistics.median(times))


def groups_of(run: Run) -> list[Group]:
    """Return the run's groups: strategies first, by variant, then the controls."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in run.rows(TransferResult):
        key = (row["variant"], row["strategy"], row["fraction"], row["permuted"])
        found.setdefault(key, []).append(row)
    groups = [
        Group(variant, strategy, fraction, permuted, sorted(rows, key=_seed))
        for (variant, strategy, fraction, permuted), rows in found.items()
    ]
    order = [*run.config.get("strategy", []), *CONTROLS]
    return sorted(groups, key=lambda group: _place(group, order))


def _seed(row: Row) -> int:
    return int(row["seed"])


def _place(group: Group, order: Sequence[str]) -> tuple[Any, ...]:
    known = order.index(group.strategy) if group.strategy in order else len(order)
    network = group.variant or 0
    return (group.permuted, group.is_control, -group.fraction, network, known)


def whole(groups: Sequence[Group]) -> list[Group]:
    """Return the groups of the largest share of the data, pixels in their places."""
    largest = max((group.fraction for group in groups), default=1.0)
    return [g for g in groups if g.fraction == largest and not g.permuted]


def strategies_of(groups: Iterable[Group]) -> list[str]:
    """Return the strategies and controls that occur, in the order of the groups."""
    return list(dict.fromkeys(group.strategy for group in groups))


def variants_of(groups: Iterable[Group]) -> list[int]:
    """Return the variants that occur, ascending."""
    return sorted({group.variant for group in groups if group.variant})


def gain_over_scratch(group: Group, groups: Iterable[Group]) -> Interval | None:
    """Return what a strategy gains over training from scratch, paired by seed."""
    if group.is_control or group.strategy == SCRATCH:
        return None
    for other in groups:
        same = (other.variant, other.fraction) == (group.variant, group.fraction)
        if same and other.strategy == SCRATCH:
            return gain_of(group, other)
    return None


def gain_of(group: Group, other: Group) -> Interval | None:
    """Return by how many points a group is more accurate, paired by seed."""
    pairs = paired(group, other)
    if not pairs:
        return None
    left, right = zip(*pairs, strict=True)
    return paired_difference_interval(left, right)


def paired(group: Group, other: Group) -> list[tuple[float, float]]:
    """Return the accuracies of the seeds that both have."""
    theirs = other.by_seed
    return [
        (value, theirs[seed]) for seed, value in group.by_seed.items() if seed in theirs
    ]


def origins(run: Run) -> list[str]:
    """Return where the run's trained weights come from; empty when there are none."""
    found = {row["weights_origin"] for row in run.rows(TransferResult)}
    return sorted(found - set(UNTRAINED))


def setting(run: Run) -> str:
    """Return data, weights origin, seeds and machine, for titles."""
    config = run.config
    named = DATASETS.get(str(config.get("dataset")))
    seeds = config.get("seeds")
    parts = [
        named.title if named else str(config.get("dataset")),
        f"weights {', '.join(origins(run)) or 'random'}",
        f"{seeds} seed{'s' if seeds != 1 else ''}",
        machine_title(run.environment, str(config.get("device", "cpu"))),
    ]
    return " · ".join(parts)
