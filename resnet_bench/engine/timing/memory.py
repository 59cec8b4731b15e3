"""The most memory a piece of work needs, read from marks that only ever rise."""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass

from resnet_bench.engine.devices import Device

#: Unit of `ru_maxrss` (getrusage(2)): kibibytes on Linux, bytes on macOS.
RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Peak:
    """A high-water mark in bytes above the one before the work; None if unknown.

    `reserved_bytes` is what the GPU's allocator held, None on the CPU.
    """

    peak_bytes: int | None
    reserved_bytes: int | None
    baseline_bytes: int | None


def resident_high_water() -> int:
    """Return the most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT_UNIT


def peak_of(
    work: Callable[[], None],
    device: Device,
    high_water: Callable[[], int] = resident_high_water,
) -> Peak:
    """Do the work and return how far it raised the high-water mark.

    On the CPU the process must be fresh: a mark that earlier work left high hides
    what this one needs. A mark that did not move tells nothing, so it is unknown
    and not 0.
    """
    if device.is_cuda:
        return _cuda_peak(work, device)
    baseline = high_water()
    work()
    risen = high_water() - baseline
    return Peak(risen if risen > 0 else None, None, baseline)


def _cuda_peak(work: Callable[[], None], device: Device) -> Peak:
    """Read the allocator's peaks, not what is allocated when the work is over."""
    device.cuda.reset_peak_memory_stats(device.index)
    baseline = device.cuda.memory_allocated(device.index)
    work()
    device.synchronise()
    peak = device.cuda.max_memory_allocated(device.index) - baseline
    reserved = device.cuda.max_memory_reserved(device.index)
    return Peak(peak or None, reserved or None, baseline)
