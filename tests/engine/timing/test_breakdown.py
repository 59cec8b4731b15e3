from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from resnet_bench.engine.devices import Device
from resnet_bench.engine.models.resnets import meta_variant
from resnet_bench.engine.models.work import work_of
from resnet_bench.engine.timing.breakdown import (
    CUTS,
    Part,
    PartedStep,
    layers_of,
    stages_of,
    work_of_parts,
)
from resnet_bench.engine.timing.clock import WallClock
from resnet_bench.engine.timing.phases import (
    Batch,
    Setting,
    Training,
    WholeStep,
    make_batch,
)
from resnet_bench.errors import UsageError
from tests.engine.fake_time import FakeTime
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


@pytest.mark.parametrize("shortcut", ["residual", "plain"])
@pytest.mark.parametrize("detail", CUTS)
def test_work_of_the_parts_adds_up_to_that_of_the_network(
    shortcut: str, detail: str
) -> None:
    model = meta_variant(18, shortcut)
    parts = work_of_parts(CUTS[detail](model, "ResNet-18"), 64).values()
    whole = work_of(model, 64)
    assert sum(part.multiply_adds for part in parts) == whole.multiply_adds
    assert sum(part.activations for part in parts) == whole.activations
    assert sum(part.parameters for part in parts) == whole.parameters


def test_parts_in_turn_compute_the_gradients_of_the_whole_network() -> None:
    model, same = small_resnet(), small_resnet()
    parted(model).call(WallClock())
    parted(same).work()
    for mine, theirs in zip(model.parameters(), same.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_every_part_has_a_time_forward_and_backward() -> None:
    unit = parted(small_resnet())
    assert len(unit.call(WallClock())) == len(unit.phases) == 6 + 1 + 6 + 1
    assert unit.phases[0] == "stem:forward"
    assert unit.phases[-2] == "stem:backward"


def test_images_need_no_gradient_in_parts_as_in_the_whole() -> None:
    unit = parted(small_resnet())
    WholeStep(unit.training).work()
    unit.call(WallClock())
    assert unit.training.batch.images.grad is None


class Costly(nn.Module):
    """A layer that takes a known time forward and another backward."""

    def __init__(self, time: FakeTime, forward: float, backward: float) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)
        self.time, self.costs = time, (forward, backward)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        forward, backward = self.costs
        self.time.seconds += forward
        answer: torch.Tensor = self.layer(inputs)

        def spend(_: torch.Tensor) -> None:
            self.time.seconds += backward

        # Runs when the gradient of the answer is there: the layer's turn begins.
        answer.register_hook(spend)  # type: ignore[no-untyped-call]
        return answer + 0.0


def test_every_part_is_charged_what_it_takes_and_nothing_else() -> None:
    time = FakeTime()
    costs = {"a": (1.0, 2.0), "b": (3.0, 5.0), "c": (7.0, 11.0)}
    pieces = [Part(name, Costly(time, *cost)) for name, cost in costs.items()]
    model = nn.Sequential(nn.Flatten(1), *(piece.module for piece in pieces))
    batch = Batch(images=torch.ones(2, 5), targets=torch.zeros(2, dtype=torch.long))
    unit = PartedStep(Training(model, batch, SETTING), pieces)
    seconds = dict(zip(unit.phases, unit.call(time.clock), strict=True))
    for name, (forward, backward) in costs.items():
        assert seconds[f"{name}:forward"] == pytest.approx(forward)
        assert seconds[f"{name}:backward"] == pytest.approx(backward)


def test_parts_without_weights_before_the_first_layer_have_no_backward() -> None:
    model = nn.Sequential(nn.Flatten(1), nn.Identity(), nn.Linear(3 * 32 * 32, 5))
    unit = parted(model)
    seconds = dict(zip(unit.phases, unit.call(WallClock()), strict=True))
    assert seconds["0:backward"] < seconds["2:backward"]


def test_a_part_may_change_its_input_in_place() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(3600, 5)
    )
    unit = parted(model)
    assert len(unit.call(WallClock())) == len(unit.phases)
