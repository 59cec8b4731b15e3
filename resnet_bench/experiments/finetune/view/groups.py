"""The results of a run grouped over seeds, with intervals, gains and a verdict."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.spec import (
    CONTROLS,
    PROBE,
    RANDOM_PROBE,
    SCRATCH,
    TransferResult,
)
from resnet_bench.statistics.estimates import (
    mean_interval,
    paired_difference_interval,
    wilson_interval,
)
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

Row = dict[str, Any]
Answers = NDArray[np.float64]

#: A gain on permuted pixels below this, in percentage points, counts as none; an
#: interval with a wider half counts as undecided. Fixed before any run.
NO_GAIN_MARGIN_POINTS = 3.0


class Verdict(StrEnum):
    """What the negative control says of "no gain where none is possible"."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"


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

    @property
    def accuracy(self) -> Interval:
        """Test accuracy in percent with its interval over seeds."""
        return mean_interval(self.values("test_accuracy_percent"))

    @property
    def sampling_points(self) -> float:
        """Half of the 95 % interval that a test half of this size leaves, in points."""
        low, high = self.sampling_bounds
        return (high - low) / 2

    @property
    def sampling_bounds(self) -> tuple[float, float]:
        """That interval in percent: Wilson's; all seeds share the test half."""
        images = int(self.rows[0]["test_images"])
        wrong = images - round(self.accuracy.estimate / 100 * images)
        errors = wilson_interval(wrong, images)
        return 100 * (1 - errors.high), 100 * (1 - errors.low)

    @property
    def answers(self) -> Answers | None:
        """Share of the rows that answered each test image rightly; None if not kept."""
        kept = [str(row.get("right_answers") or "") for row in self.rows]
        images = int(self.rows[0]["test_images"])
        if not all(kept):
            return None
        packed = [np.frombuffer(bytes.fromhex(each), np.uint8) for each in kept]
        bits = np.array([np.unpackbits(each)[:images] for each in packed], float)
        shares: Answers = bits.mean(axis=0)
        return shares

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


@dataclass(frozen=True)
class ControlGain:
    """What pre-training gains a probe on permuted pixels, and what that says.

    Both probes see the same permutation; `variant` None pools all variants.
    `sampling_points` is half of the 95 % interval that so many test images leave.
    """

    variant: int | None
    gain: Interval
    verdict: Verdict
    sampling_points: float | None

    @property
    def half_width(self) -> float:
        """Half the interval, in percentage points."""
        return (self.gain.high - self.gain.low) / 2


def groups_of(run: Run) -> list[Group]:
    """Return the run's groups: strategies first, by variant, then the controls."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in run.rows(TransferResult):
        key = (row["variant"], row["strategy"], row["fraction"], row["permuted"])
        found.setdefault(key, []).append(row)
    groups = [_group(sorted(rows, key=_seed)) for rows in found.values()]
    order = [*run.config.get("strategy", []), *CONTROLS]
    return sorted(groups, key=lambda group: _place(group, order))


def _group(rows: Sequence[Row]) -> Group:
    first = rows[0]
    return Group(
        first["variant"], first["strategy"], first["fraction"], first["permuted"], rows
    )


def gain_over_scratch(group: Group, groups: Iterable[Group]) -> Interval | None:
    """Return what a strategy gains over training from scratch, paired by seed."""
    if group.is_control or group.strategy == SCRATCH:
        return None
    for other in groups:
        same = (other.variant, other.fraction) == (group.variant, group.fraction)
        if same and other.strategy == SCRATCH:
            return _gain(group, other)
    return None


def control_gains(groups: Sequence[Group]) -> list[ControlGain]:
    """Return the gain on permuted pixels for all variants together, then for each."""
    both = {
        probe.variant: (probe, random)
        for probe in groups
        for random in groups
        if probe.permuted and random.permuted and probe.variant == random.variant
        if probe.strategy == PROBE and random.strategy == RANDOM_PROBE
        if _paired(probe, random)
    }
    gains = {
        variant: [trained - random for trained, random in _paired(*each)]
        for variant, each in both.items()
    }
    if not gains:
        return []
    images = {variant: _gain_by_image(*each) for variant, each in both.items()}
    pooled = stratified_interval(list(gains.values()))
    return [_control(None, pooled, list(images.values()))] + [
        _control(variant, mean_interval(each), [images[variant]])
        for variant, each in gains.items()
    ]


def _control(
    variant: int | None, gain: Interval, images: Sequence[Answers | None]
) -> ControlGain:
    return ControlGain(variant, gain, verdict_of(gain), sampling_points(images))


def random_probe_gain(variant: int, groups: Sequence[Group]) -> Interval | None:
    """Return what pre-training gains a probe on intact pixels, paired by seed."""
    whole = [g for g in groups if g.variant == variant and not g.permuted]
    largest = max((group.fraction for group in whole), default=1.0)
    both = {g.strategy: g for g in whole if g.fraction == largest}
    if PROBE not in both or RANDOM_PROBE not in both:
        return None
    return _gain(both[PROBE], both[RANDOM_PROBE])


def _gain_by_image(probe: Group, random: Group) -> Answers | None:
    """Return how much more often each image is answered rightly, over all rows."""
    trained, drawn = probe.answers, random.answers
    if trained is None or drawn is None or trained.shape != drawn.shape:
        return None
    return trained - drawn


def sampling_points(gains: Sequence[Answers | None]) -> float | None:
    """Return half of the 95 % interval over images of a mean gain, in points.

    Every entry holds a gain per image, of the same images; the normal interval of
    their mean. None where the answers were not kept.
    """
    known = [gain for gain in gains if gain is not None]
    if len(known) < len(gains) or len({len(gain) for gain in known}) != 1:
        return None
    each = np.mean(known, axis=0)
    error = float(np.std(each, ddof=1)) / math.sqrt(len(each))
    return 100 * float(stats.norm.ppf(0.975)) * error


def stratified_interval(strata: Sequence[Sequence[float]]) -> Interval:
    """Return the mean over strata of equal weight with its 95 % t interval.

    The spread is that within the strata, pooled: variants are chosen, not drawn, so
    that their differences are no noise. Without a stratum of two the bounds are
    infinite.
    """
    means = [statistics.mean(each) for each in strata]
    mean = statistics.mean(means)
    samples = sum(map(len, strata))
    freedom = samples - len(strata)
    if freedom == 0:
        return Interval(mean, -math.inf, math.inf, samples)
    squares = sum(
        (value - centre) ** 2
        for each, centre in zip(strata, means, strict=True)
        for value in each
    )
    shares = sum(1 / len(each) for each in strata) / len(strata) ** 2
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(squares / freedom * shares)
    return Interval(mean, mean - half, mean + half, samples)


def verdict_of(gain: Interval) -> Verdict:
    """Return what a gain on permuted pixels says, by margins fixed beforehand."""
    if gain.low > 0:
        return Verdict.REFUTED
    narrow = (gain.high - gain.low) / 2 <= NO_GAIN_MARGIN_POINTS
    if narrow and gain.high < NO_GAIN_MARGIN_POINTS:
        return Verdict.SUPPORTED
    return Verdict.INCONCLUSIVE


def _gain(group: Group, other: Group) -> Interval | None:
    pairs = _paired(group, other)
    if not pairs:
        return None
    left, right = zip(*pairs, strict=True)
    return paired_difference_interval(left, right)


def _paired(group: Group, other: Group) -> list[tuple[float, float]]:
    """Return the accuracies of the seeds that both have."""
    theirs = other.by_seed
    return [
        (value, theirs[seed]) for seed, value in group.by_seed.items() if seed in theirs
    ]


def _seed(row: Mapping[str, Any]) -> int:
    return int(row["seed"])


def _place(group: Group, order: Sequence[str]) -> tuple[Any, ...]:
    known = order.index(group.strategy) if group.strategy in order else len(order)
    network = group.variant or 0
    return (group.permuted, group.is_control, -group.fraction, network, known)
