"""Compares 3x3 convolutions on 2x2 maps as a dense layer with torch's convolution.

One thread, forward and backward, turn by turn on the same tensors: the last stage of
the CIFAR family on 8x8 digits. Exits with 1 when the dense way is not the faster one.

    python -m benchmarks.small_maps --turns 20
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from resnet_bench.engine.models.small_maps import compute_small_maps_densely
from resnet_bench.engine.seeding import compute_deterministically

BATCH_SIZE = 128
CHANNELS = 64
SIDE = 2
CALLS = 50


def layer(densely: bool) -> nn.Sequential:
    """Return one convolution of the last stage."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
    model = nn.Sequential(convolution).to(memory_format=torch.channels_last)
    if densely:
        compute_small_maps_densely(model)
    return model


def trainer_of(model: nn.Module) -> Callable[[], object]:
    """Return a function that computes the layer and its gradients once."""
    shape = (BATCH_SIZE, CHANNELS, SIDE, SIDE)
    images = torch.randn(shape).to(memory_format=torch.channels_last)
    images.requires_grad_()
    wanted = torch.randn_like(images)
    return lambda: model(images).backward(wanted)


def microseconds(call: Callable[[], object]) -> float:
    """Return the mean time of a call."""
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return 1e6 * (time.perf_counter() - started) / CALLS


def main(arguments: Sequence[str] | None = None) -> int:
    """Time both in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args(arguments)
    compute_deterministically()
    usual, dense = trainer_of(layer(False)), trainer_of(layer(True))
    microseconds(usual), microseconds(dense)
    turns = [(microseconds(usual), microseconds(dense)) for _ in range(options.turns)]
    ratio = statistics.median(slow / fast for slow, fast in turns)
    slow, fast = (statistics.median(column) for column in zip(*turns, strict=True))
    print(
        f"convolution {slow:.0f} µs, dense {fast:.0f} µs (medians of "
        f"{options.turns} turns); {ratio:.2f} times as fast"
    )
    return int(ratio <= 1)


if __name__ == "__main__":
    sys.exit(main())
