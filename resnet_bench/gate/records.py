"""What a check or `noise` run holds: its grid of cells, its records, its pairs."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.gate.deciding import PairedSeconds
from resnet_bench.gate.spec import Case, SubjectConfig
from resnet_bench.records import Better, Cell, Record, measured
from resnet_bench.statistics.estimates import geometric_mean
from resnet_bench.store.reading import Run

Side = Literal["base", "head"]

SIDES: tuple[Side, ...] = ("base", "head")

#: Both blocks cancel a linear drift of the machine's speed within the block.
BLOCKS: dict[str, tuple[Side, ...]] = {
    "ABBA": ("base", "head", "head", "base"),
    "BAAB": ("head", "base", "base", "head"),
}


@dataclass(frozen=True)
class PairOrder:
    """The order of one pair: which side starts first, and its block of legs."""

    pair: int
    block: str
    first_started: Side

    @property
    def legs(self) -> tuple[Side, ...]:
        """The sides in the order in which their legs run."""
        return BLOCKS[self.block]


def pair_order(seed: int, pair: int) -> PairOrder:
    """Return the order of pair number `pair`; it depends on nothing else."""
    generator = random.Random(f"{seed}:{pair}")
    # Another pair of processes tells more than another block within this one.
    block = generator.choice(tuple(BLOCKS))
    return PairOrder(pair, block, first_started=generator.choice(SIDES))


@dataclass(frozen=True, kw_only=True)
class ExactCell(Cell):
    """All quantities without noise, of both sides."""

    threads: int


@dataclass(frozen=True, kw_only=True)
class PairCell(Cell):
    """One pair of fresh processes."""

    pair: int
    blocks: str
    first_started: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class SeedCell(Cell):
    """One seed of an accuracy case, trained and tested on both sides."""

    case: str
    training_seed: int


@dataclass(frozen=True, kw_only=True)
class Trial(Record):
    """Whether a timed case runs on one side; `problem` says why it does not."""

    case: str
    side: str
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class PairTiming(Record):
    """Median seconds per call of every leg of one pair, in the order they ran.

    The case named `control` is a frozen matrix product. `stopped` counts the tries of
    legs in which the process was stopped; they were taken again.
    """

    case: str
    method: str
    loops: int
    base_seconds: list[float] = measured(unit="s", better="lower")
    head_seconds: list[float] = measured(unit="s", better="lower")
    stopped: int = 0

    def seconds(self, side: Side) -> float:
        """Return one side's seconds per call: the geometric mean of its legs.

        The mean of logarithms makes ABBA cancel a steady drift exactly.
        """
        return geometric_mean(
            self.base_seconds if side == "base" else self.head_seconds
        )


def _exact(better: Better) -> Any:
    """Declare a quantity without noise, unknown where the case has a problem."""
    return measured(unit="1", better=better, default=None, exact=True)


@dataclass(frozen=True, kw_only=True)
class ExactMetrics(Record):
    """A case's exact quantities on one side; `problem` says why they are unknown."""

    case: str
    side: str
    problem: str | None = None
    parameters: int | None = _exact("lower")
    flops: int | None = _exact("lower")
    forward_operations: int | None = _exact("lower")
    backward_operations: int | None = _exact("lower")
    state_dict_keys: str | None = _exact("neither")
    output_checksum: str | None = _exact("neither")


@dataclass(frozen=True, kw_only=True)
class Accuracy(Record):
    """The share of correct predictions of one side after training with one seed."""

    case: str
    side: str
    training_seed: int
    accuracy: float | None = measured(unit="1", better="higher", default=None)
    fingerprint: str | None = _exact("neither")
    problem: str | None = None


RECORDS = (Trial, PairTiming, ExactMetrics, Accuracy)


def records_of(experiment: str) -> Sequence[type[Record]]:
    """Return the types of an experiment's records, or of a `check` or `noise` run."""
    return EXPERIMENTS[experiment].records if experiment in EXPERIMENTS else RECORDS


@dataclass(frozen=True)
class Grid:
    """What a check measures, by the way it is measured."""

    cases: tuple[Case, ...]
    metrics: tuple[str, ...]

    @property
    def timed(self) -> list[Case]:
        """The cases that pairs of processes measure."""
        return [case for case in self._wanted("time") if case.is_timed]

    @property
    def exact(self) -> list[str]:
        """The names whose make-up is counted: all that are not only trained."""
        cases = [case for case in self._wanted("exact") if case.method != "accuracy"]
        return list(dict.fromkeys(case.name for case in cases))

    @property
    def accuracy(self) -> list[str]:
        """The names that are trained and tested."""
        return [c.name for c in self._wanted("accuracy") if c.method == "accuracy"]

    def _wanted(self, metric: str) -> tuple[Case, ...]:
        return self.cases if metric in self.metrics else ()

    def cells(self, config: SubjectConfig, seeds: int) -> list[Cell]:
        """Return every cell that may be measured."""
        return [
            ExactCell(threads=config.threads),
            *(
                SeedCell(case=name, training_seed=seed)
                for name in self.accuracy
                for seed in range(seeds)
            ),
            *(pair_cell(config, number) for number in range(config.pairs or 0)),
        ]


def pair_cell(config: SubjectConfig, number: int) -> PairCell:
    """Return the cell of one pair: its order follows from seed and number."""
    order = pair_order(config.seed, number)
    return PairCell(
        pair=number,
        blocks=order.block,
        first_started=order.first_started,
        threads=config.threads,
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
        """Return the side's seconds per call, one value per pair."""
        rows = (row for pair in self.timings for row in pair)
        return [row.seconds(side) for row in rows if row.case == case]

    @property
    def notices(self) -> list[str]:
        """In how many tries of a leg its process was stopped, if any."""
        stopped = sum(row.stopped for pair in self.timings for row in pair)
        if not stopped:
            return []
        tries = "1 try" if stopped == 1 else f"{stopped} tries"
        return [
            f"A process was stopped (SIGSTOP, Ctrl-Z) in {tries} of a leg, which was "
            "repeated, three times at most."
        ]

    def paired(self, case: str) -> PairedSeconds:
        """Return the case's seconds per call on both sides."""
        return PairedSeconds(self.series(case, "base"), self.series(case, "head"))


def pairs_of(run: Run) -> Pairs:
    """Return the committed pairs of a run, in order."""
    by_number: dict[int, list[PairTiming]] = {}
    for row in run.rows(PairTiming):
        by_number.setdefault(row["pair"], []).append(timing_of(row))
    return Pairs([by_number[number] for number in sorted(by_number)])


def timing_of(row: Mapping[str, Any]) -> PairTiming:
    """Return the record that a stored row holds."""
    names = ("case", "method", "loops", "base_seconds", "head_seconds")
    stopped = row.get("stopped", 0)  # older runs do not count them
    return PairTiming(**{name: row[name] for name in names}, stopped=stopped)


#: What the Python of each side computes with, by name; None for what it lacks.
Versions = Mapping[Side, Mapping[str, str | None]]


def versions_of(run: Run) -> Versions:
    """Return each side's library versions; empty if both use the same Python."""
    trees = run.header["trees"]
    found = {side: trees[side].get("versions") for side in SIDES}
    return {side: versions for side, versions in found.items() if versions}
