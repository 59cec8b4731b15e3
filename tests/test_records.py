"""Cells and records: identity, units, and JSON."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bench.records import (
    RESERVED,
    Cell,
    Measure,
    Record,
    measured,
    measures,
    snake_case,
    to_json,
    transient,
)


@dataclass(frozen=True, kw_only=True)
class Point(Cell):
    variant: int
    device_index: int = transient(0)
    worker: int = transient()


@dataclass(frozen=True, kw_only=True)
class PhaseSample(Record):
    phase: str
    seconds: tuple[float, ...] = measured(unit="s", better="lower")
    parameters: int = measured(unit="1", better="neither", exact=True, default=3)


@given(st.integers(), st.integers(), st.integers())
def test_what_is_transient_does_not_identify_a_cell(
    variant: int, index: int, worker: int
) -> None:
    cell = Point(variant=variant, device_index=index, worker=worker)
    assert cell.key == Point(variant=variant, worker=0).key
    assert cell.key != Point(variant=variant + 1, worker=0).key
    assert len(cell.key) == 12


def test_a_cell_says_its_parameters() -> None:
    cell = Point(variant=18, worker=1)
    assert cell.parameters == {"variant": 18, "device_index": 0, "worker": 1}
    assert cell.label == "variant=18 device_index=0 worker=1"
    assert (cell.cost, cell.memory_bytes, cell.needs) == (1.0, 0.0, ())


def test_units_are_declared_with_the_field() -> None:
    assert PhaseSample.type_name() == "phase_sample"
    assert measures(PhaseSample) == {
        "seconds": Measure("seconds", "s", "lower", exact=False),
        "parameters": Measure("parameters", "1", "neither", exact=True),
    }


def test_json_keeps_every_digit() -> None:
    record = PhaseSample(phase="forward", seconds=(0.1 + 0.2, 1e-9))
    assert to_json(record)["seconds"] == [0.30000000000000004, 1e-09]
    assert to_json({1: Path("a")}) == {"1": "a"}


def test_class_names_become_record_types() -> None:
    assert snake_case("ResNet18Sample") == "res_net18_sample"


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_record_cannot_take_a_key_of_its_line(name: str) -> None:
    with pytest.raises(TypeError, match=f"reserved fields.*{name}"):
        type("Bad", (Record,), {"__annotations__": {name: str}})
