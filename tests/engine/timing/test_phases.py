from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from resnet_bench.engine.devices import Device
from resnet_bench.engine.timing.clock import WallClock
from resnet_bench.engine.timing.phases import (
    Inference,
    MarkedStep,
    Setting,
    SplitStep,
    Training,
    WholeStep,
    make_batch,
    place,
)
from tests.engine.fake_time import EventLog
from tests.engine.tiny_networks import Counting, tiny

SETTING = Setting(Device("cpu"), batch_size=4, image_size=8)


def training_of(model: torch.nn.Module, setting: Setting = SETTING) -> Training:
    return Training(place(model, setting), make_batch(setting, classes=5), setting)


def note_calls(training: Training, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write down every part of a step in the order in which it is done."""
    events: list[str] = []
    for name in ("forget", "forward", "loss", "backward", "update"):
        original = getattr(training, name)

        def noted(*arguments: Any, name: str = name, original: Any = original) -> Any:
            events.append(name)
            return original(*arguments)

        monkeypatch.setattr(training, name, noted)
    return events


def test_images_are_normal_numbers_and_never_zeros() -> None:
    images = make_batch(Setting(Device("cpu"), 8, 32), classes=5).images
    assert images.std().item() == pytest.approx(1.0, abs=0.05)
    assert images.mean().item() == pytest.approx(0.0, abs=0.05)


def test_inputs_depend_on_the_seed_alone() -> None:
    first, again, other = (
        make_batch(Setting(Device("cpu"), 4, 8, seed=seed), classes=5)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.images, other.images)


def test_images_have_the_format_and_the_order_asked_for() -> None:
    setting = Setting(Device("cpu"), 4, 8, dtype=torch.bfloat16, channels_last=True)
    images = make_batch(setting, classes=5).images
    assert images.dtype == torch.bfloat16
    assert images.is_contiguous(memory_format=torch.channels_last)
    weight = place(tiny(), setting).get_parameter("0.weight")
    assert weight.dtype == torch.bfloat16
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_autocast_keeps_weights_and_images_in_float32() -> None:
    setting = Setting(Device("cpu"), 4, 8, dtype=torch.bfloat16, autocast=True)
    training = training_of(tiny(), setting)
    assert training.batch.images.dtype == torch.float32
    assert training.model.get_parameter("0.weight").dtype == torch.float32
    with setting.context():
        assert training.forward().dtype == torch.bfloat16


def test_a_step_calls_the_model_exactly_once() -> None:
    model = Counting()
    training = training_of(model)
    SplitStep(training).call(WallClock())
    assert model.calls == [(True, True)]
    WholeStep(training).call(WallClock())
    assert model.calls == [(True, True)] * 2


def test_marks_lie_between_the_parts_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    training = training_of(tiny())
    events = note_calls(training, monkeypatch)
    seconds = SplitStep(training).call(EventLog(events))
    assert " ".join(events) == "forget | forward | loss | backward | update |"
    assert len(seconds) == len(SplitStep.phases)


def test_a_whole_step_is_timed_without_marks_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = training_of(tiny())
    events = note_calls(training, monkeypatch)
    WholeStep(training).call(EventLog(events))
    assert " ".join(events) == "| forget forward loss backward update |"


def test_a_marked_step_is_timed_as_a_whole_and_in_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = training_of(tiny())
    events = note_calls(training, monkeypatch)
    MarkedStep(training).call(EventLog(events))
    assert " ".join(events) == "| forget | forward | loss | backward | update | |"
    # A clock that ticks once a mark: seven marks, four of them between the parts.
    ticking = WallClock(now=itertools.count().__next__)
    seconds = MarkedStep(training).call(ticking)
    parts = {"forward": 1, "loss": 1, "backward": 1, "optimizer": 1}
    assert dict(zip(MarkedStep.phases, seconds, strict=True)) == parts | {"step": 6}


def test_no_random_number_is_drawn_while_a_step_is_timed() -> None:
    training = training_of(tiny())
    before = torch.get_rng_state()
    SplitStep(training).call(WallClock())
    WholeStep(training).call(WallClock())
    assert torch.equal(torch.get_rng_state(), before)


def test_backward_starts_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    training = training_of(tiny())
    unit = SplitStep(training)
    unit.call(WallClock())
    original = training.backward

    def backward(loss: torch.Tensor) -> None:
        assert all(each.grad is None for each in training.model.parameters())
        original(loss)

    monkeypatch.setattr(training, "backward", backward)
    unit.call(WallClock())


@pytest.mark.parametrize("unit", [SplitStep, WholeStep, MarkedStep])
def test_a_step_changes_every_weight(
    unit: type[SplitStep] | type[WholeStep] | type[MarkedStep],
) -> None:
    training = training_of(tiny())
    before = [each.clone() for each in training.model.parameters()]
    unit(training).work()
    after = list(training.model.parameters())
    # The bias before a batch norm has no gradient but rounding errors.
    changed = [
        not torch.equal(a, b) for a, b in zip(before, after, strict=True) if a.ndim > 1
    ]
    assert all(changed)


def test_inference_runs_in_evaluation_mode_without_gradients() -> None:
    model = Counting()
    inference = Inference(model, make_batch(SETTING, 5), SETTING)
    inference.work()
    assert len(inference.call(WallClock())) == 1
    assert model.calls == [(False, False)] * 2


def test_training_after_inference_is_in_training_mode_again() -> None:
    model = Counting()
    training = training_of(model)
    Inference(model, training.batch, SETTING).work()
    WholeStep(training).work()
    assert model.calls[-1] == (True, True)


def test_inference_mode_is_not_used_where_the_model_is_compiled() -> None:
    seen: list[bool] = []

    class Asking(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(torch.is_inference_mode_enabled())
            return images

    for compiled in (False, True):
        setting = Setting(Device("cpu"), 4, 8, compiled=compiled)
        Inference(Asking(), make_batch(setting, 5), setting).work()
    assert seen == [True, False]


def test_the_model_is_compiled_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[tuple[torch.nn.Module, str]] = []

    def compile_(model: torch.nn.Module, mode: str) -> torch.nn.Module:
        compiled.append((model, mode))
        return model

    monkeypatch.setattr(torch, "compile", compile_)
    place(tiny(), SETTING)
    assert compiled == []
    model = place(tiny(), Setting(Device("cpu"), 4, 8, compiled=True))
    assert compiled == [(model, "default")]
    graphs = Setting(Device("cpu"), 4, 8, compiled=True, cuda_graphs=True)
    place(tiny(), graphs)
    assert compiled[-1][1] == "reduce-overhead"


def test_gradients_are_scaled_only_for_float16_under_autocast() -> None:
    for dtype, autocast, scaled in [
        (torch.float16, True, True),
        (torch.bfloat16, True, False),
        (torch.float16, False, False),
    ]:
        setting = Setting(Device("cpu"), 4, 8, dtype=dtype, autocast=autocast)
        scaler = training_of(tiny(), setting).scaler
        assert scaler.is_enabled() is scaled


def test_many_steps_on_one_batch_stay_finite() -> None:
    training = training_of(tiny())
    for _ in range(50):
        WholeStep(training).work()
    assert all(each.isfinite().all() for each in training.model.parameters())
