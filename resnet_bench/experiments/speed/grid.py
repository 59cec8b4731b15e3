"""From a config to its grid of cells, with what the machine and profiles decide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from resnet_bench.experiments.speed.cells import (
    BREAKDOWNS,
    CEILING,
    MEMORY_INFERENCE,
    MEMORY_TRAIN,
    PLAIN,
    RESIDUAL,
    TIME,
    SpeedCell,
)
from resnet_bench.experiments.speed.protocols import TIMM, TORCH_TIMER
from resnet_bench.experiments.speed.settings import LADDER, Rung

if TYPE_CHECKING:
    from resnet_bench.experiments.speed.spec import Config


@dataclass(frozen=True)
class Profile:
    """How long and how precisely to measure when no option says so.

    `precision` is the relative half width of a median's interval; the times are
    seconds per cell.
    """

    precision: float
    cpu_seconds: float
    cuda_seconds: float


PROFILES = {
    "quick": Profile(precision=0.05, cpu_seconds=3.0, cuda_seconds=1.0),
    "standard": Profile(precision=0.02, cpu_seconds=10.0, cuda_seconds=3.0),
    "thorough": Profile(precision=0.01, cpu_seconds=60.0, cuda_seconds=20.0),
}


DEFAULT_VARIANTS = (18, 34, 50)

#: Passes per memory cell where the cost of the shortcut is asked for: each in a fresh
#: child, so that the ratio has an interval.
MEMORY_REPEATS = 5
CPU_BATCH_SIZE = 4
CUDA_BATCH_SIZE = 128


def resolved(config: Config, device: str, threads: int) -> Config:
    """Fill in what depends on the machine: device, threads and what follows of them.

    `device` is `cpu` or `cuda:N`; `threads` the default number of CPU threads.
    """
    on_cpu = device == "cpu"
    batch_size = CPU_BATCH_SIZE if on_cpu else CUDA_BATCH_SIZE
    return replace(
        config,
        device=device,
        variants=config.variants or (() if config.model else DEFAULT_VARIANTS),
        batch_size=config.batch_size or (batch_size,),
        threads=config.threads or _default_threads(config, threads),
        tf32=config.tf32 or (config.protocol == TIMM and not on_cpu),
        dtype=_computing_types(config),
        # A protocol has its own rules for both, so the run does not claim any.
        precision=None if config.protocol else _precision(config),
        max_time=None if config.protocol else _seconds(config, on_cpu=on_cpu),
    )


def _precision(config: Config) -> float:
    return config.precision or PROFILES[config.profile].precision


def _seconds(config: Config, *, on_cpu: bool) -> float:
    profile = PROFILES[config.profile]
    return config.max_time or (profile.cpu_seconds if on_cpu else profile.cuda_seconds)


def _default_threads(config: Config, threads: int) -> tuple[int, ...]:
    """Timer runs on one thread unless it is told otherwise."""
    return (1,) if config.protocol == TORCH_TIMER else (threads,)


def _computing_types(config: Config) -> tuple[str, ...]:
    """Autocast in float32 would do nothing, so bfloat16 takes its place."""
    if not config.amp:
        return config.dtype
    types = ("bfloat16" if name == "float32" else name for name in config.dtype)
    return tuple(dict.fromkeys(types))


def expand(config: Config) -> list[SpeedCell]:
    """List a resolved config's cells: timing, parts, ceilings, then memory."""
    sizes = {key: batch_size for key, _, batch_size in config.fitted or ()}
    timing = [
        replace(cell, batch_size=cell.batch_size or sizes.get(cell.key))
        for cell in timing_cells(config)
    ]
    ceilings = dict.fromkeys(_ceiling_cell(cell) for cell in timing)
    memory = [
        replace(cell, measure=measure, repeat=repeat)
        for repeat in _repeats(config)
        for cell in timing
        if repeat is None or cell.architecture is not None
        for measure in _memory_passes(cell)
    ]
    return [*timing, *_breakdown_cells(config, timing), *ceilings, *memory]


def _breakdown_cells(config: Config, timing: list[SpeedCell]) -> list[SpeedCell]:
    if config.breakdown is None:
        return []
    return [replace(cell, measure=BREAKDOWNS[config.breakdown]) for cell in timing]


def _repeats(config: Config) -> tuple[int | None, ...]:
    """Return the numbers of the memory passes; the first one has none.

    The others are for networks with and without shortcuts, not for own models.
    """
    compared = {RESIDUAL, PLAIN} <= set(config.architecture) and config.variants
    return (None, *range(2, MEMORY_REPEATS + 1)) if compared else (None,)


def _memory_passes(cell: SpeedCell) -> list[str]:
    """Return the memory passes that say something about the cell.

    Where code is compiled on the CPU the compiler's own memory would be the peak.
    """
    if cell.compiled and cell.device == "cpu":
        return []
    asked = {MEMORY_TRAIN: cell.trains, MEMORY_INFERENCE: cell.infers}
    return [measure for measure, wanted in asked.items() if wanted]


def timing_cells(config: Config) -> list[SpeedCell]:
    """Return the grid in the order of the options, repeats left out.

    Where the largest batch is asked for, `batch_size` is None.
    """
    if not config.threads:
        raise ValueError("expand() takes a config that resolved() has filled in")
    device, _, index = config.device.partition(":")
    grid = product(
        _subjects(config),
        config.batch_size,
        config.image_size,
        config.threads,
        _settings(config),
    )
    cells = [
        SpeedCell(
            measure=TIME,
            device=device,
            device_index=int(index) if index else None,
            batch_size=batch_size if isinstance(batch_size, int) else None,
            requested_batch_size=batch_size,
            image_size=image_size,
            threads=threads,
            mode=config.mode,
            seed=config.seed,
            precision=_precision(config),
            max_time_seconds=_seconds(config, on_cpu=device == "cpu"),
            protocol=config.protocol,
            **subject,
            **setting,
        )
        for subject, batch_size, image_size, threads, setting in grid
    ]
    return list(dict.fromkeys(cells))


def _settings(config: Config) -> list[dict[str, Any]]:
    """Return how each subject is run: the options' way, or the ladder's ways."""
    if config.ladder:
        refused = dict(config.unsupported)
        return [_rung_setting(rung) for rung in LADDER if rung.name not in refused]
    return [
        {
            "dtype": dtype,
            "amp": config.amp,
            "tf32": config.tf32,
            "channels_last": config.channels_last,
            "compiled": config.compile,
            "cuda_graphs": config.cuda_graphs,
        }
        for dtype in config.dtype
    ]


def _rung_setting(rung: Rung) -> dict[str, Any]:
    return {
        "rung": rung.name,
        "dtype": rung.dtype,
        "amp": rung.amp,
        "tf32": rung.tf32,
        "channels_last": rung.channels_last,
        "compiled": rung.compiled,
        "cuda_graphs": rung.cuda_graphs,
    }


def _subjects(config: Config) -> list[dict[str, Any]]:
    """Return what is timed: variants, each in its architectures, then own models."""
    return [
        *(
            {"variant": variant, "architecture": architecture}
            for variant in config.variants
            for architecture in config.architecture
        ),
        *({"model": name} for name in config.model),
    ]


def _ceiling_cell(cell: SpeedCell) -> SpeedCell:
    """Return the cell that measures what limits this one."""
    return replace(
        cell,
        measure=CEILING,
        variant=None,
        model=None,
        architecture=None,
        batch_size=None,
        requested_batch_size=None,
        image_size=None,
        amp=False,
        channels_last=False,
        compiled=False,
        cuda_graphs=False,
        rung=None,
        protocol=None,
        mode="both",
    )
