"""Tries whether a batch fits in memory; called in a child that may die of it."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import psutil
import torch

from resnet_bench.engine import devices
from resnet_bench.engine.cpu import bytes_left
from resnet_bench.engine.devices import Device
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.timing.workload import (
    cold_compile_cache,
    memory_unit,
    peak_of_calls,
    rehearse,
)
from resnet_bench.experiments.speed.cells import MEMORY_TRAIN, PeakMemory, SpeedCell
from resnet_bench.experiments.speed.measures.network import builder_of, setting_of
from resnet_bench.records import Record


def measure_peak_memory(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Build the model and use it in a process that has done nothing else."""
    setting = setting_of(cell)
    trains = cell.measure == MEMORY_TRAIN
    devices.settle(setting.device, threads=cell.threads, tf32=cell.tf32)
    build = builder_of(cell)
    with cold_compile_cache() if cell.compiled else nullcontext():
        rehearse(setting, trains=trains)
        peak = peak_of_calls(
            lambda: memory_unit(build, setting, trains=trains), setting.device
        )
    setting.device.release()
    yield PeakMemory(
        peak_bytes=peak.peak_bytes,
        reserved_bytes=peak.reserved_bytes,
        baseline_bytes=peak.baseline_bytes,
        first_peak_bytes=peak.first_bytes,
    )


#: Part of the memory left that a batch may take; the rest is for what else runs.
SHARE = 0.8

#: What the command itself takes later on, for its tables and figures (0.27 GB were
#: seen): in a small container it is no small part.
RESERVED_BYTES = 400_000_000

#: What oneDNN says when it gets no memory, among others. What it cannot compute at all,
#: in this number format say, it has refused in the rehearsal, which is not forgiven.
REFUSALS = ("could not create a primitive", "could not create a memory")


def fits(cell: SpeedCell, limit_bytes: int | None = None) -> bool:
    """Say whether the cell's batch fits, by a memory pass in the mode asked for.

    The limit is by default what is left of memory and of the container's share; on
    CUDA it is the device's own. Compiled cells are tried uncompiled: what the compiler
    needs is no part of it.
    """
    setting = replace(setting_of(cell), compiled=False, cuda_graphs=False)
    build, trains = builder_of(cell), cell.trains
    limit = memory_left(setting.device) if limit_bytes is None else limit_bytes
    devices.settle(setting.device, threads=cell.threads, tf32=cell.tf32)
    # Every batch has other shapes: cuDNN would try its algorithms out anew each time.
    torch.backends.cudnn.benchmark = False
    rehearse(setting, trains=trains)
    try:
        with data_limited(limit):
            peak = peak_of_calls(
                lambda: memory_unit(build, setting, trains=trains), setting.device
            )
    except (MemoryError, RuntimeError) as error:
        refused = any(text in str(error) for text in REFUSALS)
        if not (devices.is_out_of_memory(error) or refused):
            raise
        return False
    return limit is None or (peak.peak_bytes or 0) <= limit


def memory_left(device: Device) -> int | None:
    """Return the bytes that a batch may take; None where the device refuses itself."""
    if device.is_cuda:
        return None
    return max(0, int(SHARE * (bytes_left() - RESERVED_BYTES)))


@contextmanager
def data_limited(limit_bytes: int | None) -> Iterator[None]:
    """Let allocations beyond the limit fail, before the kernel has to kill anyone."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if limit_bytes is not None:
        used = getattr(psutil.Process().memory_info(), "data", 0)
        wanted = used + limit_bytes
        hard = before[1]
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
