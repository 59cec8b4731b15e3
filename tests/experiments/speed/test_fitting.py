"""The largest batch is found by trying, in children that may die of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bench.engine import cpu
from resnet_bench.engine.devices import Device
from resnet_bench.errors import ChildDiedError, UsageError
from resnet_bench.execution.inline import InlineExecutor
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.experiments.speed import run
from resnet_bench.experiments.speed.cells import TIME, SpeedCell
from resnet_bench.experiments.speed.fitting import (
    LARGEST,
    RESOLUTION,
    SEARCH_SECONDS,
    fitted,
    largest,
)
from resnet_bench.experiments.speed.measures import fits as measure
from resnet_bench.experiments.speed.spec import Config, announce, expand, resolved
from resnet_bench.options import restore
from resnet_bench.records import to_json

MEBIBYTE = 2**20


def config_of(**options: Any) -> Config:
    given_ = {"variants": (18, 50), "batch_size": ("auto",), **options}
    return resolved(Config(**given_), "cpu", threads=1)


class Machine:
    """Runs what fits below a limit; the child that does not is killed."""

    isolates = True

    def __init__(self, limit: Callable[[SpeedCell], int]) -> None:
        self.limit = limit
        self.tried: list[int] = []

    def call(self, module: str, function: str, cell: SpeedCell) -> bool:
        assert (module, function) == (run.__name__, "fits")
        self.tried.append(cell.batch_size or 0)
        if self.tried[-1] > 3 * self.limit(cell):
            raise ChildDiedError("killed")
        return self.tried[-1] <= self.limit(cell)


@given(st.integers(1, LARGEST - 1))
def test_what_is_found_fits_and_little_more_does_not(limit: int) -> None:
    found = largest(lambda batch: batch <= limit, now=lambda: 0.0)
    assert 0 < found.batch_size <= limit
    assert found.batch_size + max(1, RESOLUTION * found.batch_size) >= limit


def test_nothing_is_larger_than_the_largest() -> None:
    found = largest(lambda batch: True, now=lambda: 0.0)
    assert found.batch_size == LARGEST
    assert found.because == "the largest that is tried"


def test_a_search_whose_time_is_up_keeps_what_fitted() -> None:
    clock = count(0.0, SEARCH_SECONDS / 3)
    found = largest(lambda batch: True, now=lambda: next(clock))
    assert found.batch_size == 8
    assert found.because.startswith("no time for more")


def test_where_no_image_fits_nothing_is_found() -> None:
    assert largest(lambda batch: False).batch_size == 0
    assert largest(lambda batch: batch == 1).batch_size == 1


def test_each_setting_gets_its_own_batch_and_keeps_what_was_asked_for() -> None:
    machine = Machine(lambda cell: 40 if cell.variant == 18 else 12)
    config = fitted(config_of(), machine)
    timed = [cell for cell in expand(config) if cell.measure == TIME]
    assert [cell.batch_size for cell in timed] == [40, 12]
    assert {cell.requested_batch_size for cell in timed} == {"auto"}
    assert max(machine.tried) == 64
    assert announce(config)[1] == (
        "--batch-size auto: ResNet-50, 224 px, float32: batch 12 (13 do not fit)"
    )


def test_a_resumed_run_does_not_search_again() -> None:
    config = fitted(config_of(), Machine(lambda cell: 40))
    again = Config(**restore(Config, to_json(config)))
    machine = Machine(lambda cell: 99)
    assert expand(fitted(again, machine)) == expand(config)
    assert machine.tried == []


def test_given_batches_stand_beside_the_largest() -> None:
    config = config_of(variants=(18,), batch_size=(1, "auto"))
    timed = [c for c in expand(fitted(config, Machine(lambda _: 5))) if c.variant]
    assert [cell.batch_size for cell in timed if cell.measure == TIME] == [1, 5]


def test_a_setting_of_which_no_image_fits_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit with a single image of 224 px"):
        fitted(config_of(), Machine(lambda cell: 0))


def test_only_children_may_die_of_a_search() -> None:
    with pytest.raises(UsageError, match="expected with --executor processes"):
        fitted(config_of(), InlineExecutor())
    config = config_of(batch_size=(4,))
    assert fitted(config, InlineExecutor()) is config


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": ("largest",)}, "--batch-size largest"),
        ({"batch_size": ("auto",), "ladder": True}, "without --batch-size auto"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Config(**options)


def tiny_cell(batch_size: int) -> SpeedCell:
    config = Config(
        model=("tests.engine.tiny_networks:tiny",),
        batch_size=(batch_size,),
        image_size=(64,),
    )
    return replace(expand(resolved(config, "cpu", threads=1))[0], threads=1)


def tried(batch_size: int, limit_bytes: int) -> bool:
    executor = ProcessExecutor()
    executor.warm((run.__name__,))
    try:
        answer = executor.call(run.__name__, "fits", tiny_cell(batch_size), limit_bytes)
    finally:
        executor.close()
    return bool(answer)


def test_a_child_tells_what_fits_below_a_limit() -> None:
    # An image of 64 px takes 48 KiB, and its activations several times as much.
    assert tried(2, 512 * MEBIBYTE)
    assert not tried(4096, 512 * MEBIBYTE)


def test_the_containers_limit_counts_where_it_is_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory: dict[str, Any] = {"available_bytes": 1000, "limit_bytes": None}
    monkeypatch.setattr(measure, "describe_memory", lambda: memory)
    assert measure.memory_left(Device("cpu")) == 800
    memory["limit_bytes"] = 500
    assert measure.memory_left(Device("cpu")) == 400
    assert measure.memory_left(Device("cuda", 0)) is None
    assert set(memory) <= set(cpu.describe_memory())
