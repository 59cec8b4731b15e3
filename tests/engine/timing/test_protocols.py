"""Each protocol makes the calls that the other project makes, and marks as it does."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.benchmark import Timer

from resnet_bench.engine.devices import Device
from resnet_bench.engine.timing.clock import WallClock
from resnet_bench.engine.timing.phases import Setting
from resnet_bench.engine.timing.protocols import (
    TIMM_CALLS,
    TIMM_WARMUP,
    ProtocolSampler,
    Taken,
    TimmStep,
    timm,
    torch_timer,
)
from resnet_bench.engine.timing.workload import Workload, make_workload
from tests.engine.fake_time import EventLog
from tests.engine.tiny_networks import Counting, tiny

SETTING = Setting(Device("cpu"), batch_size=4, image_size=8)


def workload_of(
    model: nn.Module, *, trains: bool = True, infers: bool = True
) -> Workload:
    return make_workload(model, SETTING, trains=trains, infers=infers)


def events_of(monkeypatch: pytest.MonkeyPatch, *, split: bool) -> list[str]:
    log = EventLog()
    training = workload_of(tiny(), infers=False).trained
    parts: list[tuple[Any, str]] = [
        (training, "forget"),
        (training, "forward"),
        (nn.functional, "cross_entropy"),
        (torch.Tensor, "random_"),
        (torch.Tensor, "backward"),
        (training.optimizer, "step"),
    ]
    for owner, name in parts:
        original = getattr(owner, name)

        def noted(*given: Any, name: str = name, original: Any = original) -> Any:
            log.events.append(name)
            return original(*given)

        monkeypatch.setattr(owner, name, noted)
    TimmStep(training, split=split).call(log)
    return log.events


def test_timms_step_forgets_outside_and_makes_targets_inside_of_backward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert events_of(monkeypatch, split=True) == [
        *["forget", "|", "forward", "|"],
        *["random_", "cross_entropy", "backward", "|", "step", "|"],
    ]


def test_timms_whole_step_has_no_marks_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert events_of(monkeypatch, split=False) == [
        *["forget", "|", "forward", "random_", "cross_entropy", "backward", "step"],
        "|",
    ]


def test_timm_makes_forty_calls_after_ten_and_takes_the_loop_for_its_rate() -> None:
    model = Counting()
    taken = timm(workload_of(model, trains=False), WallClock())
    assert len(taken.warmup["inference"]) == TIMM_WARMUP == 10
    assert len(taken.samples["inference"]) == TIMM_CALLS == 40
    assert model.calls == [(False, False)] * 50
    (rate,) = taken.rates["inference"]
    assert rate <= TIMM_CALLS / sum(taken.samples["inference"])


def test_timm_times_whole_and_split_steps() -> None:
    taken = timm(workload_of(tiny(), infers=False), WallClock())
    assert set(taken.samples) == {"step", "forward", "backward", "optimizer"}
    assert all(len(samples) == TIMM_CALLS for samples in taken.samples.values())
    assert set(taken.rates) == {"train"}


def test_timm_trains_with_nesterov_momentum() -> None:
    workload = workload_of(tiny(), infers=False)
    timm(workload, WallClock())
    (group,) = workload.trained.optimizer.param_groups
    assert (group["nesterov"], group["momentum"], group["lr"]) == (True, 0.9, 1e-4)


def test_timer_calls_a_training_forward_and_tells_no_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brief = partialmethod(Timer.blocked_autorange, min_run_time=0.001)
    monkeypatch.setattr(Timer, "blocked_autorange", brief)
    model = Counting()
    taken = torch_timer(workload_of(model), WallClock())
    assert set(taken.samples) == {"forward", "backward", "step", "inference"}
    assert taken.rates == taken.warmup == {}
    assert (True, True) in model.calls
    assert (False, False) in model.calls


def test_a_protocol_is_followed_in_one_visit() -> None:
    workload = workload_of(tiny(), trains=False)
    taken = Taken({"inference": [2.0] * 40}, {"inference": [2.0] * 10})
    sampler = ProtocolSampler(
        units=workload.units,
        clock=WallClock(),
        take=lambda clock: taken,
    )
    sampler.warm_up()
    visit = sampler.visit()
    assert visit.samples == taken.samples
    assert sampler.warmup == taken.warmup
    assert sampler.once
