"""Measuring pairs of fresh processes, in alternation, until every case is decided."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from resnet_bench.gate.cases import RESERVED, Case
from resnet_bench.gate.observations import PairTiming
from resnet_bench.gate.schedule import PairOrder, Side, pair_order

#: A leg lasts about this long: far above timer and scheduler granularity.
LEG_SECONDS = 0.25

#: The control only has to show that the machine favoured no side.
CONTROL_LEG_SECONDS = 0.05

#: The frozen matrix product of the worker.
CONTROL = Case(RESERVED, "forward")


class Stopwatch(Protocol):
    """One side's process of a pair; the real one is a worker."""

    def prepare(self, case: Case) -> float:
        """Build and warm up the case; return its seconds per call."""

    def leg(self, case: Case, loops: int) -> float:
        """Return the median seconds per call over `loops` calls."""


def loops_for(case: Case, seconds_per_call: float) -> int:
    """Return how many calls make a leg of the case long enough."""
    wanted = CONTROL_LEG_SECONDS if case == CONTROL else LEG_SECONDS
    return max(3, round(wanted / seconds_per_call))


def measure_case(
    case: Case,
    order: PairOrder,
    sides: Mapping[Side, Stopwatch],
    loops: int | None,
) -> PairTiming:
    """Measure one case of one pair, leg by leg in the given order.

    Without `loops` the slower side's warm pace decides how many calls make a leg.
    """
    pace = max(sides[side].prepare(case) for side in order.legs[:2])
    count = loops or loops_for(case, pace)
    seconds: dict[Side, list[float]] = {"base": [], "head": []}
    for side in order.legs:
        seconds[side].append(sides[side].leg(case, count))
    return PairTiming(
        case=case.text,
        method=case.method,
        loops=count,
        base_seconds=seconds["base"],
        head_seconds=seconds["head"],
    )


@dataclass
class Pairs:
    """All pairs measured so far, in order; a decided case is measured no more."""

    timings: list[list[PairTiming]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.timings)

    def loops(self, case: Case) -> int | None:
        """Return the calls per leg that the first pair of the case found."""
        rows = (row for pair in self.timings for row in pair)
        return next((row.loops for row in rows if row.case == case.text), None)

    def series(self, case: str, side: Side) -> list[float]:
        """Return one value per pair: the geometric mean of the side's legs.

        The mean of logarithms makes ABBA cancel a steady drift exactly.
        """
        return [
            statistics.geometric_mean(
                row.base_seconds if side == "base" else row.head_seconds
            )
            for pair in self.timings
            for row in pair
            if row.case == case
        ]


OpenCases = Callable[[Pairs], Sequence[Case]]
MeasurePair = Callable[[PairOrder, Sequence[Case], Pairs], list[PairTiming]]


@dataclass(frozen=True)
class Budget:
    """Seconds that may be spent, on a clock that tests replace."""

    seconds: float
    clock: Callable[[], float]
    began: float

    def allows(self, seconds: float) -> bool:
        """Whether so much more would still end in time."""
        return self.clock() - self.began + seconds <= self.seconds


def measure_pairs(
    pairs: Pairs,
    seed: int,
    measure: MeasurePair,
    open_cases: OpenCases,
    budget: Budget,
) -> Iterator[list[PairTiming]]:
    """Add pairs, and yield each, until no case is open or the budget is spent.

    `pairs` may hold those of an interrupted check; the next ones are the same as
    if it had not been interrupted.
    """
    longest = 0.0
    while (cases := open_cases(pairs)) and budget.allows(longest):
        began = budget.clock()
        order = pair_order(seed, len(pairs))
        timings = measure(order, cases, pairs)
        pairs.timings.append(timings)
        longest = max(longest, budget.clock() - began)
        yield timings
