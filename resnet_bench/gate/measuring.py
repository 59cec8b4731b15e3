"""Carrying out a check or a noise measurement: exact first, then seeds, then pairs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from resnet_bench.errors import UsageError
from resnet_bench.gate.pairs import Budget, Interview, Pairs, live_pair, measure_pairs
from resnet_bench.gate.recording import Recording
from resnet_bench.gate.records import (
    ExactCell,
    Grid,
    PairOrder,
    PairTiming,
    SeedCell,
    Side,
    pair_cell,
)
from resnet_bench.gate.spec import METHODS, Case, SubjectConfig, parse_case
from resnet_bench.gate.trees import Tree
from resnet_bench.gate.workers import Launch, nurseries

Say = Callable[[str], None]
Launches = Mapping[Side, Launch]


@dataclass(frozen=True)
class Starting:
    """What starts the workers of a pair: of each side, and the libraries of both."""

    launches: Launches
    libraries: Sequence[str]


def launches_for(config: SubjectConfig, trees: Mapping[Side, Tree]) -> Launches:
    """Return what starts a worker of each side.

    A single answer may take as long as the whole check, and a minute.
    """
    patience = config.budget + 60
    return {
        side: Launch(tree.folder, config.subject, config.threads, config.seed, patience)
        for side, tree in trees.items()
    }


def cases_of(config: SubjectConfig, interview: Interview) -> tuple[Case, ...]:
    """Return the cases asked for, or all that either tree's subject names.

    Raises UsageError when there is none, or for a name that neither tree knows.
    """
    offers = (interview.offers["head"], interview.offers["base"])
    named = [parse_case(text) for offer in offers for text in offer["cases"]]
    if not (config.cases or named):
        raise UsageError(
            f"--subject {config.subject}: names no CASES: expected --cases"
        )
    for case in config.parsed_cases:
        if named and case.name not in interview.names:
            accepted = f"{' or '.join(METHODS)} of {', '.join(interview.names)}"
            raise UsageError.for_option("--cases", case.text, accepted)
    return tuple(dict.fromkeys(config.parsed_cases or named))


def record_exact(
    recording: Recording, interview: Interview, grid: Grid, threads: int
) -> None:
    """Try the timed cases and count what each is made of, unless already known."""
    cell = ExactCell(threads=threads)
    if recording.holds(cell):
        return
    began = time.perf_counter()
    trials = [row for case in grid.timed for row in interview.trials(case)]
    counted = [row for name in grid.exact for row in interview.exact_metrics(name)]
    recording.keep(cell, [*trials, *counted], time.perf_counter() - began)


def record_accuracies(
    recording: Recording,
    interview: Interview,
    name: str,
    seeds: int,
    budget: Budget,
) -> None:
    """Train with one seed after another; the same predictions end it at once."""
    longest = 0.0
    for seed in range(seeds):
        cell = SeedCell(case=name, training_seed=seed)
        if not recording.holds(cell):
            if seed and not budget.allows(longest):
                return
            began = budget.clock()
            records = interview.accuracies(name, seed)
            longest = max(longest, budget.clock() - began)
            recording.keep(cell, records, longest)
        if _settled(recording, cell):
            return


def _settled(recording: Recording, cell: SeedCell) -> bool:
    """Whether the cell's predictions are the same on both sides, or failed."""
    rows = [row for row in recording.run().rows("accuracy") if row["cell"] == cell.key]
    return len({(row["fingerprint"]) for row in rows}) == 1


def record_pairs(
    recording: Recording,
    config: SubjectConfig,
    starting: Starting,
    budget: Budget,
    open_cases: Callable[[Pairs], Sequence[Case]],
    say: Say,
) -> None:
    """Measure pairs until no case is open or the budget is spent; keep each."""
    pairs = _stored(recording)
    with nurseries(config.threads, starting.libraries) as start_for:

        def measure(
            order: PairOrder, cases: Sequence[Case], so_far: Pairs
        ) -> list[PairTiming]:
            start = start_for(order.pair)
            return live_pair(starting.launches, order, cases, so_far, start)

        last = budget.clock()
        for timings in measure_pairs(pairs, config.seed, measure, open_cases, budget):
            seconds = budget.clock() - last
            recording.keep(pair_cell(config, len(pairs) - 1), timings, seconds)
            say(f"pair {len(pairs)} of at most {config.pairs} in {seconds:.1f} s")
            last = budget.clock()


def _stored(recording: Recording) -> Pairs:
    from resnet_bench.gate.rows import pairs_of

    return pairs_of(recording.run())
