import pytest
import torch
from torchvision.models import get_model

from resnet_bench.engine.models.resnets import (
    freeze_all,
    head_state,
    replace_head,
    trainable_parameters,
)
from resnet_bench.engine.training.finetuning import apply_strategy
from resnet_bench.engine.training.strategies import STRATEGIES

WIDTHS = {18: 512, 34: 512, 50: 2048, 101: 2048, 152: 2048}


@pytest.mark.parametrize(("variant", "width"), WIDTHS.items())
@pytest.mark.parametrize("classes", [2, 10])
def test_freeze_trains_one_more_than_the_width_for_each_class(
    variant: int, width: int, classes: int
) -> None:
    with torch.device("meta"):
        network = get_model(f"resnet{variant}")
        replace_head(network, classes)
    apply_strategy(network, STRATEGIES["freeze"])
    assert trainable_parameters(network) == (width + 1) * classes
    assert network.fc.in_features == width


def test_a_new_head_trains_although_everything_was_frozen_before() -> None:
    with torch.device("meta"):
        network = get_model("resnet18")
        before = head_state(network)
        freeze_all(network)
        assert head_state(network).trainable_names == ()
        replace_head(network, 10)
    after = head_state(network)
    assert (before.in_features, before.out_features) == (512, 1000)
    assert after.trainable_names == ("fc.weight", "fc.bias")
    assert after.trainable_parameters == 5130
    assert after.total_parameters == before.total_parameters - 513_000 + 5130
