"""Records of a run file are held against the classes that declare them."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from resnet_bench.errors import InputOutputError
from resnet_bench.records import Record, measured
from resnet_bench.store.checking import check_records, naming
from resnet_bench.store.reading import Run


@dataclass(frozen=True, kw_only=True)
class Odd(Record):
    name: str
    side: Literal["base", "head"]
    note: str | None = None
    sizes: tuple[int, ...] = ()
    gain: float = 0.0
    seconds: float = measured(unit="s", better="lower")
    parts: Mapping[str, tuple[float, ...]] = measured(unit="s", better="lower")
    found: tuple[tuple[str, int], ...] = ()


FINE: dict[str, Any] = {
    "type": "odd",
    "cell": "k1",
    "attempt": 1,
    "name": "a",
    "side": "base",
    "sizes": [1, 2],
    "gain": math.nan,
    "seconds": 1,
    "parts": {"stem": [0.5, 2.0]},
    "found": [["a", 1]],
}


def run_of(row: dict[str, Any]) -> Run:
    return Run(Path("speed/r1"), {"run": "r1"}, [row], {}, "complete")


def test_a_record_as_its_class_declares_it_passes() -> None:
    check_records(run_of(FINE), [Odd])
    check_records(run_of({"type": "newer", "cell": "k1"}), [Odd])


@pytest.mark.parametrize(
    "changes",
    [
        {"name": None},
        {"name": ["a"]},
        {"side": "middle"},
        {"note": 3},
        {"sizes": [1.5]},
        {"sizes": {"a": 1}},
        {"gain": True},
        {"gain": "0.5"},
        {"seconds": math.nan},
        {"seconds": math.inf},
        {"seconds": -1.0},
        {"parts": {"stem": [0.5, -1.0]}},
        {"parts": {"stem": 0.5}},
        {"parts": [0.5]},
        {"found": [["a", "b"]]},
        {"found": [["a", 1, 2]]},
        {"found": [3]},
    ],
)
def test_an_odd_field_is_named(changes: dict[str, Any]) -> None:
    (field,) = changes
    with pytest.raises(
        InputOutputError, match=f"r1: .* cell k1 has an invalid {field}"
    ):
        check_records(run_of({**FINE, **changes}), [Odd])


def test_a_field_that_is_missing_is_named() -> None:
    row = copy.deepcopy(FINE)
    del row["seconds"]
    with pytest.raises(InputOutputError, match="lacks seconds"):
        check_records(run_of(row), [Odd])


@pytest.mark.parametrize(
    "cause", [KeyError("x"), TypeError("y"), ZeroDivisionError(), RecursionError()]
)
def test_what_nobody_foresaw_names_the_run(cause: BaseException) -> None:
    with (
        pytest.raises(InputOutputError, match="r1: cannot be shown"),
        naming(run_of(FINE)),
    ):
        raise cause
