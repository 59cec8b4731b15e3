"""The machine's own limits, with which a model's speed is compared."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from resnet_bench.engine.devices import Device
from resnet_bench.engine.timing.clock import Clock, seconds_of

KERNEL = 3

Action = Callable[[], object]


@dataclass(frozen=True)
class Sizes:
    """How large the pieces of work are: large enough to be limited by the machine.

    `matrix` is the side of square matrices; `batch` counts images of `channels`
    channels and `side` pixels that a 3x3 convolution maps to as many channels;
    `copied_bytes` must not fit in any cache.
    """

    matrix: int
    batch: int
    channels: int
    side: int
    copied_bytes: int


CPU_SIZES = Sizes(matrix=2048, batch=4, channels=256, side=28, copied_bytes=2**27)
CUDA_SIZES = Sizes(matrix=8192, batch=128, channels=256, side=28, copied_bytes=2**30)


@dataclass(frozen=True)
class Limit:
    """Work that the machine does as fast as it can do anything.

    `amount` is what one call achieves: floating point operations, or bytes read
    plus bytes written.
    """

    phases: tuple[str, ...]
    amount: float
    action: Action
    block: str | None = None

    def call(self, clock: Clock) -> Sequence[float]:
        """Do the work once and return the seconds."""
        return seconds_of(self.action, clock)

    def work(self) -> None:
        """Do the work once."""
        self.action()


#: So many numbers are drawn; a larger tensor repeats them. Drawing hundreds of
#: millions on the CPU takes longer than all that is timed.
DRAWN = 2**22


@dataclass(frozen=True)
class Source:
    """Draws normal numbers onto a device in one format, the same ones each time."""

    device: Device
    dtype: torch.dtype

    def __call__(self, *shape: int) -> torch.Tensor:
        """Return a tensor of that shape."""
        generator = torch.Generator().manual_seed(0)
        count = math.prod(shape)
        numbers = torch.randn(min(count, DRAWN), generator=generator)
        repeated = numbers.to(self.device.torch, self.dtype).repeat(-(-count // DRAWN))
        return repeated[:count].view(shape)


def product(normal: Source, side: int) -> Limit:
    """Return the product of two square matrices.

    On the CPU oneDNN computes it, as it computes the convolutions of a ResNet. What
    `torch.mm` asks in float32, MKL, takes AVX2 on processors that are not Intel's
    and then reaches less than half of what AVX-512 can do.
    """
    left, right = normal(side, side), normal(side, side)
    multiply = _by_onednn(left, right) or (lambda: torch.mm(left, right))
    return Limit(("matrix_product",), 2.0 * side**3, multiply)


def _by_onednn(left: torch.Tensor, right: torch.Tensor) -> Action | None:
    """Return the product as oneDNN computes it; None where it cannot."""
    supported = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if left.is_cuda or not supported:
        return None
    try:
        images, weights = left.to_mkldnn(), right.to_mkldnn()
        torch.nn.functional.linear(images, weights)
    except RuntimeError:  # a number format that this processor or build lacks
        return None
    return lambda: torch.nn.functional.linear(images, weights)


def convolution(normal: Source, sizes: Sizes) -> Limit:
    """Return a 3x3 convolution that keeps size and channels, as inside a ResNet.

    It takes NHWC, the order in which every back end is at its best.
    """
    channels = sizes.channels
    images = normal(sizes.batch, channels, sizes.side, sizes.side)
    kernels = normal(channels, channels, KERNEL, KERNEL)
    images = images.contiguous(memory_format=torch.channels_last)
    kernels = kernels.contiguous(memory_format=torch.channels_last)
    amount = 2.0 * images.numel() * kernels[0].numel()
    return Limit(
        ("convolution",),
        amount,
        lambda: torch.conv2d(images, kernels, padding=KERNEL // 2),
    )


def copy(normal: Source, size_bytes: int) -> Limit:
    """Return a copy from memory to memory."""
    source = normal(size_bytes * 8 // torch.finfo(normal.dtype).bits)
    goal = torch.empty_like(source)
    return Limit(("copy",), 2.0 * source.nbytes, lambda: goal.copy_(source))


def limits(
    device: Device, dtype: torch.dtype, sizes: Sizes | None = None
) -> tuple[Limit, ...]:
    """Return the machine's ceiling measurements at that number format."""
    chosen = sizes or (CUDA_SIZES if device.is_cuda else CPU_SIZES)
    normal = Source(device, dtype)
    return (
        product(normal, chosen.matrix),
        convolution(normal, chosen),
        copy(normal, chosen.copied_bytes),
    )
