"""The largest batch is found by trying, in children that may die of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bench.engine.devices import Device
from resnet_bench.errors import ChildDiedError, UsageError
from resnet_bench.execution.base import Arguments, Result
from resnet_bench.execution.inline import InlineExecutor
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.experiments.speed.cells import TIME, SpeedCell
from resnet_bench.experiments.speed.grid import (
    FIRST,
    LARGEST,
    RESOLUTION,
    SEARCH_SECONDS,
    Largest,
    announce,
    expand,
    fitted,
    largest,
    resolved,
    timing_cells,
)
from resnet_bench.experiments.speed.measures import memory as measure
from resnet_bench.experiments.speed.measures.memory import fits
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.options import restore
from resnet_bench.records import to_json
from tests.toys import limited

MEBIBYTE = 2**20

#: Large enough that few batches have to be tried.
IMAGE_SIZE = 512


def unheard(_: str) -> None:
    """Take a note that nobody reads."""


def config_of(**options: Any) -> Config:
    given_ = {"variants": (18, 50), "batch_size": ("auto",), **options}
    return resolved(Config(**given_), "cpu", threads=1)


class Machine(InlineExecutor):
    """Runs what fits below a limit; the child that does not is killed."""

    isolates = True

    def __init__(self, limit: Callable[[SpeedCell], int]) -> None:
        super().__init__()
        self.limit = limit
        self.tried: list[int] = []

    def call(
        self,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
        patience: float | None = None,
    ) -> Result:
        (cell,) = cast(tuple[Any], arguments)
        self.tried.append(cell.batch_size or 0)
        if self.tried[-1] > 3 * self.limit(cell):
            raise ChildDiedError("killed")
        return cast(Result, self.tried[-1] <= self.limit(cell))


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
    clock = Timed(lambda batch: True)
    found = largest(clock, now=lambda: clock.seconds)
    assert found.because.startswith("no time for more")
    # 2 + 4 + 8 + 16 + 32 seconds; another 64 would have ended too late.
    assert found.batch_size == clock.tried[-1]
    assert clock.seconds <= SEARCH_SECONDS
    assert clock.seconds + 2 * found.batch_size > SEARCH_SECONDS


def test_a_halving_whose_time_is_up_does_not_blame_memory() -> None:
    clock = Timed(lambda batch: batch <= 60, seconds_per_image=0.9)
    found = largest(clock, now=lambda: clock.seconds)
    assert found == Largest(32, "no time for more within 120 s; 64 do not fit")


@given(st.integers(FIRST, LARGEST - 1))
def test_no_try_ends_after_the_time_is_up(limit: int) -> None:
    clock = Timed(lambda batch: batch <= limit)
    assert FIRST <= largest(clock, now=lambda: clock.seconds).batch_size <= limit
    assert clock.seconds <= SEARCH_SECONDS


@dataclass
class Timed:
    """Answers what fits, by default a second per image later."""

    fits: Callable[[int], bool]
    seconds_per_image: float = 1.0
    seconds: float = 0.0
    tried: list[int] = field(default_factory=list)

    def __call__(self, batch_size: int) -> bool:
        self.seconds += batch_size * self.seconds_per_image
        self.tried.append(batch_size)
        return self.fits(batch_size)


def test_each_try_is_said_before_it_is_made() -> None:
    said: list[str] = []
    machine = Machine(lambda cell: 5)
    fitted(config_of(), machine, said.append)
    assert len(said) == len(machine.tried)
    assert said[0] == (
        "[1/2] ResNet-18, 224 px, float32: trying batch 2 (0 s of 120 s)"
    )
    assert max(map(len, said)) < 80
    assert "trying batch 4; 2 fit (" in said[1]
    assert "trying batch 6; 8 do not fit (" in said[3]
    assert "[2/2] ResNet-50" in said[-1]


def test_where_no_image_fits_nothing_is_found() -> None:
    assert largest(lambda batch: False).batch_size == 0
    assert largest(lambda batch: batch == 1).batch_size == 1


def test_each_setting_gets_its_own_batch_and_keeps_what_was_asked_for() -> None:
    machine = Machine(lambda cell: 40 if cell.variant == 18 else 12)
    config = fitted(config_of(), machine, unheard)
    timed = [cell for cell in expand(config) if cell.measure == TIME]
    assert [cell.batch_size for cell in timed] == [40, 12]
    assert {cell.requested_batch_size for cell in timed} == {"auto"}
    assert max(machine.tried) == 64
    assert announce(config)[1] == (
        "--batch-size auto: ResNet-50, 224 px, float32: batch 12 (13 do not fit)"
    )


def test_a_resumed_run_does_not_search_again() -> None:
    config = fitted(config_of(), Machine(lambda cell: 40), unheard)
    again = Config(**restore(Config, to_json(config)))
    machine = Machine(lambda cell: 99)
    assert expand(fitted(again, machine, unheard)) == expand(config)
    assert machine.tried == []


def test_given_batches_stand_beside_the_largest() -> None:
    config = config_of(variants=(18,), batch_size=(1, "auto"))
    found = fitted(config, Machine(lambda _: 5), unheard)
    timed = [cell for cell in expand(found) if cell.variant]
    assert [cell.batch_size for cell in timed if cell.measure == TIME] == [1, 5]


def test_a_setting_of_which_no_image_fits_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit with a single image of 224 px"):
        fitted(config_of(), Machine(lambda cell: 0), unheard)


def test_only_children_may_die_of_a_search() -> None:
    with pytest.raises(UsageError, match="expected with --executor processes"):
        fitted(config_of(), InlineExecutor(), unheard)
    config = config_of(batch_size=(4,))
    assert fitted(config, InlineExecutor(), unheard) is config


def test_a_ladder_has_no_largest_batch() -> None:
    with pytest.raises(UsageError, match="without --batch-size auto"):
        Config(batch_size=("auto",), ladder=True)


def tiny_cell(batch_size: int) -> SpeedCell:
    config = Config(
        model=("tests.engine.tiny_networks:tiny",),
        batch_size=(batch_size,),
        image_size=(IMAGE_SIZE,),
    )
    return replace(expand(resolved(config, "cpu", threads=1))[0], threads=1)


@pytest.fixture(scope="module")
def children() -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor()
    executor.warm((limited.__name__,))
    yield executor
    executor.close()


def test_a_child_tells_what_fits_below_a_limit(children: ProcessExecutor) -> None:
    # An image of 512 px takes 3 MiB, and its activations several times as much.
    assert children.call(fits, tiny_cell(2), 512 * MEBIBYTE)
    assert not children.call(fits, tiny_cell(128), 512 * MEBIBYTE)


@dataclass
class Limited(InlineExecutor):
    """Calls in children that the kernel gives no more than some address space."""

    children: ProcessExecutor
    isolates = True

    def call(
        self,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
        patience: float | None = None,
    ) -> Result:
        (cell,) = cast(tuple[Any], arguments)
        return cast(Result, self.children.call(limited.fits, cell))


def test_the_search_ends_at_a_limit_that_the_kernel_sets(
    children: ProcessExecutor,
) -> None:
    config = replace(
        config_of(variants=(), model=("tests.engine.tiny_networks:tiny",)),
        image_size=(IMAGE_SIZE,),
    )
    executor = Limited(children)
    found = fitted(config, executor, unheard)
    (timed,) = timing_cells(found)
    assert found.fitted is not None
    _, words, batch_size = found.fitted[0]
    fitting = [
        executor.call(fits, replace(timed, batch_size=each))
        for each in (batch_size, 2 * batch_size)
    ]
    assert words.endswith("do not fit)")
    assert 2 < batch_size < LARGEST
    assert fitting == [True, False]


def test_a_batch_may_take_most_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "bytes_left", lambda: 1_400_000_000)
    assert measure.memory_left(Device("cpu")) == 800_000_000
    assert measure.memory_left(Device("cuda", 0)) is None
    monkeypatch.setattr(measure, "bytes_left", lambda: 1)
    assert measure.memory_left(Device("cpu")) == 0


@pytest.mark.parametrize(
    ("message", "known"),
    [("could not create a primitive", True), ("shapes do not match", False)],
)
def test_what_onednn_says_without_memory_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, message: str, known: bool
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(measure, "memory_unit", refuse)
    with nullcontext() if known else pytest.raises(RuntimeError, match=message):
        assert not measure.fits(tiny_cell(2), 512 * MEBIBYTE)


def test_what_onednn_refuses_of_a_tiny_network_is_no_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(measure, "rehearse", refuse)
    with pytest.raises(RuntimeError, match="could not create a primitive"):
        measure.fits(tiny_cell(2), 512 * MEBIBYTE)
