"""Convolutions of small maps as dense layers: the same numbers, another way."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_bench.engine.models.cifar import build_cifar_network
from resnet_bench.engine.models.design import NetworkDesign
from resnet_bench.engine.models.small_maps import (
    SIDES,
    SmallMapConvolution,
    _Dense,
    _find_onednn,
    compute_small_maps_densely,
)


def pair(bias: bool = False) -> tuple[nn.Module, nn.Module]:
    """A convolution, and its copy that takes the dense way."""
    torch.manual_seed(0)
    usual = nn.Sequential(nn.Conv2d(5, 7, 3, padding=1, bias=bias))
    dense = copy.deepcopy(usual)
    assert compute_small_maps_densely(dense) == 1
    return usual, dense


def gradients(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Answer, gradient of the images and gradients of the parameters."""
    images = images.clone().requires_grad_()
    answer = model(images)
    (answer * torch.arange(answer.numel()).view_as(answer).sin()).sum().backward()
    found = [parameter.grad for parameter in model.parameters()]
    return [
        value for value in (answer.detach(), images.grad, *found) if value is not None
    ]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_the_dense_way_gives_the_convolution_and_its_gradients(
    side: int, bias: bool, memory: torch.memory_format
) -> None:
    usual, dense = pair(bias)
    images = torch.randn(6, 5, side, side).contiguous(memory_format=memory)
    expected, found = gradients(usual, images), gradients(dense, images)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", SIDES)
def test_its_gradients_agree_with_differences(side: int) -> None:
    # In float64 the product falls to torch's own, so the formula itself is tested.
    images = torch.randn(2, 3, side, side, dtype=torch.float64, requires_grad=True)
    kernels = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnet_bench.engine.models.small_maps._onednn", None)
        assert torch.autograd.gradcheck(_Dense.apply, (images, kernels))


def test_a_build_of_torch_without_the_product_falls_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def changed(*_arguments: object) -> None:
        raise TypeError("unexpected arguments")

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", changed)
    assert _find_onednn() is None


@pytest.mark.parametrize(
    ("capability", "found"), [("AVX2", False), ("DEFAULT", False), ("AVX512", True)]
)
def test_the_product_is_asked_for_where_it_is_the_faster_one(
    capability: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def product(left: Tensor, right: Tensor, *_: object) -> Tensor:
        return left @ right.t()

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", product)
    assert (_find_onednn() is not None) == found


@pytest.mark.parametrize("sides", [(3, 3), (4, 4), (1, 2), (2, 1)])
def test_other_maps_are_computed_as_before(sides: tuple[int, int]) -> None:
    usual, dense = pair()
    images = torch.randn(3, 5, *sides)
    assert torch.equal(usual(images), dense(images))


def test_a_compiler_sees_the_usual_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, dense = pair()
    images = torch.randn(3, 5, 2, 2)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(usual(images), dense(images))


def test_other_number_formats_are_computed_as_before() -> None:
    usual, dense = (model.double() for model in pair())
    images = torch.randn(3, 5, 2, 2, dtype=torch.float64)
    assert torch.equal(usual(images), dense(images))


def test_autocast_and_no_images_at_all_are_computed_as_before() -> None:
    usual, dense = pair()
    assert dense(torch.randn(0, 5, 2, 2)).shape == (0, 7, 2, 2)
    images = torch.randn(3, 5, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert dense(images).dtype == torch.bfloat16
        assert torch.equal(usual(images), dense(images))


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 1},
        {"kernel_size": 3},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 1, "dilation": 2},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    ],
)
def test_convolutions_of_another_kind_are_left_alone(settings: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, **settings))
    assert compute_small_maps_densely(model) == 0
    assert type(model[0]) is nn.Conv2d


def test_a_network_keeps_its_state_and_its_hooks() -> None:
    model = build_cifar_network(NetworkDesign(depth=8))
    state = copy.deepcopy(model.state_dict())
    seen: list[torch.Size] = []
    last = model.get_submodule("layer3.0.conv2")
    last.register_forward_hook(lambda *call: seen.append(call[-1].shape))
    assert compute_small_maps_densely(model) > 0
    assert isinstance(last, SmallMapConvolution)
    assert all(
        torch.equal(state[key], value) for key, value in model.state_dict().items()
    )
    model(torch.randn(2, 1, 8, 8))
    assert seen == [(2, 64, 2, 2)]


@pytest.mark.parametrize("wanted", ["images", "kernels"])
def test_only_the_gradient_that_is_wanted_is_computed(wanted: str) -> None:
    usual, dense = pair()
    images = torch.randn(3, 5, 2, 2)
    found = []
    for model in (usual, dense):
        model.requires_grad_(wanted == "kernels")
        given = images.clone().requires_grad_(wanted == "images")
        model(given).square().sum().backward()
        found.append([given.grad, *(p.grad for p in model.parameters())])
    for expected, value in zip(*found, strict=True):
        assert (expected is None) == (value is None)
        if expected is not None and value is not None:
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
