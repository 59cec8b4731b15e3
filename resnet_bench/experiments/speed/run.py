"""Times one setting of one model, visit by visit; called where cells run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

from resnet_bench.catalogue import RUNTIMES, TORCH
from resnet_bench.engine import devices
from resnet_bench.engine.cpu import computes_bfloat16, usable_cores
from resnet_bench.engine.devices import Device
from resnet_bench.engine.models import resnets as models
from resnet_bench.engine.models.work import work_of
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.runtimes.base import Terms, check_runtime
from resnet_bench.engine.timing.breakdown import stages_of
from resnet_bench.engine.timing.workload import check_compiler, hush_compiler
from resnet_bench.errors import UsageError
from resnet_bench.execution.base import LONGEST_FAILURE
from resnet_bench.experiments.speed.cells import (
    BREAKDOWN_LAYER,
    BREAKDOWN_STAGE,
    CEILING,
    MEMORY_INFERENCE,
    MEMORY_TRAIN,
    TIME,
    OutOfMemory,
    SpeedCell,
    title_of,
)
from resnet_bench.experiments.speed.grid import FIRST, preparing_seconds, resolved
from resnet_bench.experiments.speed.measures.memory import measure_peak_memory
from resnet_bench.experiments.speed.measures.network import builder_of
from resnet_bench.experiments.speed.measures.timing import (
    measure_ceiling,
    measure_scaling,
    time_parts,
    time_phases,
)
from resnet_bench.experiments.speed.settings import LADDER, PROTOCOLS, Rung
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.records import Record

#: What a run takes besides its cells' own time, in seconds: loading torch, and per
#: cell a child that builds a model (two CPU cores).
START_SECONDS = 10.0
CELL_SECONDS = 1.5

#: FLOP/s of a forward pass in float32, for estimates only: of a core with AVX-512 (130
#: GFLOP/s seen), and of a GPU.
CORE_RATE = 1.3e11
CUDA_RATE = 1e13


def prepare(config: Config) -> Config:
    """Fill in what depends on the machine and refuse what it cannot do.

    Raises UsageError for a device, number format, model or image size that would
    fail later.
    """
    device = devices.choose(config.device)
    if config.ladder:
        config = replace(config, unsupported=_unsupported(device, config.mode))
    ready = resolved(config, device.name, usable_cores())
    if ready.cuda_graphs and not device.is_cuda:
        raise UsageError("--cuda-graphs: expected with CUDA only")
    if ready.tf32 and not device.is_cuda:
        raise UsageError("--tf32: expected with CUDA only; the CPU has no TF32")
    if ready.compile:
        check_compiler(device.kind)
    if ready.streams and ready.streams > (least := min(ready.threads)):
        # More would wait for each other: no visit could be told from a disturbed one.
        raise UsageError(
            f"--streams {ready.streams}: expected no more than threads ({least}), "
            "which they share: fewer streams, or more --threads"
        )
    for runtime, dtype in product(ready.runtime, ready.dtype):
        if dtype in RUNTIMES[runtime].dtypes:
            _check_format(device, None if runtime == TORCH else runtime, dtype)
    _check_models(ready)
    return ready


def _check_format(device: Device, runtime: str | None, dtype: str) -> None:
    """Raise UsageError where torch, or another runtime, cannot compute so here."""
    if runtime is None:
        devices.check_dtype(device, dtype)
    else:
        check_runtime(Terms(runtime, dtype, 1, device.kind, device.index))


def _unsupported(device: Device, mode: str | None) -> tuple[tuple[str, str], ...]:
    """Return the steps of the ladder that cannot be taken here, with the reason."""
    reasons = ((rung.name, _reason_against(rung, device, mode)) for rung in LADDER)
    return tuple((name, reason) for name, reason in reasons if reason is not None)


def _reason_against(rung: Rung, device: Device, mode: str | None) -> str | None:
    if rung.runtime and mode == "train":
        return "is for inference"
    if rung.needs_cuda and not device.is_cuda:
        return "needs a CUDA device"
    if rung.keep_memory and device.is_cuda:
        return "is about memory of the CPU"
    on_cpu = not (rung.runtime or device.is_cuda)
    if on_cpu and rung.dtype == "bfloat16" and not computes_bfloat16():
        return "this CPU has no instructions for bfloat16 and would convert each value"
    try:
        if rung.compiled:
            check_compiler(device.kind)
        _check_format(device, rung.runtime, rung.dtype)
    except UsageError as error:
        return str(error)
    return None


def _check_models(config: Config) -> None:
    names = {"train": [True], "infer": [False], "both": [True, False]}
    sizes = [size if isinstance(size, int) else FIRST for size in config.batch_size]
    shapes = product(sizes, config.image_size, names[config.mode or "both"])
    candidates = [
        *(
            (title_of(depth, each), models.meta_variant(depth, each))
            for depth in config.variants
            for each in config.shortcut
        ),
        *((name, models.model_builder(name)()) for name in config.model),
    ]
    if config.breakdown:
        for name, model in candidates:
            stages_of(model, name)
    for (name, model), (batch_size, image_size, training) in product(
        candidates, list(shapes)
    ):
        models.check_images(
            model,
            name,
            batch_size=batch_size,
            image_size=image_size,
            training=training,
        )


def estimate(config: Config, cells: Sequence[SpeedCell]) -> float | None:
    """Return about how many seconds a run takes: its budget, or a protocol's calls."""
    if config.budget is not None:
        return START_SECONDS + config.budget
    own = sum(_cell_seconds(cell) + CELL_SECONDS for cell in cells)
    return START_SECONDS + own + preparing_seconds(cells)


def _cell_seconds(cell: SpeedCell) -> float:
    """Return about what the calls of a cell's protocol take."""
    protocol = PROTOCOLS.get(cell.protocol or "")
    if protocol is None or cell.measure != TIME:
        return CELL_SECONDS
    passes = protocol.training_passes * cell.trains
    passes += protocol.inference_passes * cell.infers
    work = work_of(builder_of(cell)(), cell.image_size or 1)
    rate = CUDA_RATE if cell.device == "cuda" else CORE_RATE * cell.threads
    return passes * float(work.flop or 0) * (cell.batch_size or FIRST) / rate


MEASURES: dict[str, Callable[[SpeedCell, Ranks], Iterator[Record]]] = {
    TIME: time_phases,
    MEMORY_TRAIN: measure_peak_memory,
    MEMORY_INFERENCE: measure_peak_memory,
    CEILING: measure_ceiling,
    BREAKDOWN_STAGE: time_parts,
    BREAKDOWN_LAYER: time_parts,
}


def run(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Measure the cell; each step of the generator is one visit.

    A cell that does not fit in memory yields that as its result.
    """
    hush_compiler()
    for option in ("protocol", "runtime"):
        value = getattr(cell, option)
        if value is not None and not ranks.alone:
            raise UsageError(f"--{option} {value}: expected with one process only")
    try:
        if cell.measure == TIME and cell.trains and not ranks.alone:
            yield from measure_scaling(cell, ranks)
        yield from MEASURES[cell.measure](cell, ranks)
    except (MemoryError, RuntimeError) as error:
        if not devices.is_out_of_memory(error) or not ranks.alone:
            raise
        yield OutOfMemory(message=" ".join(str(error).split())[:LONGEST_FAILURE])
