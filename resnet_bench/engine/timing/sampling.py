"""Samples what can be called and timed, visit by visit."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from resnet_bench.engine.timing.clock import Clock

#: Calls before the first sample; the samples tell afterwards whether that was enough.
WARMUP_CALLS = 3
#: No further warm-up call is begun after this time: a slow call warms up by itself.
WARMUP_SECONDS = 3.0

#: A visit makes one pass over its units; short passes are repeated up to this time.
VISIT_SECONDS = 0.1

#: The first call after other cells ran finds caches as those left them. Where a call
#: is shorter than this, one is made unseen before a visit; of a longer call what the
#: caches cost is a small share. No other cell was visited if the last visit ended less
#: than VISIT_SECONDS ago.
LEAD_IN_BELOW_SECONDS = 0.2

#: A GPU that rested is led in for at least this long: its clock has to rise again.
LEAD_IN_SECONDS = 0.05

#: A visit in which the process was stopped is taken again, so often at most: where
#: something stops it all the time (cpulimit does), there is no other.
DROPPED_AT_MOST = 3

#: Calls in a row that tell the throughput of a device that works on while the host
#: goes ahead.
BLOCK_CALLS = 10

Found = TypeVar("Found")


class Unit(Protocol):
    """Something that is called again and again, timed in one or more phases."""

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of one call, in their order."""

    @property
    def block(self) -> str | None:
        """Which throughput a series of calls measures; None for none."""

    def call(self, clock: Clock) -> Sequence[float]:
        """Make one call and return the seconds of each phase."""

    def work(self) -> None:
        """Make one call without timing or waiting."""


@dataclass
class Visit:
    """What one visit added.

    Attributes:
        samples: Wall seconds per phase.
        device: The device's own seconds per phase, where there is a clock for them.
        rates: Calls per second, per kind of throughput: of each block where calls
            return before the device is done, and of streams.
        seconds: How long the visit took.
        dropped: How many visits were dropped before it, because the process was
            stopped meanwhile.
        stopped: Whether it was stopped in this one too.
    """

    samples: dict[str, list[float]] = field(default_factory=dict)
    device: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    dropped: int = 0
    stopped: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """What speaks against it: that the process was stopped."""
        return ("stopped",) * self.stopped


@dataclass
class Sampler:
    """Warms units up and samples them in turns, for as long as it is asked to.

    The units take turns within a visit, so that drift of the machine hits all.

    Attributes:
        units: What is timed.
        clock: Reads the time.
        device_clock: Makes a clock of the device's own time from the head start in
            seconds that the host needs; None on the CPU.
        agree: Makes the ranks of one job see the same times.
        between: Called between units, outside of all that is timed.
        host_time: Reads the host's time without waiting for the device.
        before: Called before each try of a visit: one that is dropped counts for
            nothing.
        stops: Tells how often this process was stopped and went on.
        streams: Makes calls at the same time at the end of a visit, and tells how many
            a second; None where none are asked for.
        once: Whether one visit is all there is.
        left: The clock's mark at the end of the last visit; None before it.
    """

    units: Sequence[Unit]
    clock: Clock
    device_clock: Callable[[float], Clock] | None = None
    agree: Callable[[float], float] = float
    between: Callable[[], None] | None = None
    host_time: Callable[[], float] = time.perf_counter
    before: Callable[[], None] = lambda: None
    stops: Callable[[], int] = lambda: 0
    streams: Callable[[], float] | None = None
    once: ClassVar[bool] = False
    rounds: int = 0
    left: Any = None
    warmup: dict[str, list[float]] = field(default_factory=dict)

    @property
    def follows_marks(self) -> bool:
        """Whether the calls' own marks tell the throughput: nothing works on behind."""
        return not self.clock.asynchronous

    def warm_up(self) -> None:
        """Call every unit a few times, in turns; slow ones once."""
        begin = self.clock.begin()
        for _ in range(WARMUP_CALLS):
            for unit in self.units:
                self._add(self.warmup, unit, self.clock)
            if self._since(begin) >= WARMUP_SECONDS:
                break

    def visit(self) -> Visit:
        """Visit the units; a visit in which the process was stopped is dropped."""
        visit, stopped = undisturbed(self._watched, self.stops, self.agree)
        visit.dropped = min(stopped, DROPPED_AT_MOST)
        visit.stopped = stopped > DROPPED_AT_MOST
        self.rounds += 1
        return visit

    def _watched(self) -> Visit:
        self.before()
        return self._visit()

    def _visit(self) -> Visit:
        """Sample every unit once, and short ones again until the visit's time is up."""
        begin = self.clock.begin()
        visit = Visit()
        self._lead_in()
        sampling = self.clock.begin()
        while True:
            for unit in self.units:
                self._add(visit.samples, unit, self.clock)
                if self.between is not None:
                    self.between()
            if self._since(sampling) >= VISIT_SECONDS:
                break
        if self.clock.asynchronous:
            self._sample_the_device(visit)
        if self.streams is not None:
            visit.rates["streams"] = [self.streams()]
        visit.seconds = self._since(begin)
        self.left = self.clock.mark()
        return visit

    def _lead_in(self) -> None:
        """Call the shortest unit untimed, several times if the device clocks down."""
        shortest = min(self.units, key=self._call_seconds)
        seconds = self._call_seconds(shortest)
        if self.clock.asynchronous:
            for _ in range(1 + int(LEAD_IN_SECONDS / max(seconds, 1e-6))):
                shortest.work()
        elif seconds < LEAD_IN_BELOW_SECONDS and self._was_away:
            shortest.work()

    @property
    def _was_away(self) -> bool:
        """Whether other cells may have run since the last visit."""
        return self.left is None or self._since(self.left) >= VISIT_SECONDS

    def _sample_the_device(self, visit: Visit) -> None:
        """Take the device's own time, and blocks of calls without waiting."""
        for unit in self.units:
            if self.device_clock is not None:
                own = self.device_clock(self._enqueuing_seconds(unit))
                self._add(visit.device, unit, own)
            if unit.block is not None:
                rate = BLOCK_CALLS / self._in_a_row(unit, BLOCK_CALLS)
                visit.rates.setdefault(unit.block, []).append(rate)

    def _add(self, found: dict[str, list[float]], unit: Unit, clock: Clock) -> None:
        """Call the unit once, and add what the ranks agree that it took."""
        add_call(found, unit.phases, [self.agree(each) for each in unit.call(clock)])

    def _in_a_row(self, unit: Unit, count: int) -> float:
        begin = self.clock.begin()
        for _ in range(count):
            unit.work()
        return self._since(begin)

    def _enqueuing_seconds(self, unit: Unit) -> float:
        """Return how long the host takes to ask for a call, on an idle device."""
        self.clock.begin()
        begin = self.host_time()
        unit.work()
        return self.host_time() - begin

    def _call_seconds(self, unit: Unit) -> float:
        """Return how long the last warm-up call took; a whole step covers its parts."""
        seconds = {phase: self.warmup[phase][-1] for phase in unit.phases}
        return seconds.get("step", sum(seconds.values()))

    def _since(self, begin: object) -> float:
        return self.agree(self.clock.between([begin, self.clock.mark()])[0])


def undisturbed(
    take: Callable[[], Found],
    stops: Callable[[], int],
    agree: Callable[[float], float] = float,
) -> tuple[Found, int]:
    """Take something again while the process is stopped in it, a few times at most.

    Returns what was taken last, and in how many tries the process was stopped.
    """
    for tries in range(DROPPED_AT_MOST + 1):
        before = stops()
        taken = take()
        # All ranks drop it, or none does.
        if agree(float(stops() != before)) == 0:
            return taken, tries
    return taken, DROPPED_AT_MOST + 1


def add_call(
    found: dict[str, list[float]], phases: Sequence[str], seconds: Sequence[float]
) -> None:
    """Add the seconds of one call to those of its phases."""
    for phase, value in zip(phases, seconds, strict=True):
        found.setdefault(phase, []).append(value)
