"""Each detector from a stand-in GPU to the verdict of its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from resnet_bench.engine import devices
from resnet_bench.engine.devices import Device
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.timing.clock import Clock, EventClock, WallClock
from resnet_bench.engine.timing.conditions import GpuState, Watch
from resnet_bench.engine.timing.sampling import Sampler
from resnet_bench.experiments.speed import run as speed
from resnet_bench.experiments.speed.cells import (
    TIME,
    OutOfMemory,
    SpeedCell,
)
from resnet_bench.experiments.speed.grid import expand, resolved
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.experiments.speed.view.rows import SpeedRow
from tests.engine.fake_cuda import FakeCuda

#: Seconds of the device for each phase.
PARTS = {"forward": 0.004, "loss": 0.001, "backward": 0.008, "optimizer": 0.001}
ROUNDS = 6


@dataclass
class Launching:
    """A unit that launches work of so many seconds for each of its phases."""

    cuda: FakeCuda
    seconds: dict[str, float]
    block: str | None = None

    @property
    def phases(self) -> tuple[str, ...]:
        return tuple(self.seconds)

    def call(self, clock: Clock) -> Sequence[float]:
        marks = [clock.begin()]
        for seconds in self.seconds.values():
            self.cuda.launch(seconds)
            marks.append(clock.mark())
        return clock.between(marks)

    def work(self) -> None:
        for seconds in self.seconds.values():
            self.cuda.launch(seconds)


def gpu_cell() -> SpeedCell:
    config = Config(variants=(18,), mode="train")
    cells = expand(resolved(config, "cuda:0", threads=2))
    return next(cell for cell in cells if cell.measure == TIME)


class Driver:
    """Says a second later why a GPU is held back: at rest, or amid a visit."""

    def __init__(
        self, cuda: FakeCuda, *, resting: Sequence[str] = (), amid: Sequence[str] = ()
    ) -> None:
        self.cuda = cuda
        self.reasons = {False: tuple(resting), True: tuple(amid)}
        self.visiting = False
        self.asked = {False: 0, True: 0}

    def __call__(self, index: int) -> GpuState:
        self.cuda.host += 1.0
        self.asked[self.visiting] += 1
        return GpuState(reasons=self.reasons[self.visiting])


def row_of(
    cuda: FakeCuda,
    step: float,
    driver: Driver | None = None,
    waited: float = 0.0,
    scale: float = 1.0,
) -> SpeedRow:
    """Sample a training step on the stand-in and make a row of what was seen."""
    parts = {name: scale * seconds for name, seconds in PARTS.items()}
    waiting = iter([0.0, waited] * ROUNDS)
    asked = driver or Driver(FakeCuda())
    watch = Watch(2, 0, 8, lambda: next(waiting), asked, cuda.now)
    sampler = Sampler(
        units=[
            Launching(cuda, parts),
            Launching(cuda, {"step": scale * step}, block="train"),
        ],
        clock=WallClock(cuda.synchronize, cuda.now),
        device_clock=lambda head_start: EventClock(head_start, cuda),
        between=watch.between,
        host_time=cuda.now,
    )
    sampler.warm_up()
    visits = []
    for number in range(ROUNDS):
        watch.begin()
        asked.visiting = True
        visit = sampler.visit()
        asked.visiting = False
        watched = watch.end(1.0)
        visits.append(
            {
                "round": number,
                **{f"{name}_seconds": all_ for name, all_ in visit.samples.items()},
                "inference_seconds": [],
                "device_seconds": visit.device,
                "flags": [each.flag for each in watched.conditions],
                "waiting_share": watched.waiting_share,
            }
        )
    return SpeedRow(gpu_cell().parameters, "ok", visits)


WHOLE = sum(PARTS.values())


def test_a_busy_gpu_that_adds_up_is_ok() -> None:
    row = row_of(FakeCuda(), WHOLE)
    assert row.verdict == "ok"
    assert row.device_share == pytest.approx(1.0)


def test_a_gpu_that_waits_for_its_host_is_host_bound() -> None:
    # A launch of 6 ms before the step's 14 ms: the device works 70 % of the time.
    row = row_of(FakeCuda(launch_seconds=0.006), WHOLE + 3 * 0.006)
    assert "host-bound" not in row.flags
    row = row_of(FakeCuda(launch_seconds=0.006), WHOLE)
    assert row.device_share == pytest.approx(0.7)
    assert "host-bound" in row.flags


def test_a_gpu_that_is_held_back_is_throttled() -> None:
    driver = Driver(FakeCuda(), resting=["sw_thermal_slowdown"])
    assert row_of(FakeCuda(), WHOLE, driver).flags == ["throttled"]


def test_a_gpu_that_is_held_back_only_while_it_works_is_throttled() -> None:
    cuda = FakeCuda()
    driver = Driver(cuda, amid=["hw_slowdown"])
    # Visits long enough to look again between their units.
    assert row_of(cuda, WHOLE, driver, scale=50.0).flags == ["throttled"]
    assert driver.asked[False] == 2 * ROUNDS
    assert driver.asked[True] >= ROUNDS - 1


def test_asking_the_driver_is_never_part_of_a_time() -> None:
    cuda = FakeCuda()
    asking, silent = row_of(cuda, WHOLE, Driver(cuda)), row_of(FakeCuda(), WHOLE)
    for phase in (*PARTS, "step"):
        found, expected = asking.phase(phase), silent.phase(phase)
        assert found is not None
        assert expected is not None
        assert found.high == pytest.approx(expected.high)
    assert asking.device_share == pytest.approx(1.0)


def test_a_step_that_does_more_than_its_parts_fails_the_closure() -> None:
    row = row_of(FakeCuda(), 1.2 * WHOLE)
    assert row.flags == ["closure-failed"]


def test_a_host_that_is_slow_between_the_parts_does_not_fail_the_closure() -> None:
    # Each of four parts waits for a launch of 6 ms, the whole step for one.
    row = row_of(FakeCuda(launch_seconds=0.006), WHOLE)
    assert row.closure is not None
    assert row.closure.high == pytest.approx(1.0)
    assert "closure-failed" not in row.flags


def test_threads_that_wait_beside_a_gpu_are_oversubscribed() -> None:
    assert row_of(FakeCuda(), WHOLE, waited=0.5).flags == ["oversubscribed"]
    assert row_of(FakeCuda(), WHOLE, waited=0.1).flags == []


def test_what_cuda_raises_without_memory_is_a_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setitem(speed.MEASURES, TIME, full)
    (record,) = speed.run(gpu_cell(), Ranks())
    assert isinstance(record, OutOfMemory)
    assert record.message.startswith("CUDA out of memory")
    assert devices.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))


def test_a_row_gives_cached_memory_back_between_visits() -> None:
    cuda = FakeCuda()
    Device("cuda", 0, cuda).release()
    assert cuda.emptied == 1
