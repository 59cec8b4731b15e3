from __future__ import annotations

import csv
from importlib.resources import files

import pytest
import torch

from resnet_bench.engine.models.blocks import blocks_of, layers_of
from resnet_bench.engine.models.cifar import (
    BasicBlock,
    CifarNetwork,
    Projection,
    build_cifar_network,
)
from resnet_bench.engine.models.design import (
    NetworkDesign,
    Shortcut,
    is_cifar_depth,
    nearest_cifar_depths,
)
from resnet_bench.engine.models.work import parameter_count
from resnet_bench.engine.seeding import generator

TABLE = files("resnet_bench") / "reference" / "cifar_resnet_parameters.csv"


def published() -> list[dict[str, str]]:
    return list(csv.DictReader(TABLE.read_text().splitlines()))


def count(depth: int, shortcut: Shortcut, channels: int) -> int:
    design = NetworkDesign(depth=depth, shortcut=shortcut, channels=channels)
    with torch.device("meta"):
        return parameter_count(CifarNetwork(design))


@pytest.mark.parametrize("row", published(), ids=lambda row: row["depth"])
def test_parameter_counts_equal_the_reference_exactly(row: dict[str, str]) -> None:
    depth = int(row["depth"])
    shapes: dict[str, tuple[Shortcut, int]] = {
        "a_cifar": ("option-a", 3),
        "b_digits_1x8x8": ("option-b", 1),
    }
    for shape, (shortcut, channels) in shapes.items():
        expected = int(row[f"parameters_option_{shape}"])
        assert count(depth, shortcut, channels) == expected


def small(
    shortcut: Shortcut = "option-a", seed: int = 0, depth: int = 8
) -> CifarNetwork:
    design = NetworkDesign(depth=depth, shortcut=shortcut, width=4, classes=3)
    return build_cifar_network(design, generator(seed, "weights"))


def test_plain_and_residual_share_keys_and_start_from_the_same_weights() -> None:
    plain, residual = small("none").state_dict(), small("option-a").state_dict()
    assert plain.keys() == residual.keys()
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


def test_a_plain_network_takes_the_residual_ones_weights() -> None:
    plain = small("none", seed=1)
    plain.load_state_dict(small("option-a", seed=2).state_dict())
    images = torch.rand(2, 1, 8, 8)
    assert not torch.equal(plain.eval()(images), small(seed=2).eval()(images))


def test_another_seed_gives_other_weights() -> None:
    first, second = small(seed=1), small(seed=2)
    assert not torch.equal(first.conv1.weight, second.conv1.weight)


def test_a_scale_of_zero_is_the_plain_network_and_of_one_the_residual_one() -> None:
    images = torch.rand(2, 1, 8, 8)
    for scale, shortcut in ((0.0, small("none")), (1.0, small("option-a"))):
        design = NetworkDesign(depth=8, width=4, classes=3, shortcut_scale=scale)
        scaled = build_cifar_network(design, generator(0, "weights"))
        assert torch.equal(scaled.eval()(images), shortcut.eval()(images))


def test_a_block_adds_its_scaled_input() -> None:
    design = NetworkDesign(depth=8, width=4, shortcut_scale=0.5)
    block = BasicBlock(4, 4, 1, design).eval()
    hidden = torch.rand(2, 4, 6, 6)
    expected = torch.relu(block.residual(hidden) + 0.5 * hidden)
    assert torch.equal(block(hidden), expected)


def test_the_padded_shortcut_keeps_every_second_pixel_and_adds_empty_channels() -> None:
    block = small().layer2[0]
    assert isinstance(block, BasicBlock)
    hidden = torch.rand(1, 4, 6, 6)
    kept = block.shortcut(hidden)
    assert torch.equal(kept[:, :4], hidden[:, :, ::2, ::2])
    assert kept[:, 4:].abs().max() == 0


def test_projections_stand_where_the_option_says() -> None:
    def projected(shortcut: Shortcut) -> list[bool]:
        network = small(shortcut, depth=14)
        return [
            sum(p.numel() for p in place.block.downsample.parameters()) > 0
            if isinstance(place.block, BasicBlock) and place.block.downsample
            else False
            for place in blocks_of(network)
        ]

    assert projected("option-b") == [False, False, True, False, True, False]
    assert projected("convolution") == [True] * 6
    assert projected("option-a") == [False] * 6


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [7, 8])
def test_a_projection_is_torchs_strided_convolution(stride: int, side: int) -> None:
    projection = Projection(8, 16, stride)
    images = torch.randn(3, 8, side, side, requires_grad=True)
    weight = projection.weight
    wanted = torch.nn.functional.conv2d(images, weight, stride=stride)
    answer = projection(images)
    torch.testing.assert_close(answer, wanted)
    direction = torch.randn_like(wanted)
    for ours, theirs in zip(
        torch.autograd.grad(answer, (images, weight), direction),
        torch.autograd.grad(wanted, (images, weight), direction),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_zero_gamma_makes_every_block_pass_its_input_on() -> None:
    design = NetworkDesign(depth=14, width=4, zero_last_scale=True)
    network = build_cifar_network(design, generator(0, "weights")).train()
    hidden = torch.rand(3, 4, 8, 8)
    assert torch.equal(network.layer1(hidden), hidden)


def test_dirac_blocks_start_as_the_identity_up_to_batch_norm() -> None:
    design = NetworkDesign(depth=8, width=4, shortcut="none", initialisation="dirac")
    network = build_cifar_network(design, generator(0, "weights")).eval()
    hidden = torch.rand(2, 4, 8, 8)
    torch.testing.assert_close(network.layer1(hidden), hidden, rtol=1e-4, atol=1e-4)


def test_without_batch_norm_convolutions_have_biases_and_no_norm_is_left() -> None:
    design = NetworkDesign(depth=8, width=4, batch_norm=False)
    network = build_cifar_network(design, generator(0, "weights"))
    assert not [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert network.conv1.bias is not None
    assert network.conv1.bias.abs().max() == 0


@pytest.mark.parametrize("shortcut", ["option-a", "none"])
def test_pre_activation_normalises_first_and_ends_with_the_addition(
    shortcut: Shortcut,
) -> None:
    design = NetworkDesign(depth=8, width=4, pre_activation=True, shortcut=shortcut)
    network = build_cifar_network(design, generator(0, "weights")).eval()
    hidden = torch.randn(2, 4, 8, 8)
    block = network.layer1[0]
    assert isinstance(block, BasicBlock)
    added = hidden if shortcut == "option-a" else torch.zeros_like(hidden)
    assert torch.equal(block(hidden), block.residual(hidden) + added)
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (9, 13)])
def test_the_global_pool_accepts_any_image_size(size: tuple[int, int]) -> None:
    assert small()(torch.rand(2, 1, *size)).shape == (2, 3)


def test_layers_count_the_depth() -> None:
    layers = layers_of(small(depth=20))
    assert len(layers) == 20
    assert [layer.index for layer in layers] == list(range(20))


def test_depths_of_the_family_are_six_n_plus_two() -> None:
    assert [d for d in range(30) if is_cifar_depth(d)] == [8, 14, 20, 26]
    assert nearest_cifar_depths(21) == (20, 26)
    assert nearest_cifar_depths(3) == (8, 14)
