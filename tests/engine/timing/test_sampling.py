from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from resnet_bench.engine.timing.clock import CYCLES_PER_SECOND, EventClock, WallClock
from resnet_bench.engine.timing.sampling import (
    DROPPED_AT_MOST,
    VISIT_SECONDS,
    Sampler,
    Visit,
)
from tests.engine.fake_cuda import FakeCuda
from tests.engine.fake_time import FakeTime, FakeUnit


def always(*seconds: float) -> Callable[[int], Sequence[float]]:
    return lambda _: seconds


def sampler_of(time: FakeTime, *units: Any, **options: Any) -> Sampler:
    return Sampler(units=units, clock=time.clock, **options)


def visited(sampler: Sampler) -> Visit:
    sampler.warm_up()
    return sampler.visit()


def test_every_unit_is_warmed_up_by_three_calls_that_are_no_samples() -> None:
    time = FakeTime()
    unit = FakeUnit(time, lambda call: (5.0 if call < 1 else 0.5,))
    sampler = sampler_of(time, unit)
    visit = visited(sampler)
    assert sampler.warmup["step"][0] == 5.0
    assert len(sampler.warmup["step"]) == 1  # it took all the time there is
    quick = sampler_of(time, FakeUnit(time, always(0.5)))
    quick.warm_up()
    assert quick.warmup["step"] == pytest.approx([0.5] * 3)
    assert visit.samples["step"] == [0.5]


def test_a_visit_is_one_pass_in_which_the_units_take_turns() -> None:
    time = FakeTime()
    log: list[str] = []
    units = [
        FakeUnit(time, always(1.0), phases=(name,), log=log)
        for name in ("step", "inference")
    ]
    sampler = sampler_of(time, *units)
    sampler.warm_up()
    log.clear()
    visit = sampler.visit()
    assert log == ["step", "inference"]
    assert visit.samples == {"step": [1.0], "inference": [1.0]}
    assert visit.seconds == pytest.approx(2.0)


def test_short_calls_are_repeated_for_a_tenth_of_a_second_after_an_unseen_one() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.01))
    visit = visited(sampler_of(time, unit))
    assert 10 <= len(visit.samples["step"]) <= 11
    assert unit.untimed == 1


def test_the_unseen_call_is_that_of_the_shortest_unit() -> None:
    time = FakeTime()
    step = FakeUnit(time, always(0.15))
    inference = FakeUnit(time, always(0.05), phases=("inference",))
    visited(sampler_of(time, step, inference))
    assert (step.untimed, inference.untimed) == (0, 1)


def test_a_cell_that_is_visited_again_at_once_has_no_unseen_call() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.05))
    sampler = sampler_of(time, unit)
    visited(sampler)
    sampler.visit()
    assert unit.untimed == 1
    time.seconds += VISIT_SECONDS
    sampler.visit()
    assert unit.untimed == 2


def test_long_calls_have_no_unseen_one() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.5))
    visited(sampler_of(time, unit))
    assert unit.untimed == 0


def test_on_the_cpu_no_work_is_done_twice_for_throughput() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.5), block="train")
    assert visited(sampler_of(time, unit)).rates == {}
    assert unit.timed == 3 + 1


def test_ranks_see_the_times_of_the_slowest_of_them() -> None:
    time = FakeTime()
    sampler = sampler_of(
        time, FakeUnit(time, always(1.0)), agree=lambda seconds: 2 * seconds
    )
    assert visited(sampler).samples["step"] == [2.0]


def stopping(*visits: int) -> Callable[[], int]:
    """Return a count of stops that rises within each visit so named, from 0."""
    asked = iter(range(1000))
    counts = [0]

    def stops() -> int:
        visit, end = divmod(next(asked), 2)
        counts[0] += end == 1 and visit in visits
        return counts[0]

    return stops


def test_a_visit_in_which_the_process_was_stopped_is_dropped_and_counted() -> None:
    time = FakeTime()
    unit = FakeUnit(time, lambda call: (9.0 if call in (3, 4) else 0.5,))
    tries: list[None] = []
    sampler = sampler_of(
        time, unit, stops=stopping(0, 1), before=lambda: tries.append(None)
    )
    visit = visited(sampler)
    assert visit.samples["step"] == [0.5]
    assert (visit.dropped, visit.stopped, sampler.rounds) == (2, False, 1)
    assert len(tries) == 3
    after = sampler.visit()
    assert (after.dropped, after.flags) == (0, ())


def test_streams_are_part_of_the_visit_that_is_watched() -> None:
    """They take its time, and a stop meanwhile drops it."""
    time, stopped = FakeTime(), [0]

    def streams() -> float:
        time.seconds += 2.0
        stopped[0] += len(rates) == 0
        rates.append(7.0 + len(rates))
        return rates[-1]

    rates: list[float] = []
    sampler = sampler_of(
        time,
        FakeUnit(time, always(0.5)),
        stops=lambda: stopped[0],
        streams=streams,
    )
    visit = visited(sampler)
    assert visit.rates["streams"] == [8.0]
    assert (visit.dropped, visit.stopped) == (1, False)
    assert visit.seconds == pytest.approx(2.5)


def test_a_process_that_is_stopped_all_the_time_is_said_to_be() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.5))
    visit = visited(sampler_of(time, unit, stops=stopping(*range(100))))
    assert visit.samples["step"] == [0.5]
    assert visit.flags == ("stopped",)
    assert visit.dropped == DROPPED_AT_MOST


def test_ranks_drop_a_visit_together() -> None:
    time = FakeTime()
    answers: list[float] = []

    def agree(value: float) -> float:
        """Another rank was stopped in the first visit."""
        answers.append(value)
        return 1.0 if value == 0.0 and answers.count(0.0) == 1 else value

    visit = visited(sampler_of(time, FakeUnit(time, always(0.5)), agree=agree))
    assert visit.dropped == 1


class FakeGpuUnit:
    """Launches work of 4 ms."""

    phases = ("step",)
    block = "train"

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def call(self, clock: Any) -> Sequence[float]:
        marks = [clock.begin()]
        self.work()
        marks.append(clock.mark())
        seconds: Sequence[float] = clock.between(marks)
        return seconds

    def work(self) -> None:
        self.cuda.launch(0.004)


def gpu_visit(
    launch_seconds: float, cuda: FakeCuda | None = None
) -> tuple[Sampler, Any]:
    cuda = cuda or FakeCuda()
    cuda.launch_seconds = launch_seconds
    sampler = Sampler(
        units=[FakeGpuUnit(cuda)],
        clock=WallClock(cuda.synchronize, cuda.now),
        device_clock=lambda head_start: EventClock(head_start, cuda),
        host_time=cuda.now,
    )
    sampler.warm_up()
    return sampler, sampler.visit()


def test_device_time_of_a_host_bound_row_is_shorter_than_its_wall_time() -> None:
    _, visit = gpu_visit(launch_seconds=0.006)
    assert visit.samples["step"][0] == pytest.approx(0.01)
    assert visit.device["step"] == [pytest.approx(0.004)]


def test_the_gpu_is_kept_busy_for_the_hosts_time_and_not_for_a_whole_call() -> None:
    cuda = FakeCuda()
    gpu_visit(0.001, cuda)
    # A call takes 5 ms, of which the host launches for 1 ms.
    assert cuda.slept_cycles == [pytest.approx(0.001 * CYCLES_PER_SECOND, abs=2)]


def test_a_gpu_that_rested_is_led_in_however_long_its_calls_are() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.5))
    sampler = Sampler([unit], WallClock(lambda: None, time.now))
    sampler.warm_up()
    sampler.visit()
    assert unit.untimed == 1


def test_throughput_of_a_gpu_comes_from_calls_that_nobody_waits_for() -> None:
    _, visit = gpu_visit(launch_seconds=0.003)
    # One by one a call takes 7 ms; in a row the launches hide behind the work.
    assert visit.samples["step"][0] == pytest.approx(0.007)
    assert visit.rates["train"][0] > 1.5 / 0.007
