"""A network's blocks and layers, and copies deepened by further blocks.

Reads the CIFAR family and torchvision's ResNets alike.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from resnet_bench.engine.models.cifar import (
    BasicBlock,
    CifarNetwork,
    build_cifar_network,
)
from resnet_bench.engine.models.design import NetworkDesign

Piece = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BlockPlace:
    """A block of a network: `index` from 0 at the bottom, `stage` from 1."""

    index: int
    stage: int
    position: int
    block: nn.Module

    @property
    def name(self) -> str:
        """Its name in the `state_dict`."""
        return f"layer{self.stage}.{self.position}"

    @property
    def changes_shape(self) -> bool:
        """Whether its output has another shape than its input."""
        convolutions = block_convolutions(self.block)
        strided = any(convolution.stride != (1, 1) for convolution in convolutions)
        widths = convolutions[0].in_channels, convolutions[-1].out_channels
        return strided or widths[0] != widths[1]


@dataclass(frozen=True)
class LayerPlace:
    """A weighted layer: a convolution, or the last linear layer.

    `index` counts from 0 at the stem. `block` and `stage` are None outside blocks.
    `norm` is what follows a convolution (batch norm or identity).
    """

    index: int
    name: str
    layer: nn.Conv2d | nn.Linear
    norm: nn.Module | None
    block: BlockPlace | None
    ends_block: bool

    @property
    def block_index(self) -> int | None:
        """The block's index, None outside the blocks."""
        return self.block.index if self.block else None

    @property
    def stage(self) -> int | None:
        """The block's stage, None outside the blocks."""
        return self.block.stage if self.block else None


def stages_of(model: nn.Module) -> list[nn.Sequential]:
    """Return layer1, layer2, … as far as the model has them."""
    named = ((name, module) for name, module in model.named_children())
    return [
        module
        for name, module in named
        if name.startswith("layer") and isinstance(module, nn.Sequential)
    ]


def blocks_of(model: nn.Module) -> list[BlockPlace]:
    """Return the blocks of all stages, bottom first."""
    places: list[BlockPlace] = []
    for stage, blocks in enumerate(stages_of(model), start=1):
        for position, block in enumerate(blocks):
            places.append(BlockPlace(len(places), stage, position, block))
    return places


def block_convolutions(block: nn.Module) -> list[nn.Conv2d]:
    """Return conv1, conv2, … of a block; its shortcut's convolution is not one."""
    return [
        module
        for name, module in block.named_children()
        if name.startswith("conv") and isinstance(module, nn.Conv2d)
    ]


def layers_of(model: nn.Module) -> list[LayerPlace]:
    """Return the weighted layers, bottom first, without projection shortcuts."""
    children = dict(model.named_children())
    stem, last = children["conv1"], children["fc"]
    if not isinstance(stem, nn.Conv2d) or not isinstance(last, nn.Linear):
        raise TypeError("expected a convolution conv1 and a linear layer fc")
    found = [LayerPlace(0, "conv1", stem, children["bn1"], None, False)]
    for place in blocks_of(model):
        norms = dict(place.block.named_children())
        convolutions = block_convolutions(place.block)
        for number, convolution in enumerate(convolutions, start=1):
            found.append(
                LayerPlace(
                    index=len(found),
                    name=f"{place.name}.conv{number}",
                    layer=convolution,
                    norm=norms[f"bn{number}"],
                    block=place,
                    ends_block=number == len(convolutions),
                )
            )
    return [*found, LayerPlace(len(found), "fc", last, None, None, False)]


def stem_of(model: nn.Module) -> Piece:
    """Return the part below the first block."""
    if isinstance(model, CifarNetwork):
        return model.stem
    parts: Any = model
    return nn.Sequential(parts.conv1, parts.bn1, parts.relu, parts.maxpool)


def head_of(model: nn.Module) -> Piece:
    """Return the part above the last block."""
    if isinstance(model, CifarNetwork):
        return model.head
    parts: Any = model
    return nn.Sequential(parts.avgpool, nn.Flatten(1), parts.fc)


def run_blocks(blocks: Sequence[nn.Module], hidden: Tensor) -> Tensor:
    """Return a hidden state after each block, one after the other."""
    for block in blocks:
        hidden = block(hidden)
    return hidden


def extended(
    network: CifarNetwork, depth: int, new_blocks: NetworkDesign, draw: torch.Generator
) -> CifarNetwork:
    """Return a copy of a network with blocks appended to every stage up to `depth`.

    The new blocks are those at the same places of a fresh network of the design
    `new_blocks` at that depth; the old ones and their statistics are copied.
    """
    fresh = build_cifar_network(replace(new_blocks, depth=depth), draw)
    result = copy.deepcopy(network)
    result.design = replace(network.design, depth=depth)
    for old, new in zip(stages_of(result), stages_of(fresh), strict=True):
        for block in list(new)[len(old) :]:
            old.append(block)
    result.train(network.training)
    return result


def with_zero_scale_blocks(
    network: CifarNetwork, depth: int, draw: torch.Generator
) -> CifarNetwork:
    """Append blocks whose last batch norm has scale zero: F(x) = 0 exactly.

    In a residual network each is the identity, bit for bit, on its non-negative
    input; in a plain one it sends everything to zero.
    """
    design = replace(network.design, zero_last_scale=True)
    return extended(network, depth, design, draw)


def with_identity_layers(
    network: CifarNetwork, depth: int, draw: torch.Generator
) -> CifarNetwork:
    """Extend a plain network by layers that pass their input through in eval mode.

    Dirac convolutions, and batch norm with mean 0, variance 1 and a scale that
    undoes its epsilon; what comes in is not negative, so the ReLU lets it pass.
    """
    result = extended(network, depth, network.design, draw)
    kept = {place.name for place in blocks_of(network)}
    for place in blocks_of(result):
        if place.name not in kept and isinstance(place.block, BasicBlock):
            _pass_through(place.block)
    return result


def _pass_through(block: BasicBlock) -> None:
    for convolution in (block.conv1, block.conv2):
        nn.init.dirac_(convolution.weight)
    for norm in (block.bn1, block.bn2):
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            nn.init.constant_(norm.weight, (1 + norm.eps) ** 0.5)
            nn.init.zeros_(norm.bias)
