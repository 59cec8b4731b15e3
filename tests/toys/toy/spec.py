"""A toy experiment: every cell does what its `behaviour` says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from resnet_bench.errors import UsageError
from resnet_bench.options import check, option
from resnet_bench.records import Cell, Record, measured, transient


@dataclass(frozen=True, kw_only=True)
class Config:
    behaviours: tuple[str, ...] = option(("count",), help="What the cells do.")
    size: int = option(2, help="Records per cell.")
    seed: int = option(0, help="Seed.")
    device: str = option("cpu", help="Device.")
    folder: Path | None = option(None, help="Folder.")

    def __post_init__(self) -> None:
        check(self.size >= 1, "--size", self.size, "at least 1")


@dataclass(frozen=True, kw_only=True)
class ToyCell(Cell):
    behaviour: str
    index: int
    size: int
    worker: int = transient(0)

    @property
    def needs(self) -> tuple[str, ...]:
        if self.behaviour != "dependent":
            return ()
        first = ToyCell(behaviour="fail", index=0, size=self.size)
        return (first.key,)

    @property
    def memory_bytes(self) -> float:
        return 100.0 if self.behaviour == "large" else 0.0

    @property
    def passing_bytes(self) -> float:
        return 50.0 if self.behaviour == "passing" else 0.0


@dataclass(frozen=True, kw_only=True)
class ToySample(Record):
    step: int
    value: float = measured(unit="s", better="lower")


@dataclass(frozen=True, kw_only=True)
class LastToySample(ToySample):
    ends_cell: ClassVar[bool] = True


def expand(config: Config) -> list[ToyCell]:
    return [
        ToyCell(behaviour=behaviour, index=index, size=config.size)
        for index, behaviour in enumerate(config.behaviours)
    ]


def refuse(reason: str) -> Any:
    raise UsageError(reason)
