"""Samples what can be called and timed: when to start, in which turns, when to stop."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from resnet_bench.engine.timing.clock import Clock
from resnet_bench.statistics.intervals import (
    SAMPLES_FOR_ORDER_STATISTICS,
    median_interval,
)

#: Warm-up ends when the medians of the last two groups of this many calls agree.
GROUP = 3
AGREEMENT = 0.05
WARMUP_AT_LEAST = 6
WARMUP_AT_MOST = 20
#: A slow unit gets at least one group, and then no more than this share of the
#: cell's time: the samples tell afterwards whether it had settled.
WARMUP_AT_LEAST_WHEN_SLOW = GROUP
WARMUP_SHARE = 0.25

#: A later visit takes about this share of the cell's time. A cell is visited often
#: enough for an interval of the ratios that are taken round by round.
VISIT_SHARE = 0.1
ROUNDS_AT_LEAST = SAMPLES_FOR_ORDER_STATISTICS
#: Calls in a row that make one block; short calls are gathered up to this time.
BLOCK_AT_MOST = 10
BLOCK_SECONDS = 0.1
#: The first call after other work finds caches and freed memory as that left them. A
#: call shorter than this is made once unseen; of a longer one it is a small share.
LEAD_IN_BELOW_SECONDS = 0.2


class Unit(Protocol):
    """Something that is called again and again, timed in one or more phases."""

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of one call, in their order."""

    @property
    def block(self) -> str | None:
        """Which throughput a row of calls tells; None for no throughput."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Phases of another unit that together do the same work.

        Where there are some, their calls warm this unit up too.
        """

    def call(self, clock: Clock) -> Sequence[float]:
        """Make one call and return the seconds of each phase."""

    def work(self) -> None:
        """Make one call without timing or waiting."""


def settled(calls: Sequence[float]) -> bool | None:
    """Say whether the last two groups of calls agree; None for too few calls."""
    if len(calls) < 2 * GROUP:
        return None
    before = statistics.median(calls[-2 * GROUP : -GROUP])
    last = statistics.median(calls[-GROUP:])
    return abs(last - before) <= AGREEMENT * before


@dataclass
class Series:
    """What is known of one phase: calls before and after sampling began, seconds."""

    warmup: list[float] = field(default_factory=list)
    samples: list[float] = field(default_factory=list)

    @property
    def converged(self) -> bool | None:
        """Whether the phase had settled when sampling began; None if still unknown.

        Where the warm-up ended without telling so, the samples do: the first group
        agrees with the next one only if no call was cold any more.
        """
        return settled(self.warmup) or settled(self.samples[: 2 * GROUP])

    def within(self, precision: float) -> bool:
        """Say whether the median is known to the relative half width asked for."""
        if len(self.samples) < SAMPLES_FOR_ORDER_STATISTICS:
            return False
        return median_interval(self.samples).relative_half_width <= precision


@dataclass
class Visit:
    """What one visit added.

    Attributes:
        samples: Wall seconds per phase.
        device: The device's own seconds per phase, where there is a clock for them.
        rates: Calls per second of each block, per kind of throughput.
        seconds: How long the visit took.
    """

    samples: dict[str, list[float]] = field(default_factory=dict)
    device: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Sampler:
    """Warms units up and samples them in turns until the medians are known.

    The units take turns within a visit, so that drift of the machine hits all.

    Attributes:
        units: What is timed; a unit comes after the one that its parts are of.
        clock: Reads the time; only the time of visits is counted.
        max_seconds: When to stop at the latest, warm-up included.
        precision: Relative half width of the intervals that is enough.
        decisive: Phases that decide on stopping; those that take a small share of
            a step are sampled along with them.
        device_clock: Makes a clock of the device's own time from the head start in
            seconds that the host needs; None on the CPU.
        agree: Makes the ranks of one job take the same decisions.
        between: Called between batches of samples, outside of all that is timed.
    """

    units: Sequence[Unit]
    clock: Clock
    max_seconds: float
    precision: float
    decisive: Sequence[str]
    device_clock: Callable[[float], Clock] | None = None
    agree: Callable[[float], float] = float
    between: Callable[[], None] | None = None
    used_seconds: float = 0.0
    rounds: int = 0
    series: dict[str, Series] = field(init=False)

    def __post_init__(self) -> None:
        """Start with no calls of any phase."""
        self.series = {phase: Series() for unit in self.units for phase in unit.phases}

    @property
    def precise(self) -> bool:
        """Whether every decisive phase is known to the precision asked for."""
        return all(series.within(self.precision) for series in self._deciding.values())

    @property
    def finished(self) -> bool:
        """Whether there is no need or no time for another visit."""
        enough = self.precise and self.rounds >= ROUNDS_AT_LEAST
        return enough or self.used_seconds >= self.max_seconds

    @property
    def unsettled(self) -> tuple[str, ...]:
        """The decisive phases that were not warm when sampling began."""
        return tuple(
            phase
            for phase, series in self._deciding.items()
            if series.converged is False
        )

    @property
    def converged(self) -> bool | None:
        """Whether all decisive phases were warm; None while that is not known."""
        known = [series.converged for series in self._deciding.values()]
        if False in known:
            return False
        return None if None in known else True

    @property
    def _deciding(self) -> dict[str, Series]:
        return {
            phase: series
            for phase, series in self.series.items()
            if phase in self.decisive
        }

    def warm_up(self) -> None:
        """Call the units in turns until all have settled."""
        begin = self.clock.begin()
        calls = 0
        while not self._warm(calls, self._since(begin)):
            calls += 1
            for unit in self.units:
                self._warm_up_once(unit)
        self.used_seconds += self._since(begin)

    def _warm_up_once(self, unit: Unit) -> None:
        if unit.parts:
            total = sum(self.series[part].warmup[-1] for part in unit.parts)
            self.series[unit.phases[0]].warmup.append(total)
            return
        for phase, seconds in zip(unit.phases, unit.call(self.clock), strict=True):
            self.series[phase].warmup.append(self.agree(seconds))

    def _warm(self, calls: int, seconds: float) -> bool:
        out_of_time = seconds >= WARMUP_SHARE * self.max_seconds
        if calls < WARMUP_AT_LEAST:
            return out_of_time and calls >= WARMUP_AT_LEAST_WHEN_SLOW
        if out_of_time or calls >= WARMUP_AT_MOST:
            return True
        return all(settled(series.warmup) for series in self._deciding.values())

    def visit(self) -> Visit:
        """Sample every unit once, and again until the visit's time is up."""
        begin = self.clock.begin()
        visit = Visit()
        length = VISIT_SHARE * self.max_seconds if self.rounds else 0.0
        while True:
            for unit in self.units:
                self._sample(unit, visit)
                if self.between is not None:
                    self.between()
            if self._since(begin) >= length:
                break
        for phase, samples in visit.samples.items():
            self.series[phase].samples.extend(samples)
        visit.seconds = self._since(begin)
        self.used_seconds += visit.seconds
        self.rounds += 1
        return visit

    def _sample(self, unit: Unit, visit: Visit) -> None:
        """Time some calls of a unit one by one, and in a row for its throughput."""
        count = self._block_length(unit)
        if not unit.parts and self._call_seconds(unit) < LEAD_IN_BELOW_SECONDS:
            unit.work()
        begin = self.clock.begin()
        for _ in range(count):
            self._add(visit.samples, unit, self.clock)
        seconds = self._since(begin)
        if self.device_clock is not None:
            own = self.device_clock(self._call_seconds(unit))
            self._add(visit.device, unit, own)
        if unit.block is None:
            return
        if self.clock.asynchronous:
            seconds = self._in_a_row(unit, count)
        visit.rates.setdefault(unit.block, []).append(count / seconds)

    def _add(self, found: dict[str, list[float]], unit: Unit, clock: Clock) -> None:
        """Call the unit once, and add what the ranks agree that it took."""
        add_call(found, unit.phases, [self.agree(each) for each in unit.call(clock)])

    def _in_a_row(self, unit: Unit, count: int) -> float:
        begin = self.clock.begin()
        for _ in range(count):
            unit.work()
        return self._since(begin)

    def _block_length(self, unit: Unit) -> int:
        wanted = BLOCK_SECONDS / max(self._call_seconds(unit), 1e-9)
        return min(BLOCK_AT_MOST, max(1, round(wanted)))

    def _call_seconds(self, unit: Unit) -> float:
        """Return how long a call takes by what is known so far."""
        return sum(
            statistics.median(series.samples or series.warmup)
            for series in (self.series[phase] for phase in unit.phases)
        )

    def _since(self, begin: object) -> float:
        return self.agree(self.clock.between([begin, self.clock.mark()])[0])


def add_call(
    found: dict[str, list[float]], phases: Sequence[str], seconds: Sequence[float]
) -> None:
    """Add the seconds of one call to those of its phases."""
    for phase, value in zip(phases, seconds, strict=True):
        found.setdefault(phase, []).append(value)
