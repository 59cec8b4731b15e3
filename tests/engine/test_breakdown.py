from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from resnet_bench.engine.breakdown import (
    CUTS,
    PartedStep,
    layers_of,
    stages_of,
    work_of_parts,
)
from resnet_bench.engine.clock import WallClock
from resnet_bench.engine.devices import Device
from resnet_bench.engine.models import meta_variant
from resnet_bench.engine.phases import Setting, Training, WholeStep, make_batch
from resnet_bench.engine.work import work_of
from resnet_bench.errors import UsageError
from tests.engine.tiny_networks import Counting, tiny

SETTING = Setting(Device("cpu"), batch_size=2, image_size=32)


def small_resnet() -> ResNet:
    torch.manual_seed(0)
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)


def parted(model: nn.Module) -> PartedStep:
    training = Training(model, make_batch(SETTING, classes=5), SETTING)
    return PartedStep(training, stages_of(model, "mine"))


def test_stages_of_a_resnet_are_stem_four_layers_and_fc() -> None:
    names = [part.name for part in stages_of(meta_variant(50), "ResNet-50")]
    assert names == ["stem", "layer1", "layer2", "layer3", "layer4", "fc"]


@pytest.mark.parametrize(("depth", "blocks"), [(18, 8), (50, 16), (101, 33)])
def test_layers_of_a_resnet_are_its_residual_blocks(depth: int, blocks: int) -> None:
    names = [part.name for part in layers_of(meta_variant(depth), "a ResNet")]
    assert len(names) == blocks + 2
    assert names[1] == "layer1.0"


def test_children_of_a_sequence_are_its_parts_however_fine_the_cut() -> None:
    for cut in CUTS.values():
        assert [part.name for part in cut(tiny(), "mine")] == list("012345")


def test_a_model_whose_parts_may_not_follow_one_another_is_refused() -> None:
    with pytest.raises(UsageError, match="--breakdown: mine is neither"):
        stages_of(Counting(), "mine")


@pytest.mark.parametrize("architecture", ["residual", "plain"])
@pytest.mark.parametrize("detail", CUTS)
def test_work_of_the_parts_adds_up_to_that_of_the_network(
    architecture: str, detail: str
) -> None:
    model = meta_variant(18, architecture)
    parts = work_of_parts(CUTS[detail](model, "ResNet-18"), 64).values()
    whole = work_of(model, 64)
    assert sum(part.multiply_adds for part in parts) == whole.multiply_adds
    assert sum(part.activations for part in parts) == whole.activations
    assert sum(part.parameters for part in parts) == whole.parameters


def test_parts_in_turn_compute_the_gradients_of_the_whole_network() -> None:
    model, same = small_resnet(), small_resnet()
    parted(model).call(WallClock())
    whole = parted(same)
    whole.work()
    for mine, theirs in zip(model.parameters(), same.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_every_part_has_a_time_forward_and_backward() -> None:
    unit = parted(small_resnet())
    assert len(unit.call(WallClock())) == len(unit.phases) == 6 + 1 + 6
    assert unit.phases[0] == "stem:forward"
    assert unit.phases[-1] == "stem:backward"


def test_images_need_no_gradient_in_parts_as_in_the_whole() -> None:
    unit = parted(small_resnet())
    WholeStep(unit.training).work()
    unit.call(WallClock())
    assert unit.training.batch.images.grad is None
