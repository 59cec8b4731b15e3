"""3x3 convolutions of 1x1 and 2x2 maps on the CPU, computed as one dense layer.

On a 2x2 map each output pixel sees every input pixel, so the convolution is a linear
layer from four times its input channels to four times its output channels: 16
products of channels where the padded convolution takes 36. On a 1x1 map only the tap
in the middle counts: one product in place of 9. The last stage of the CIFAR family on
8x8 digits is made of the former, that of a ResNet with the small stem on 32 px of the
latter (figures: `benchmarks/small_maps.py`).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

#: Sides of the maps that are small.
SIDES = (1, 2)

#: Side of a kernel, and its taps.
KERNEL_SIDE = 3
TAPS = KERNEL_SIDE**2


class SmallMapConvolution(nn.Conv2d):
    """A convolution that is computed as a dense layer for inputs of small maps."""

    def _conv_forward(
        self, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        if _is_small(input) and weight.dtype == input.dtype:
            answer: Tensor = _Dense.apply(input, weight)
            return answer if bias is None else answer + bias[:, None, None]
        usual: Tensor = super()._conv_forward(input, weight, bias)
        return usual


def compute_small_maps_densely(model: nn.Module) -> int:
    """Compute a model's 3x3 convolutions as dense layers; return how many can be.

    Only how they compute changes: parameters, `state_dict` and hooks stay. Larger
    maps, other number formats, autocast, CUDA and compiled networks are computed as
    before. Gradients of gradients are not supported.
    """
    chosen = [module for module in model.modules() if _can_be_dense(module)]
    for module in chosen:
        module.__class__ = SmallMapConvolution
    return len(chosen)


def _is_small(images: Tensor) -> bool:
    """Return whether these maps, if there are any, are small ones on the CPU.

    They are float32, and no compiler is looking for operations that it knows.
    """
    return (
        images.dim() == 4
        and images.shape[2] == images.shape[3]
        and images.shape[3] in SIDES
        and images.dtype == torch.float32
        and images.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and len(images) > 0
        and not torch.compiler.is_compiling()
    )


def _can_be_dense(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (3, 3)
        and module.padding == (1, 1)
        and module.stride == module.dilation == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
    )


class _Dense(torch.autograd.Function):
    """The convolution (N, C, S, S) with (K, C, 3, 3) as products of matrices."""

    @staticmethod
    def forward(context: Any, images: Tensor, kernels: Tensor) -> Tensor:
        context.side = images.shape[3]
        rows, matrix = _rows(images), _matrix(kernels, context.side)
        context.save_for_backward(rows, matrix)
        return _maps(_product(rows, matrix), context.side)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, matrix = context.saved_tensors
        of_images, of_kernels = context.needs_input_grad
        wanted = _rows(gradient)
        return (
            _maps(_product(wanted, matrix.t()), context.side) if of_images else None,
            # oneDNN would first copy both: it wants them transposed.
            _kernels(torch.mm(wanted.t(), rows), context.side) if of_kernels else None,
        )


def _rows(images: Tensor) -> Tensor:
    """Return (N, C, S, S) as (N, S² C), pixel by pixel; free for NHWC."""
    return images.permute(0, 2, 3, 1).reshape(len(images), -1)


def _maps(rows: Tensor, side: int) -> Tensor:
    """Return (N, S² C) as (N, C, S, S) in NHWC."""
    return rows.view(len(rows), side, side, -1).permute(0, 3, 1, 2)


def _seen_through(side: int) -> Tensor:
    """Return the tap, of 9, through which each output pixel sees each input pixel."""
    pixels = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    row, column = (1 + pixels[None] - pixels[:, None]).unbind(-1)
    return KERNEL_SIDE * row + column


def _matrix(kernels: Tensor, side: int) -> Tensor:
    """Return kernels (K, C, 3, 3) as the dense layer's weights (S² K, S² C)."""
    taps = kernels.permute(0, 2, 3, 1).reshape(-1, kernels.shape[1])
    chosen = torch.index_select(taps, 0, _places(len(kernels), side))
    return chosen.view(side**2 * len(kernels), -1)


@cache
def _places(channels: int, side: int) -> Tensor:
    """Return which of (9 K) taps stand where in the weights (S², K, S²)."""
    first = TAPS * torch.arange(channels)[None, :, None]
    return (_seen_through(side)[:, None, :] + first).flatten()


def _kernels(matrix: Tensor, side: int) -> Tensor:
    """Return weights (S² K, S² C) summed into the kernels (K, C, 3, 3) of them."""
    pixels = side**2
    channels = len(matrix) // pixels
    blocks = matrix.view(pixels, channels, pixels, -1).transpose(0, 1)
    pairs = blocks.reshape(channels, pixels**2, -1)
    taps = torch.bmm(_sums(side, matrix.dtype).expand(channels, -1, -1), pairs)
    return taps.view(channels, KERNEL_SIDE, KERNEL_SIDE, -1).permute(0, 3, 1, 2)


@cache
def _sums(side: int, dtype: torch.dtype) -> Tensor:
    """Return what adds (S² S²) pairs of pixels to the (9) taps that join them."""
    return (_seen_through(side).flatten() == torch.arange(TAPS)[:, None]).to(dtype)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return left (N, M) times right (K, M) transposed."""
    return linear(left, right) if _onednn is None else _onednn(left, right)


def _find_onednn() -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return oneDNN's product, None where it is slower or this build of torch lacks it.

    What `linear` asks in float32, MKL, takes AVX2 on processors that are not Intel's:
    twice as long as oneDNN's with AVX-512, and a tenth less than oneDNN's without.
    torch has no public way to oneDNN's; its own compiler calls it by this name, which
    is tried out because it may change.
    """
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return None

    def product(left: Tensor, right: Tensor) -> Tensor:
        answer: Tensor = torch.ops.mkldnn._linear_pointwise(
            left, right, None, "none", [], ""
        )
        return answer

    ones = torch.ones(1, 1)
    try:
        return product if torch.equal(product(ones, ones), ones) else None
    except (AttributeError, RuntimeError, TypeError):
        return None


_onednn = _find_onednn()
