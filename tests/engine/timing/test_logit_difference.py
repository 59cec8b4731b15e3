from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from resnet_bench.engine.devices import Device
from resnet_bench.engine.timing.logit_difference import (
    IMAGES,
    Reference,
    difference,
    make_reference,
)
from resnet_bench.engine.timing.phases import Inference, Setting, make_batch, place
from tests.engine.tiny_networks import tiny

SETTING = Setting(Device("cpu"), batch_size=5, image_size=8)


def inference_of(model: nn.Module, setting: Setting) -> Inference:
    placed = place(copy.deepcopy(model), setting)
    return Inference(placed, make_batch(setting, classes=5), setting)


def test_the_same_computation_differs_by_nothing() -> None:
    model = tiny()
    reference = make_reference(model, SETTING)
    found = difference(reference, inference_of(model, SETTING))
    assert found.logit_error == pytest.approx(0.0, abs=1e-6)
    assert found.top1_agreement == 1.0


@pytest.mark.parametrize("autocast", [True, False])
def test_bfloat16_differs_a_little(autocast: bool) -> None:
    model = tiny()
    reference = make_reference(model, SETTING)
    setting = replace(SETTING, dtype=torch.bfloat16, autocast=autocast)
    found = difference(reference, inference_of(model, setting))
    assert 1e-5 < found.logit_error < 0.1


def test_at_least_thirty_two_images_are_compared() -> None:
    reference = make_reference(tiny(), SETTING)
    assert len(reference.logits) == 35 >= IMAGES
    assert all(len(images) == SETTING.batch_size for images in reference.batches)


def test_of_a_large_batch_only_thirty_two_images_are_computed_on_the_cpu() -> None:
    model = tiny()
    setting = replace(SETTING, batch_size=100)
    reference = make_reference(model, setting)
    assert len(reference.logits) == IMAGES
    inference = inference_of(model, setting)
    sizes: list[int] = []
    inference.model.register_forward_hook(lambda *each: sizes.append(len(each[2])))
    assert difference(reference, inference).logit_error < 1e-5
    # The faster way sees the batch that it was made for.
    assert sizes == [100]


def test_batches_differ_from_each_other_and_from_the_timed_one() -> None:
    reference = make_reference(tiny(), SETTING)
    timed = make_batch(SETTING, classes=5).images
    assert not torch.equal(reference.batches[0], reference.batches[1])
    assert not torch.equal(reference.batches[0], timed)


def test_batch_norm_is_settled_on_the_images_and_works_on_as_before() -> None:
    model = tiny()
    layer = model.get_submodule("1")
    assert isinstance(layer, nn.BatchNorm2d)
    make_reference(model, SETTING)
    assert isinstance(layer.running_var, torch.Tensor)
    assert layer.running_var.std() > 0
    assert layer.momentum == 0.1
    assert not model.training


def test_other_first_choices_are_counted() -> None:
    model = tiny()
    reference = make_reference(model, SETTING)
    turned = Reference(reference.batches, -reference.logits)
    found = difference(turned, inference_of(model, SETTING))
    assert found.logit_error == pytest.approx(2.0, rel=1e-4)
    assert found.top1_agreement == 0.0
