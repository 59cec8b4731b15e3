"""Which device to use, how to wait for it, and what is set before anything is timed."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from resnet_bench.engine.machine import (
    HAS_PRECISION_NAMES,
    float32_precision,
    flushes_denormals,
)
from resnet_bench.engine.timing.clock import Clock, EventClock, WallClock
from resnet_bench.errors import UsageError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

#: What a message says when an allocation failed; the CPU allocator of torch has no
#: error class of its own (c10/core/impl/alloc_cpu.cpp). CUDA's libraries allocate
#: beside torch; cuDNN then finds no engine (aten/src/ATen/native/cudnn/Conv_v8.cpp).
OUT_OF_MEMORY_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "unable to find an engine",
)


@dataclass(frozen=True)
class Device:
    """Where a cell runs; `index` counts GPUs and is None for the CPU.

    `cuda` is `torch.cuda` or a stand-in for it.
    """

    kind: str
    index: int | None = None
    cuda: Any = torch.cuda

    @property
    def name(self) -> str:
        """The device as torch writes it: `cpu`, `cuda:0`."""
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    @property
    def torch(self) -> torch.device:
        """The device as tensors are put there."""
        return torch.device(self.name)

    @property
    def is_cuda(self) -> bool:
        """Whether calls return before their work is done."""
        return self.kind == "cuda"

    def synchronise(self) -> None:
        """Wait until the device has done all work; nothing to do for the CPU."""
        if self.is_cuda:
            self.cuda.synchronize(self.index)

    @property
    def bytes_left(self) -> int:
        """The free bytes of GPU memory; 0 on the CPU."""
        return int(self.cuda.mem_get_info(self.index)[0]) if self.is_cuda else 0

    @property
    def rounds_to_tf32(self) -> bool:
        """Whether torch lets it round products or convolutions of float32."""
        return self.is_cuda and _rounds_to_tf32()

    def release(self) -> None:
        """Give cached GPU memory back, which another process may need."""
        if self.is_cuda:
            self.cuda.empty_cache()

    @property
    def clock(self) -> Clock:
        """The clock that waits for this device."""
        return WallClock(self.synchronise if self.is_cuda else None)

    @property
    def device_clock(self) -> Callable[[float], Clock] | None:
        """The maker of a clock of the device's own time; None on the CPU."""
        if not self.is_cuda:
            return None
        return lambda head_start: EventClock(head_start, self.cuda)


def choose(name: str, cuda: Any = torch.cuda) -> Device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:N` names.

    Raises UsageError for another name and for a GPU that is not there: what was
    asked for is never replaced by the CPU.
    """
    kind, _, number = name.partition(":")
    available = cuda.device_count() if cuda.is_available() else 0
    if name == "auto":
        return Device("cuda", 0, cuda) if available else Device("cpu")
    if name == "cpu":
        return Device("cpu")
    if kind != "cuda" or not (number.isdecimal() or name == "cuda"):
        raise UsageError.for_option("--device", name, "auto, cpu, cuda or cuda:N")
    index = int(number or 0)
    if index >= available:
        raise UsageError.for_option(
            "--device", name, f"a GPU that torch can see; it sees {available} here"
        )
    return Device("cuda", index, cuda)


@dataclass(frozen=True)
class Observed:
    """What torch says is in force, after it was asked for."""

    threads: int
    interop_threads: int
    tf32: bool
    cudnn_benchmark: bool
    denormals_flushed: bool


def for_training(name: str) -> Device:
    """Return the device of that name, made current, without TF32.

    Raises UsageError for a device that is not there.
    """
    device = choose(name)
    set_float32_precision(tf32=False)
    if device.is_cuda:
        device.cuda.set_device(device.index)
    return device


def set_float32_precision(*, tf32: bool) -> None:
    """Let CUDA round float32 products to TF32, or not.

    torch itself lets convolutions round. It has an older and a newer name for each
    setting, and reading one raises where only the other was set, as torch.compile does.
    Some versions warn of the older one.
    """
    precision = "tf32" if tf32 else "ieee"
    if HAS_PRECISION_NAMES:
        torch.backends.cuda.matmul.fp32_precision = precision
        torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32


def settle(device: Device, *, threads: int, tf32: bool) -> Observed:
    """Set threads and precision, leave other settings at their defaults; return them.

    Intra-operator threads are what `threads` means; the pool between operators is
    left as it is and recorded. cuDNN may try its algorithms out: shapes do not
    change within a cell, and warm-up covers the trials.
    """
    torch.set_num_threads(threads)
    set_float32_precision(tf32=tf32)
    torch.backends.cudnn.benchmark = device.is_cuda
    if device.is_cuda:
        device.cuda.set_device(device.index)
    return Observed(
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        tf32=device.rounds_to_tf32,
        cudnn_benchmark=torch.backends.cudnn.benchmark,
        denormals_flushed=flushes_denormals(),
    )


def _rounds_to_tf32() -> bool:
    return "tf32" in float32_precision().values()


def check_dtype(device: Device, name: str) -> None:
    """Try a small convolution forward and backward at that number format.

    Raises UsageError when the device cannot compute it.
    """
    dtype = DTYPES[name]
    try:
        layer = torch.nn.Conv2d(4, 4, 3, device=device.torch, dtype=dtype)
        image = torch.ones(1, 4, 8, 8, device=device.torch, dtype=dtype)
        layer(image).sum().backward()
    except RuntimeError as error:
        raise UsageError.for_option(
            "--dtype", name, f"a format that {device.name} can compute ({error})"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(error) for text in OUT_OF_MEMORY_MESSAGES)
