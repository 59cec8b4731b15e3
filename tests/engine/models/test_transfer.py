from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import ResNet

from resnet_bench.engine.models.design import STEMS, stem_that_fits
from resnet_bench.engine.models.resnets import NetworkRequest, build_network
from resnet_bench.engine.weights.files import Weights
from resnet_bench.errors import UsageError

pytestmark = pytest.mark.usefixtures("small_resnets")

REQUEST = NetworkRequest(variant=18, classes=3, stem="small", seed=0)


def test_the_same_request_gives_the_same_network_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first = build_network(REQUEST)
    torch.manual_seed(2)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    second = build_network(REQUEST)
    assert torch.equal(first.fc.weight, second.fc.weight)
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    assert torch.equal(torch.rand(1), drawn)  # the global state was left alone


def test_weights_are_loaded_before_the_head_is_replaced() -> None:
    source = build_network(NetworkRequest(variant=18, classes=7, stem="small", seed=5))
    network = build_network(REQUEST, Weights("file:x", "0", source.state_dict()))
    assert torch.equal(network.layer1[0].conv1.weight, source.layer1[0].conv1.weight)
    assert network.fc.out_features == 3


@pytest.mark.parametrize(
    ("name", "side"), [("imagenet", 8), ("small", 8), ("cifar", 32)]
)
def test_each_stem_reduces_the_image_by_what_it_says(name: str, side: int) -> None:
    network = build_network(NetworkRequest(variant=18, classes=3, stem=name, seed=0))
    stem = nn.Sequential(network.conv1, network.maxpool)
    assert stem(torch.zeros(1, 3, 32, 32)).shape[-1] == side


@pytest.mark.parametrize("name", STEMS)
def test_small_images_pass_every_stem_in_training(name: str) -> None:
    network = build_network(NetworkRequest(variant=18, classes=3, stem=name, seed=0))
    assert network.train()(torch.rand(2, 3, 32, 32)).shape == (2, 3)


def test_zero_gamma_starts_each_block_as_the_identity_and_can_be_left_out() -> None:
    started = build_network(REQUEST)
    assert gammas(started).abs().sum() == 0
    assert gammas(build_network(replace(REQUEST, zero_gamma=False))).min() == 1


def gammas(network: ResNet) -> torch.Tensor:
    blocks = [
        block for name in ("layer1", "layer4") for block in getattr(network, name)
    ]
    return torch.cat([block.bn2.weight.detach() for block in blocks])


def test_a_stem_is_found_by_the_width_of_the_weights_convolution() -> None:
    assert stem_that_fits(7, "auto").name == "imagenet"
    assert stem_that_fits(3, "auto").name == "small"
    assert stem_that_fits(3, "cifar").name == "cifar"


def test_a_stem_that_does_not_fit_the_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="--stem small: its convolution is 3 wide"):
        stem_that_fits(7, "small")
    with pytest.raises(UsageError, match="no stem of imagenet, small, cifar fits"):
        stem_that_fits(5, "auto")
