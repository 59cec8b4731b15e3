from __future__ import annotations

from typing import Any

import pytest
import torch

from resnet_bench.engine.timing.clock import CYCLES_PER_SECOND, EventClock, WallClock
from tests.engine.fake_cuda import FakeCuda


def test_wall_clock_of_the_cpu_reads_time_without_synchronising(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("no accelerator here")

    monkeypatch.setattr(torch.accelerator, "synchronize", refuse)
    clock = WallClock(now=iter([1.0, 4.0]).__next__)
    assert clock.between([clock.begin(), clock.mark()]) == [3.0]
    assert not clock.asynchronous


def test_wall_clock_of_a_gpu_waits_for_it_before_every_reading() -> None:
    cuda = FakeCuda()
    clock = WallClock(cuda.synchronize, cuda.now)
    begin = clock.begin()
    cuda.launch(2.0)
    assert clock.between([begin, clock.mark()]) == [pytest.approx(2.0)]
    assert clock.asynchronous


def test_event_clock_counts_only_what_the_gpu_does() -> None:
    cuda = FakeCuda(launch_seconds=0.3)
    clock = EventClock(head_start_seconds=1.0, cuda=cuda)
    marks = [clock.begin()]
    for _ in range(3):
        cuda.launch(0.1)
    marks.append(clock.mark())
    assert clock.between(marks) == [pytest.approx(0.3)]


def test_event_clock_without_head_start_counts_waiting_for_the_host() -> None:
    cuda = FakeCuda(launch_seconds=0.3)
    clock = EventClock(cuda=cuda)
    marks = [clock.begin()]
    cuda.launch(0.1)
    marks.append(clock.mark())
    assert clock.between(marks) == [pytest.approx(0.4)]


def test_event_clock_asks_for_a_delay_in_cycles() -> None:
    cuda = FakeCuda()
    EventClock(head_start_seconds=0.5, cuda=cuda).begin()
    assert cuda.slept_cycles == [CYCLES_PER_SECOND // 2]
