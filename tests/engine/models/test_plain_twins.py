from __future__ import annotations

import pytest
import torch

from resnet_bench.catalogue import VARIANTS
from resnet_bench.engine.models.blocks import (
    blocks_of,
    head_of,
    layers_of,
    run_blocks,
    stem_of,
)
from resnet_bench.engine.models.resnets import (
    build_plain_twin,
    build_residual,
    copy_shared_weights,
)


@pytest.mark.parametrize("depth", list(VARIANTS))
def test_a_twin_has_all_the_residual_networks_weights_but_its_projections(
    depth: int,
) -> None:
    with torch.device("meta"):
        plain = build_plain_twin(depth, 10).state_dict()
        residual = build_residual(depth, 10).state_dict()
    expected = {key for key in residual if "downsample" not in key}
    assert plain.keys() == expected
    assert all(plain[key].shape == residual[key].shape for key in expected)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_twin_is_the_residual_network_without_the_addition(depth: int) -> None:
    residual, plain = build_residual(depth, 4).eval(), build_plain_twin(depth, 4).eval()
    copy_shared_weights(residual, plain)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(stem_of(plain)(images), stem_of(residual)(images))
    hidden = stem_of(plain)(images)
    block, twin = residual.layer1[0], plain.layer1[0]
    added = block.downsample(hidden) if block.downsample else hidden
    names = [name for name in ("1", "2", "3") if hasattr(block, f"conv{name}")]
    answer = hidden
    for name in names:
        answer = getattr(block, f"bn{name}")(getattr(block, f"conv{name}")(answer))
        answer = answer if name == names[-1] else torch.relu(answer)
    assert torch.equal(twin(hidden), torch.relu(answer))
    torch.testing.assert_close(block(hidden), torch.relu(answer + added))


def test_pieces_of_torchvisions_network_make_the_whole() -> None:
    network = build_residual(18, 4).eval()
    images = torch.rand(1, 3, 32, 32)
    blocks = [place.block for place in blocks_of(network)]
    logits = head_of(network)(run_blocks(blocks, stem_of(network)(images)))
    assert torch.equal(logits, network(images))


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_weighted_layers_of_torchvisions_network_count_its_depth(depth: int) -> None:
    with torch.device("meta"):
        layers = layers_of(build_residual(depth, 4))
    assert len(layers) == depth


def test_blocks_that_change_the_shape_are_known_in_both_arms() -> None:
    with torch.device("meta"):
        networks = [build_residual(50, 4), build_plain_twin(50, 4)]
    changing = [
        [place.index for place in blocks_of(network) if place.changes_shape]
        for network in networks
    ]
    assert changing[0] == changing[1] == [0, 3, 7, 13]
