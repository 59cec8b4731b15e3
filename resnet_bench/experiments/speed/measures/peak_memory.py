"""Finds the peak memory of training steps, or of inference, in a fresh child."""

from collections.abc import Iterator
from contextlib import nullcontext

from resnet_bench.engine import devices
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.timing.memory import peak_of
from resnet_bench.engine.timing.workload import cold_compile_cache, rehearse, use_memory
from resnet_bench.experiments.speed.cells import MEMORY_TRAIN, SpeedCell
from resnet_bench.experiments.speed.measures.subject import builder_of, setting_of
from resnet_bench.experiments.speed.records import PeakMemory
from resnet_bench.records import Record


def measure_peak_memory(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Build the model and use it in a process that has done nothing else."""
    setting = setting_of(cell)
    trains = cell.measure == MEMORY_TRAIN
    devices.settle(setting.device, threads=cell.threads, tf32=cell.tf32)
    build = builder_of(cell)
    with cold_compile_cache() if cell.compiled else nullcontext():
        rehearse(setting, trains=trains)
        peak = peak_of(
            lambda: use_memory(build, setting, trains=trains), setting.device
        )
    yield PeakMemory(
        peak_bytes=peak.peak_bytes,
        reserved_bytes=peak.reserved_bytes,
        baseline_bytes=peak.baseline_bytes,
    )
