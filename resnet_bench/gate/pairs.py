"""Pairs of live workers: what the simulated ones of the tests stand for."""

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from resnet_bench.errors import NotComparableError, UsageError
from resnet_bench.gate.records import (
    SIDES,
    Accuracy,
    ExactMetrics,
    PairOrder,
    PairTiming,
    Side,
    Trial,
    pair_order,
)
from resnet_bench.gate.spec import RESERVED, Case, parse_case
from resnet_bench.gate.workers import Launch, Start, WorkerError, WorkerProcess, spawn

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


OTHER: dict[Side, Side] = {"base": "head", "head": "base"}

#: The version of the agreement between worker and subject that this driver speaks.
SUBJECT_API = 1


@dataclass(frozen=True)
class LiveSide:
    """A worker seen as a stopwatch; its errors name the side."""

    side: Side
    worker: WorkerProcess

    def prepare(self, case: Case) -> float:
        """Build and warm up the case; return its seconds per call."""
        return self._seconds("prepare", case)

    def leg(self, case: Case, loops: int) -> float:
        """Return the median seconds per call over `loops` calls."""
        return self._seconds("leg", case, loops=loops)

    def _seconds(self, do: str, case: Case, **further: int) -> float:
        try:
            reply = self.worker.ask(do, name=case.name, method=case.method, **further)
        except WorkerError as error:
            raise WorkerError(
                f"{case.text} of the {self.side} tree: {error}"
            ) from error
        return float(reply["seconds"])


@contextlib.contextmanager
def workers(
    launches: Mapping[Side, Launch], first: Side = "base", start: Start = spawn
) -> Iterator[dict[Side, WorkerProcess]]:
    """Start a worker for each side while the block runs; both import at once.

    Raises WorkerError, and NotComparableError for another protocol.
    """
    with contextlib.ExitStack() as stack:
        order = sorted(SIDES, key=lambda side: side != first)
        both = {
            side: stack.enter_context(WorkerProcess(launches[side], start))
            for side in order
        }
        for side, worker in both.items():
            worker.send("open", other=str(launches[OTHER[side]].tree))
        yield both


def opened(both: Mapping[Side, WorkerProcess]) -> dict[Side, Mapping[str, Any]]:
    """Wait until both subjects are imported; return what each offers.

    Raises NotComparableError when a tree has no subject of this protocol.
    """
    offers = {}
    for side in SIDES:
        try:
            offers[side] = both[side].receive()
        except WorkerError as error:
            raise NotComparableError(
                f"the {side} tree has no usable subject: {error}"
            ) from error
        _refuse_a_foreign(side, offers[side])
    return offers


def _refuse_a_foreign(side: Side, offer: Mapping[str, Any]) -> None:
    if offer["api"] != SUBJECT_API:
        raise NotComparableError(
            f"the {side} tree's subject has SUBJECT_API = {offer['api']}, "
            f"expected {SUBJECT_API}"
        )
    if not offer["inside"]:
        raise NotComparableError(
            f"the {side} tree's subject was imported from elsewhere: --subject "
            "names the tree's own, --source the folder it is to come from"
        )
    for text in offer["cases"]:
        _refuse_an_unknown_case(side, text)
    if offer["borrowed"]:
        raise NotComparableError(
            f"the {side} tree's subject takes {offer['borrowed']} from the "
            f"{OTHER[side]} tree, where it is installed from: --source names the "
            "folder that holds it"
        )


def live_pair(
    launches: Mapping[Side, Launch],
    order: PairOrder,
    cases: Sequence[Case],
    pairs: Pairs,
    start: Start = spawn,
) -> list[PairTiming]:
    """Measure one pair of fresh processes; only one of them is ever active.

    Raises WorkerError when one of them fails.
    """
    with workers(launches, order.first_started, start) as both:
        opened(both)
        sides = {side: LiveSide(side, worker) for side, worker in both.items()}
        return [
            measure_case(case, order, sides, pairs.loops(case))
            for case in (*cases, CONTROL)
        ]


class Interview:
    """Both sides, asked the same at once; a worker that fails is replaced."""

    def __init__(
        self, launches: Mapping[Side, Launch], stack: contextlib.ExitStack
    ) -> None:
        self._launches = launches
        self._stack = stack
        self._workers = stack.enter_context(workers(launches))
        self.offers = opened(self._workers)

    def ask(self, do: str, **arguments: object) -> dict[Side, Mapping[str, Any]]:
        """Return each side's reply, `{"problem": …}` from one that failed."""
        for side in SIDES:
            self._workers[side].send(do, **arguments)
        return {side: self._reply(side) for side in SIDES}

    def _reply(self, side: Side) -> Mapping[str, Any]:
        try:
            return self._workers[side].receive()
        except WorkerError as error:
            launch = self._launches[side]
            self._workers[side] = self._stack.enter_context(WorkerProcess(launch))
            self._workers[side].ask("open")
            return {"problem": str(error)}

    @property
    def names(self) -> list[str]:
        """The names of the cases that either tree's subject lists, head's first."""
        offers = (self.offers["head"], self.offers["base"])
        cases = [parse_case(text) for offer in offers for text in offer["cases"]]
        return list(dict.fromkeys(case.name for case in cases))

    def libraries(self) -> list[str]:
        """Return the installed packages that both sides have loaded by now."""
        found = self.ask("libraries")
        base, head = (found[side].get("libraries", []) for side in SIDES)
        return [name for name in base if name in head]

    def trials(self, case: Case) -> list[Trial]:
        """Return whether the case runs on each side."""
        found = self.ask("prepare", name=case.name, method=case.method)
        return [
            Trial(case=case.text, side=side, problem=found[side].get("problem"))
            for side in SIDES
        ]

    def exact_metrics(self, name: str) -> list[ExactMetrics]:
        """Return what a case is made of on each side."""
        found = self.ask("exact", name=name)
        return [ExactMetrics(case=name, side=side, **found[side]) for side in SIDES]

    def accuracies(self, name: str, seed: int) -> list[Accuracy]:
        """Return each side's accuracy after training with one seed."""
        found = self.ask("evaluate", name=name, seed=seed)
        return [
            Accuracy(case=name, side=side, training_seed=seed, **found[side])
            for side in SIDES
        ]


def _refuse_an_unknown_case(side: Side, text: str) -> None:
    try:
        parse_case(text)
    except UsageError as error:
        reason = str(error).removeprefix("--cases ")
        raise NotComparableError(
            f"CASES of the {side} tree's subject: {reason}"
        ) from error


@contextlib.contextmanager
def interview(launches: Mapping[Side, Launch]) -> Iterator[Interview]:
    """Start both sides for questions while the block runs.

    Raises NotComparableError when a tree has no subject of this protocol.
    """
    with contextlib.ExitStack() as stack:
        yield Interview(launches, stack)
