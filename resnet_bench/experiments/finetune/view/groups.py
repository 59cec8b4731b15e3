"""The results of a run grouped over seeds, and what every title says of the run."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resnet_bench.catalogue import VARIANTS, dataset_title
from resnet_bench.experiments.finetune.cells import (
    CONTROLS,
    PROBE,
    RANDOM_PROBE,
    RAW_PIXELS,
    SCRATCH,
    TransferResult,
)
from resnet_bench.experiments.finetune.spec import all_last
from resnet_bench.present.machines import machine_title
from resnet_bench.statistics.answers import (
    Answers,
    accuracy_interval,
    difference_interval,
    fixed_accuracy_interval,
)
from resnet_bench.statistics.estimates import right_shares
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

Row = dict[str, Any]

#: Origins that say that nothing was pre-trained.
UNTRAINED = ("random", "none")


@dataclass(frozen=True)
class Group:
    """The seeds of one network, strategy and number of shots (None: all images)."""

    variant: int | None
    strategy: str
    shots: int | None
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

    @property
    def shots_title(self) -> str:
        """What tables call the number of shots."""
        return "all" if self.shots is None else str(self.shots)

    @property
    def images_title(self) -> str:
        """The same in a sentence."""
        every = self.shots is None
        return "all images" if every else f"{self.shots} images per class"

    @cached_property
    def answers(self) -> Answers:
        """Which test images each seed answered rightly; several rows are averaged."""
        found: dict[int, list[str]] = {}
        for row in self.rows:
            found.setdefault(row["seed"], []).append(row["right_answers"])
        images = int(self.rows[0]["test_images"])
        by_seed = {seed: right_shares(each, images) for seed, each in found.items()}
        return Answers(by_seed=by_seed, renderings=self.rows[0]["renderings"])

    @cached_property
    def accuracy(self) -> Interval:
        """Test accuracy in percent with its interval over seeds and test images."""
        fixed = self.strategy == RAW_PIXELS and self.shots is None
        interval = fixed_accuracy_interval if fixed else accuracy_interval
        return interval(self.answers).times(100)

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
    """Return the run's groups: few shots first, by variant, controls last."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in run.rows(TransferResult):
        key = (row["variant"], row["strategy"], row["shots"], row["permuted"])
        found.setdefault(key, []).append(row)
    groups = [
        Group(variant, strategy, shots, permuted, sorted(rows, key=_seed))
        for (variant, strategy, shots, permuted), rows in found.items()
    ]
    order = [*run.config.get("strategy", []), *CONTROLS]
    return sorted(groups, key=lambda group: _place(group, order))


def _seed(row: Row) -> int:
    return int(row["seed"])


def _place(group: Group, order: Sequence[str]) -> tuple[Any, ...]:
    known = order.index(group.strategy) if group.strategy in order else len(order)
    # A control without a network stands after those with one.
    network = group.variant or math.inf
    return (group.permuted, all_last(group.shots), network, known)


def whole(groups: Sequence[Group]) -> list[Group]:
    """Return the groups of the most shots, pixels in their places."""
    most = max((group.shots for group in groups), key=all_last, default=None)
    return [g for g in groups if g.shots == most and not g.permuted]


def title_of(strategy: str) -> str:
    """Return what figures call a strategy or a control."""
    return f"{strategy} (control)" if strategy in CONTROLS else strategy


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
    return gain_of(group, beside(group, SCRATCH, groups))


def gain_over_random(group: Group, groups: Iterable[Group]) -> Interval | None:
    """Return what a probe gains over one on random backbones, paired by seed."""
    if group.strategy != PROBE or group.permuted:
        return None
    return gain_of(group, beside(group, RANDOM_PROBE, groups))


def beside(group: Group, strategy: str, groups: Iterable[Group]) -> Group | None:
    """Return another strategy's group with all else equal."""
    same = (group.variant, strategy, group.shots, group.permuted)
    for other in groups:
        if (other.variant, other.strategy, other.shots, other.permuted) == same:
            return other
    return None


def gain_of(group: Group, other: Group | None) -> Interval | None:
    """Return by how many points a group is more accurate, paired by seed and image."""
    difference = other and group.answers.minus(other.answers)
    return difference_interval(difference).times(100) if difference else None


def points(gain: Interval) -> str:
    """Return a gain in percentage points with its interval."""
    return f"{gain.estimate:+.1f} pp [{gain.low:+.1f}, {gain.high:+.1f}]"


def origins(run: Run) -> list[str]:
    """Return where the run's trained weights come from; empty when there are none."""
    found = {row["weights_origin"] for row in run.rows(TransferResult)}
    return sorted(found - set(UNTRAINED))


def setting(run: Run) -> str:
    """Return data, weights origin, seeds and machine, for titles."""
    config = run.config
    seeds = config.get("seeds")
    parts = [
        dataset_title(str(config.get("dataset"))),
        f"weights {', '.join(origins(run)) or 'random'}",
        f"{seeds} seed{'s' if seeds != 1 else ''}",
        machine_title(run.environment, str(config.get("device", "cpu"))),
    ]
    return " · ".join(parts)
