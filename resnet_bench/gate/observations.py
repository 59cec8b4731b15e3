"""What a check records: its cells, and what is observed in each."""

from dataclasses import dataclass

from resnet_bench.records import Cell, Record, measured


@dataclass(frozen=True, kw_only=True)
class ExactCell(Cell):
    """All quantities without noise, of one side."""

    side: str


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
class Calibration(Record):
    """How many calls make a leg long enough; shared by both sides and all pairs."""

    case: str
    method: str
    loops: int


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


@dataclass(frozen=True, kw_only=True)
class ExactMetrics(Record):
    """What a case is made of, on one side; `problem` says why it is unknown."""

    case: str
    side: str
    problem: str | None = None
    parameters: int | None = measured(unit="1", better="lower", exact=True)
    flops: int | None = measured(unit="1", better="lower", exact=True)
    forward_operations: int | None = measured(unit="1", better="lower", exact=True)
    backward_operations: int | None = measured(unit="1", better="lower", exact=True)
    state_dict_keys: str | None = measured(unit="1", better="neither", exact=True)
    output_checksum: str | None = measured(unit="1", better="neither", exact=True)


@dataclass(frozen=True, kw_only=True)
class Accuracy(Record):
    """The share of correct predictions of one side after training with one seed."""

    case: str
    side: str
    training_seed: int
    accuracy: float | None = measured(unit="1", better="higher")
    fingerprint: str | None = measured(unit="1", better="neither", exact=True)
    problem: str | None = None


RECORDS = (Calibration, PairTiming, ExactMetrics, Accuracy)
