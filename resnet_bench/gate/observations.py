"""What a check records: its cells, and what is observed in each."""

from dataclasses import dataclass
from typing import Any

from resnet_bench.records import Better, Cell, Record, measured


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

    The case named `control` is a frozen matrix product.
    """

    case: str
    method: str
    loops: int
    base_seconds: list[float] = measured(unit="s", better="lower")
    head_seconds: list[float] = measured(unit="s", better="lower")


def _exact(better: Better) -> Any:
    """Declare a quantity without noise, unknown where the case has a problem."""
    return measured(unit="1", better=better, default=None, exact=True)


@dataclass(frozen=True, kw_only=True)
class ExactMetrics(Record):
    """What a case is made of, on one side; `problem` says why it is unknown."""

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
