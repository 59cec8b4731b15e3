"""Measuring for `check` and `noise`: exact quantities first, then seeds, then pairs."""

import contextlib
import math
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

from resnet_bench.errors import UsageError
from resnet_bench.execution.base import machine_environment, record_content
from resnet_bench.execution.choice import make_executor
from resnet_bench.gate.deciding import most_pairs
from resnet_bench.gate.records import (
    ExactCell,
    Grid,
    PairOrder,
    Pairs,
    PairTiming,
    SeedCell,
    Side,
    pair_cell,
    pair_order,
    pairs_of,
)
from resnet_bench.gate.spec import (
    ANY_CASE,
    CONTROL,
    FREE_TO_CHANGE,
    METHODS,
    STORED_ONLY,
    Case,
    SubjectConfig,
    parse_threshold,
)
from resnet_bench.gate.trees import Tree
from resnet_bench.gate.workers import (
    Interview,
    Launch,
    Leg,
    LiveSide,
    Start,
    interview,
    nurseries,
    opened,
    spawn,
    workers,
)
from resnet_bench.interrupts import Terminated
from resnet_bench.output import Output, to_stderr
from resnet_bench.present.machines import load_warning
from resnet_bench.records import Cell, Record, to_json
from resnet_bench.store.folders import find_run
from resnet_bench.store.reading import Run
from resnet_bench.store.recording import Beginning, Recorder, go_on, start

#: A leg lasts about this long: far above timer and scheduler granularity.
LEG_SECONDS = 0.25

#: The control only has to show that the machine favoured no side.
CONTROL_LEG_SECONDS = 0.05


class Stopwatch(Protocol):
    """One side's process of a pair; the real one is a worker."""

    def prepare(self, case: Case) -> float:
        """Build and warm up the case; return its seconds per call."""

    def leg(self, case: Case, loops: int) -> Leg:
        """Time `loops` calls."""


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
    count = loops or _loops_for(case, pace)
    legs = [(side, sides[side].leg(case, count)) for side in order.legs]
    return PairTiming(
        case=case.text,
        method=case.method,
        loops=count,
        base_seconds=[leg.seconds for side, leg in legs if side == "base"],
        head_seconds=[leg.seconds for side, leg in legs if side == "head"],
        stopped=sum(leg.stopped for _, leg in legs),
    )


def _loops_for(case: Case, seconds_per_call: float) -> int:
    wanted = CONTROL_LEG_SECONDS if case == CONTROL else LEG_SECONDS
    return max(3, round(wanted / seconds_per_call))


Launches = Mapping[Side, Launch]


def live_pair(
    launches: Launches,
    order: PairOrder,
    cases: Sequence[Case],
    pairs: Pairs,
    start: Start = spawn,
) -> list[PairTiming]:
    """Measure one pair of fresh processes; only one of them is ever active.

    Raises WorkerError when one of them fails.
    """
    with workers(launches, order.first_started, start) as both:
        opened(both, launches)
        sides = {
            side: LiveSide(side, worker, launches[side].place)
            for side, worker in both.items()
        }
        return [
            measure_case(case, order, sides, pairs.loops(case))
            for case in (*cases, CONTROL)
        ]


@dataclass(frozen=True)
class Budget:
    """Seconds that may be spent, on a clock that tests replace."""

    seconds: float
    clock: Callable[[], float]
    began: float

    def allows(self, seconds: float) -> bool:
        """Whether that many more seconds still fit into the budget."""
        return self.clock() - self.began + seconds <= self.seconds


OpenCases = Callable[[Pairs], Sequence[Case]]
MeasurePair = Callable[[PairOrder, Sequence[Case], Pairs], list[PairTiming]]


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


def launch_of(config: SubjectConfig, tree: Tree) -> Launch:
    """Return how to start a worker of a tree.

    A single answer may take as long as the whole budget, and a minute.
    """
    settings = (config.subject, config.threads, config.seed, config.budget + 60)
    return Launch(tree.folder, *settings, tree.python)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a command measures: two trees, the options, the budget and the rules.

    `open_cases` gets the run, with all that needs no timing, and the timed cases; what
    it returns tells which of them the next pair must measure.
    """

    experiment: str
    config: SubjectConfig
    trees: Mapping[Side, Tree]
    metrics: tuple[str, ...]
    seeds: int
    thresholds: tuple[str, ...]
    open_cases: Callable[[Run, Sequence[Case]], OpenCases]
    budget: Budget
    first_look: Callable[[int], int] | None = None

    def planned(self, cases: int) -> "Measurement":
        """Return the same with the number of pairs that so many cases take.

        Raises UsageError where fewer were asked for than the first look needs.
        """
        config = self.config
        pairs = config.pairs or most_pairs(cases)
        least = self.first_look(cases) if self.first_look else 0
        if pairs < least:
            accepted = f"at least {least} for {cases} cases"
            raise UsageError.for_option("--pairs", pairs, accepted)
        return replace(self, config=replace(config, pairs=pairs))

    @property
    def launches(self) -> Launches:
        """How to start a worker of each side."""
        return {side: launch_of(self.config, tree) for side, tree in self.trees.items()}

    def beginning(
        self, grid: Grid, environment: Mapping[str, Any], asked: Interview
    ) -> Beginning:
        """Return what the run file begins with."""
        trees: dict[str, dict[str, Any]] = {
            side: tree.facts for side, tree in self.trees.items()
        }
        if self.config.against_python:
            for side, versions in asked.versions().items():
                trees[side]["versions"] = dict(versions)
        head = self.trees["head"]
        cells = grid.cells(self.config, self.seeds)
        return Beginning(
            experiment=self.experiment,
            config=to_json(self.config),
            cells={cell.key: cell.parameters for cell in cells},
            environment=environment,
            commit=head.commit,
            dirty=head.content != head.committed,
            one_machine=True,
            trees=to_json(trees),
            further={
                "thresholds": list(self.thresholds),
                "timed": [case.text for case in grid.timed],
            },
            free_to_change=FREE_TO_CHANGE,
        )


def starting_budget(seconds: float) -> Budget:
    """Return a budget that is spent from now on."""
    return Budget(seconds, time.perf_counter, time.perf_counter())


def measured(wanted: Measurement, output: Output) -> Run:
    """Measure, or the rest of an interrupted run; return the run.

    Raises ResnetBenchError for what cannot be done, KeyboardInterrupt and Terminated
    after the run file was closed and the command to resume was printed.
    """
    launches = wanted.launches
    with contextlib.ExitStack() as questions:
        reading = questions.enter_context(ThreadPoolExecutor(1))
        environment = reading.submit(collect_environment)
        output.say(f"{wanted.experiment}: importing the subject")
        asked = questions.enter_context(interview(launches))
        grid = Grid(_cases_of(wanted.config, asked), wanted.metrics)
        _refuse_unknown_thresholds(wanted.thresholds, grid, asked)
        wanted = wanted.planned(len(grid.timed))
        if warning := load_warning(environment.result()):
            output.say(warning)
        recorder = _opened(wanted, wanted.beginning(grid, environment.result(), asked))
        with resumable(recorder):
            _answer(recorder, asked, grid, wanted)
            libraries = asked.libraries()
            questions.close()
            _record_pairs(recorder, wanted, grid, libraries, output)
    return recorder.run()


@contextlib.contextmanager
def resumable(recorder: Recorder) -> Iterator[None]:
    """Record while the block runs; if interrupted, print the command to resume."""
    try:
        with recorder:
            yield
    except (KeyboardInterrupt, Terminated):
        to_stderr(recorder.how_to_go_on(command_of(sys.argv[1:])))
        raise


def collect_environment() -> dict[str, Any]:
    """Return the environment, read in a child process, which imports PyTorch."""
    executor = make_executor("processes")
    try:
        return executor.call(machine_environment)
    finally:
        executor.close()


def command_of(argv: Sequence[str]) -> str:
    """Return the command line without its resume options."""
    command = shlex.join(["resnet-bench", *argv])
    return re.sub(r" --resume(=\S+| [^-\s]\S*)?", "", command)


def _opened(wanted: Measurement, beginning: Beginning) -> Recorder:
    """Start the run file, or reopen the one to be resumed."""
    results, resumed = wanted.config.results, wanted.config.resume
    if resumed is None:
        return start(beginning, results, sys.argv[1:])
    return go_on(beginning, find_run(results, resumed, wanted.experiment))


def _cases_of(config: SubjectConfig, asked: Interview) -> tuple[Case, ...]:
    """Return the cases asked for, or all that either tree's subject names.

    Raises UsageError when there is none, or for a name that neither tree knows.
    """
    if not (config.cases or asked.cases):
        raise UsageError(
            f"--subject {config.subject}: it defines no CASES: give --cases"
        )
    for case in config.parsed_cases:
        if asked.names and case.name not in asked.names:
            accepted = f"{' or '.join(METHODS)} of {', '.join(asked.names)}"
            raise UsageError.for_option("--cases", case.text, accepted)
    return tuple(dict.fromkeys(config.parsed_cases or asked.cases))


def _refuse_unknown_thresholds(
    thresholds: Sequence[str], grid: Grid, asked: Interview
) -> None:
    """Raise UsageError for a limit without effect.

    Neither tree has its case, or no check measures what it is for.
    """
    known = dict.fromkeys([*asked.names, *(case.name for case in grid.cases)])
    for rule in map(parse_threshold, thresholds):
        if rule.case not in (*known, ANY_CASE):
            raise UsageError.for_option(
                "--threshold", rule.text, f"a case of {', '.join(known)}, or {ANY_CASE}"
            )
        if rule.what in STORED_ONLY:
            raise UsageError(
                f"--threshold {rule.text}: check does not measure {rule.what} (compare "
                "judges it): expected forward, step, accuracy or exact"
            )


def _answer(
    recorder: Recorder, asked: Interview, grid: Grid, wanted: Measurement
) -> None:
    """Record everything that needs no timing."""
    cell = ExactCell(threads=wanted.config.threads)
    if not recorder.holds(cell.key):
        began = time.perf_counter()
        trials = [row for case in grid.timed for row in asked.trials(case)]
        counted = [row for name in grid.exact for row in asked.exact_metrics(name)]
        keep(recorder, cell, [*trials, *counted], time.perf_counter() - began)
    for name in grid.accuracy:
        _record_accuracies(recorder, asked, name, wanted)


def keep(
    recorder: Recorder, cell: Cell, records: Sequence[Record], seconds: float
) -> None:
    """Write the cell's records and commit them; they are then never lost."""
    attempt = recorder.next_attempt(cell.key)
    for record in records:
        recorder.record(cell.key, attempt, record_content(record))
    recorder.commit(cell.key, attempt, "ok", seconds=seconds)


def _record_accuracies(
    recorder: Recorder, asked: Interview, name: str, wanted: Measurement
) -> None:
    """Train with one seed after another.

    The same predictions of the first one end it at once, and so does a failure.
    """
    budget = wanted.budget
    longest = 0.0
    for seed in range(wanted.seeds):
        cell = SeedCell(case=name, training_seed=seed)
        if not recorder.holds(cell.key):
            if seed and not budget.allows(longest):
                return
            began = budget.clock()
            records = asked.accuracies(name, seed)
            seconds = budget.clock() - began
            longest = max(longest, seconds)
            keep(recorder, cell, records, seconds)
        rows = recorder.run().rows("accuracy")
        found = {row["fingerprint"] for row in rows if row["cell"] == cell.key}
        if None in found or (seed == 0 and len(found) == 1):
            return


def _record_pairs(
    recorder: Recorder,
    wanted: Measurement,
    grid: Grid,
    libraries: Sequence[str],
    output: Output,
) -> None:
    """Measure pairs until no case is open or the budget is spent; keep each."""
    config, budget, launches = wanted.config, wanted.budget, wanted.launches
    run = recorder.run()
    pairs, undecided = pairs_of(run), wanted.open_cases(run, grid.timed)

    most, timed = config.pairs or 0, len(grid.timed)
    first = wanted.first_look(timed) if wanted.first_look else 0

    def open_cases(pairs: Pairs) -> Sequence[Case]:
        return undecided(pairs) if len(pairs) < most else ()

    with nurseries(launches, libraries) as start_for:

        def measure(
            order: PairOrder, cases: Sequence[Case], so_far: Pairs
        ) -> list[PairTiming]:
            return live_pair(launches, order, cases, so_far, start_for(order.pair))

        last = budget.clock()
        for timings in measure_pairs(pairs, config.seed, measure, open_cases, budget):
            seconds = budget.clock() - last
            keep(recorder, pair_cell(config, len(pairs) - 1), timings, seconds)
            count = f"pair {len(pairs)} of at most {most}"
            output.say(f"{count} in {seconds:.1f} s")
            if share := SHARE_OF_LATER.get(len(pairs)):
                _refuse_a_short(budget, first, first - len(pairs), share * seconds)
            last = budget.clock()


#: What later pairs take at least of the first one's time, which also starts what the
#: next ones are forked from and finds out the calls per leg, and of the second one's.
SHARE_OF_LATER = {1: 1 / 3, 2: 0.9}


def _refuse_a_short(budget: Budget, first: int, missing: int, seconds: float) -> None:
    """Raise UsageError if the first look cannot be reached in time."""
    if missing > 0 and not budget.allows(missing * seconds):
        needed = budget.clock() - budget.began + missing * seconds
        raise UsageError.for_option(
            "--budget",
            f"{budget.seconds:g}",
            f"at least {math.ceil(needed * 1.1)} s, which {first} pairs take here; "
            "fewer decide nothing",
        )
