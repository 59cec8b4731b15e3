from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from resnet_bench.engine.timing.clock import EventClock, WallClock
from resnet_bench.engine.timing.sampling import (
    BLOCK_AT_MOST,
    ROUNDS_AT_LEAST,
    WARMUP_AT_MOST,
    Sampler,
    Series,
    settled,
)
from tests.engine.fake_cuda import FakeCuda
from tests.engine.fake_time import FakeTime, FakeUnit


def always(*seconds: float) -> Callable[[int], Sequence[float]]:
    return lambda _: seconds


def sampler_of(time: FakeTime, *units: Any, **options: Any) -> Sampler:
    settings = {
        "clock": time.clock,
        "max_seconds": 100.0,
        "precision": 0.02,
        "decisive": ("step", "inference"),
    }
    return Sampler(units=units, **{**settings, **options})


def test_calls_have_settled_when_the_last_two_groups_of_three_agree() -> None:
    assert settled([9.0, 1.0, 1.0, 1.0, 1.04, 1.04, 1.04]) is True
    assert settled([1.0, 1.0, 1.0, 1.06, 1.06, 1.06]) is False


def test_five_calls_are_too_few_to_tell_whether_they_settled() -> None:
    assert settled([1.0] * 5) is None


def test_warm_up_of_a_steady_unit_ends_after_six_calls() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.01))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    assert unit.timed == 6
    assert sampler.converged is True


def test_warm_up_goes_on_while_the_times_still_fall() -> None:
    time = FakeTime()
    unit = FakeUnit(time, lambda call: (0.8 ** min(call, 8),))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    assert 10 <= unit.timed < WARMUP_AT_MOST
    assert sampler.converged is True


def test_warm_up_gives_up_after_twenty_calls_and_says_so() -> None:
    time = FakeTime()
    unit = FakeUnit(time, lambda call: (0.9**call * 0.01,))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    assert unit.timed == WARMUP_AT_MOST
    sampler.visit()
    assert sampler.converged is False
    assert sampler.unsettled == ("step",)


def test_a_slow_unit_is_warmed_up_three_times_and_judged_by_its_first_samples() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(20.0))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    assert unit.timed == 3
    assert sampler.converged is None
    for _ in range(6):
        assert sampler.converged is None
        sampler.visit()
    assert sampler.converged is True


def test_a_slow_unit_that_is_still_cold_when_sampled_is_said_to_be() -> None:
    time = FakeTime()
    unit = FakeUnit(time, lambda call: (20.0 if call < 5 else 15.0,))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    for _ in range(6):
        sampler.visit()
    assert sampler.converged is False


def test_cold_calls_that_the_warm_up_took_do_not_count_against_the_samples() -> None:
    time = FakeTime()
    unit = FakeUnit(time, lambda call: (20.0 if call < 3 else 15.0,))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    for _ in range(6):
        sampler.visit()
    assert sampler.converged is True


def test_samples_hold_no_call_of_the_warm_up() -> None:
    time = FakeTime()
    unit = FakeUnit(time, lambda call: (5.0 if call < 2 else 0.5,))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    sampler.visit()
    assert max(sampler.series["step"].samples) == pytest.approx(0.5)
    assert max(sampler.series["step"].warmup) == pytest.approx(5.0)


def test_a_unit_made_of_parts_is_warm_once_the_parts_are() -> None:
    time = FakeTime()
    split = FakeUnit(time, always(0.3, 0.7), phases=("forward", "backward"))
    whole = FakeUnit(time, always(1.0), parts=("forward", "backward"))
    sampler = sampler_of(time, split, whole)
    sampler.warm_up()
    assert whole.timed == 0
    assert sampler.series["step"].warmup == pytest.approx([1.0] * 6)


def test_first_visit_is_one_turn_and_later_ones_fill_their_share_of_the_time() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(1.0))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    assert len(sampler.visit().samples["step"]) == 1
    assert len(sampler.visit().samples["step"]) == 10


def test_units_take_turns_within_a_visit() -> None:
    time = FakeTime()
    log: list[str] = []
    units = [
        FakeUnit(time, always(1.0), phases=(name,), log=log)
        for name in ("step", "inference")
    ]
    sampler = sampler_of(time, *units)
    sampler.warm_up()
    sampler.visit()
    log.clear()
    sampler.visit()
    assert log[:4] == ["step", "inference", "step", "inference"]


def test_short_calls_are_sampled_in_blocks_after_one_unseen_call() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.001), block="train")
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    visit = sampler.visit()
    assert len(visit.samples["step"]) == BLOCK_AT_MOST
    assert unit.untimed == 1
    assert visit.rates == {"train": [pytest.approx(1000.0)]}


def test_long_calls_are_sampled_one_by_one_without_an_unseen_call() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.5), block="train")
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    visit = sampler.visit()
    assert unit.untimed == 0
    assert visit.rates == {"train": [pytest.approx(2.0)]}


def test_sampling_stops_once_every_decisive_phase_is_precise() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(0.05))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    while not sampler.finished:
        sampler.visit()
    assert sampler.precise
    assert sampler.rounds == ROUNDS_AT_LEAST
    assert sampler.used_seconds < sampler.max_seconds


def test_sampling_stops_when_the_time_is_up() -> None:
    time = FakeTime()
    unit = FakeUnit(time, lambda call: (1.0 + call % 2,))
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    while not sampler.finished:
        sampler.visit()
    assert not sampler.precise
    assert sampler.used_seconds == pytest.approx(100.0, abs=15.0)


def test_a_noisy_phase_that_decides_nothing_does_not_prolong_sampling() -> None:
    time = FakeTime()
    unit = FakeUnit(
        time, lambda call: (0.5, 0.001 * (1 + call % 3)), phases=("step", "loss")
    )
    sampler = sampler_of(time, unit)
    sampler.warm_up()
    while not sampler.finished:
        sampler.visit()
    assert sampler.rounds == ROUNDS_AT_LEAST


def test_time_between_visits_is_not_counted() -> None:
    time = FakeTime()
    sampler = sampler_of(time, FakeUnit(time, always(1.0)))
    sampler.warm_up()
    used = sampler.used_seconds
    time.seconds += 1000.0
    sampler.visit()
    assert sampler.used_seconds - used == pytest.approx(1.0)


def test_five_samples_are_never_precise() -> None:
    assert not Series(samples=[1.0] * 5).within(0.5)
    assert Series(samples=[1.0] * 6).within(0.5)


def test_ranks_decide_on_the_slowest_of_them() -> None:
    time = FakeTime()
    unit = FakeUnit(time, always(1.0))
    sampler = sampler_of(time, unit, agree=lambda seconds: 2 * seconds)
    sampler.warm_up()
    assert sampler.visit().samples["step"] == [2.0]


class FakeGpuUnit:
    """Launches work of 4 ms."""

    phases = ("step",)
    parts = ()
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


def gpu_visit(launch_seconds: float) -> tuple[Sampler, Any]:
    cuda = FakeCuda(launch_seconds=launch_seconds)
    sampler = Sampler(
        units=[FakeGpuUnit(cuda)],
        clock=WallClock(cuda.synchronize, cuda.now),
        max_seconds=10.0,
        precision=0.02,
        decisive=("step",),
        device_clock=lambda head_start: EventClock(head_start, cuda),
    )
    sampler.warm_up()
    return sampler, sampler.visit()


def test_device_time_of_a_host_bound_row_is_shorter_than_its_wall_time() -> None:
    _, visit = gpu_visit(launch_seconds=0.006)
    assert visit.samples["step"][0] == pytest.approx(0.01)
    assert visit.device["step"] == [pytest.approx(0.004)]


def test_throughput_of_a_gpu_comes_from_calls_that_nobody_waits_for() -> None:
    _, visit = gpu_visit(launch_seconds=0.003)
    # One by one a call takes 7 ms; in a row the launches hide behind the work.
    assert visit.samples["step"][0] == pytest.approx(0.007)
    assert visit.rates["train"][0] > 1.5 / 0.007
