"""Deeper networks made of trained ones: blocks that start out as the identity."""

import copy
from dataclasses import replace

import torch
from torch import nn

from resnet_bench.engine.models.blocks import blocks_of, stages_of
from resnet_bench.engine.models.cifar import (
    BasicBlock,
    CifarNetwork,
    build_cifar_network,
)
from resnet_bench.engine.models.design import NetworkDesign


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
