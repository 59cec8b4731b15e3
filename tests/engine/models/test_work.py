from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import get_model_weights

from resnet_bench.catalogue import VARIANTS
from resnet_bench.engine.models.resnets import meta_variant
from resnet_bench.engine.models.work import device_of, work_of


@pytest.mark.parametrize("depth", [18, 50])
def test_parameters_and_gmac_equal_torchvisions_own_metadata(depth: int) -> None:
    work = work_of(meta_variant(depth), image_size=224)
    published = get_model_weights(VARIANTS[depth].builder).DEFAULT.meta
    assert work.parameters == published["num_params"]
    assert round(work.multiply_adds / 1e9, 3) == published["_ops"]
    assert work.flop == 2 * work.multiply_adds
    assert work.classes == 1000


def test_resnet50_has_four_and_a_half_times_the_activations_of_resnet18() -> None:
    # 11.1 and 2.5 million per image of 224 px (Dollar et al. 2021, "Fast and
    # Accurate Model Scaling", count convolutions as this project does).
    small, large = (work_of(meta_variant(depth), 224) for depth in (18, 50))
    assert small.activations / 1e6 == pytest.approx(2.48, abs=0.01)
    assert large.activations / 1e6 == pytest.approx(11.11, abs=0.01)


def test_counting_computes_nothing_and_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    work_of(model, image_size=5)
    assert model.training
    assert not model[0]._forward_hooks
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_convolution_and_linear_layer_are_counted_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 2))
    work = work_of(model, image_size=5)
    assert work.multiply_adds == 4 * 9 * 27 + 36 * 2
    assert work.activations == 4 * 9 + 2
    assert work.parameters == 4 * 27 + 4 + 36 * 2 + 2


def test_traffic_is_what_each_operator_reads_and_writes_without_weights() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 2)
    )
    convolution, relu, linear = 75 + 36, 36 + 36, 36 + 2
    assert work_of(model, image_size=5).moved == convolution + relu + linear


def test_traffic_of_a_resnet_grows_with_its_activations() -> None:
    small, large = (work_of(meta_variant(depth), 224) for depth in (34, 50))
    assert large.moved / small.moved == pytest.approx(
        large.activations / small.activations, rel=0.05
    )


class NeedsNumbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(27, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        offset = images.sum().item()
        result: torch.Tensor = self.layer(images.flatten(1)) + offset
        return result


def test_a_model_that_needs_real_numbers_is_counted_by_running_it() -> None:
    assert work_of(NeedsNumbers(), image_size=3).multiply_adds == 54


def test_a_model_without_parameters_is_on_the_cpu() -> None:
    assert device_of(nn.Flatten()) == torch.device("cpu")
