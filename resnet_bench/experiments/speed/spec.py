"""What `speed` can be asked, the cells it visits and the records they yield."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from resnet_bench.catalogue import VARIANTS, parse_variants
from resnet_bench.experiments.speed.cells import (
    CEILING,
    MEMORY_INFERENCE,
    MEMORY_TRAIN,
    PLAIN,
    RESIDUAL,
    TIME,
    SpeedCell,
)
from resnet_bench.experiments.speed.records import (
    CeilingSamples,
    OutOfMemory,
    PeakMemory,
    SpeedSamples,
)
from resnet_bench.options import check, option

DTYPES = ("float32", "bfloat16", "float16")
ARCHITECTURES = (RESIDUAL, PLAIN)
MODES = ("train", "infer", "both")


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


def parse_fraction(text: str) -> float:
    """Read `0.02` or `2%` as a fraction.

    Raises ValueError for anything else.
    """
    number = text.strip()
    try:
        return float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{text!r}: expected a fraction such as 0.02 or 2%") from None


@dataclass(frozen=True, kw_only=True)
class Config:
    """The options of `speed`; `None` and `()` are filled in by `resolved`."""

    variants: tuple[int, ...] = option(
        (),
        parse=parse_variants,
        metavar="18,34,…|all",
        help="ResNets of torchvision to time [default: 18,34,50; none with --model].",
    )
    model: tuple[str, ...] = option(
        (),
        metavar="PACKAGE.MODULE:FUNCTION",
        help="Time your own model too: a function that takes nothing and returns an "
        "nn.Module for images of three channels.",
    )
    architecture: tuple[str, ...] = option(
        (RESIDUAL,),
        choices=ARCHITECTURES,
        help="residual: as torchvision builds them; plain: without their shortcuts. "
        "Both together tell what the shortcut costs.",
    )
    device: str = option(
        "auto",
        metavar="auto|cpu|cuda|cuda:N",
        help="Where to run; auto prefers CUDA.",
    )
    batch_size: tuple[int, ...] = option(
        (),
        flags=("-b",),
        help="Images per call [default: 4 on the CPU, 128 on CUDA].",
    )
    image_size: tuple[int, ...] = option(
        (224,), help="Height and width of the images, in pixels."
    )
    dtype: tuple[str, ...] = option(
        ("float32",), choices=DTYPES, help="Number format of weights and images."
    )
    amp: bool = option(
        False,
        help="Keep float32 weights and compute in --dtype under autocast (bfloat16 "
        "where --dtype is float32).",
    )
    tf32: bool = option(
        False,
        help="Let CUDA round float32 products to TF32; off so float32 is float32.",
    )
    channels_last: bool = option(
        False, help="Keep images and weights in memory as NHWC instead of NCHW."
    )
    compile: bool = option(
        False, help="Run through torch.compile, from a cold cache; reported apart."
    )
    threads: tuple[int, ...] = option(
        (),
        help="CPU threads [default: physical cores that affinity and the container's "
        "quota leave].",
    )
    mode: str = option(
        "both", choices=MODES, help="Time training steps, inference or both."
    )
    precision: float | None = option(
        None,
        parse=parse_fraction,
        help="Stop sampling once the 95 % interval of every median is within this "
        "fraction of it [default: 0.02].",
    )
    max_time: float | None = option(
        None,
        help="Seconds that a cell may take in all [default: 10 on the CPU, 3 on CUDA].",
    )
    profile: str = option(
        "standard",
        choices=tuple(PROFILES),
        help="Sets --precision and --max-time where they are not given.",
    )
    seed: int = option(0, help="Seed of weights, images and targets.")

    def __post_init__(self) -> None:
        """Check what can be checked without torch; raises UsageError."""
        sizes = {
            "--batch-size": self.batch_size,
            "--image-size": self.image_size,
            "--threads": self.threads,
        }
        for name, values in sizes.items():
            for value in values:
                check(value >= 1, name, value, "a whole number from 1")
        for variant in self.variants:
            check(
                variant in VARIANTS,
                "--variants",
                variant,
                f"{', '.join(map(str, VARIANTS))} or all",
            )
        if self.precision is not None:
            check(
                0 < self.precision < 1,
                "--precision",
                self.precision,
                "a fraction above 0 and below 1 such as 0.02",
            )
        if self.max_time is not None:
            check(
                0 < self.max_time < float("inf"),
                "--max-time",
                self.max_time,
                "a number of seconds above 0",
            )
        check(0 <= self.seed < 2**63, "--seed", self.seed, "a whole number from 0")


RECORDS = (SpeedSamples, PeakMemory, CeilingSamples, OutOfMemory)

EXAMPLES = (
    "speed --variants 18,34,50",
    "speed --variants 18 -b 1,4,16 --dtype bfloat16 --mode infer",
)

DEFAULT_VARIANTS = (18, 34, 50)
CPU_BATCH_SIZE = 4
CUDA_BATCH_SIZE = 128


def resolved(config: Config, device: str, threads: int) -> Config:
    """Fill in what depends on the machine: device, threads and what follows of them.

    `device` is `cpu` or `cuda:N`; `threads` the default number of CPU threads.
    """
    profile = PROFILES[config.profile]
    on_cpu = device == "cpu"
    seconds = profile.cpu_seconds if on_cpu else profile.cuda_seconds
    batch_size = CPU_BATCH_SIZE if on_cpu else CUDA_BATCH_SIZE
    return replace(
        config,
        device=device,
        variants=config.variants or (() if config.model else DEFAULT_VARIANTS),
        batch_size=config.batch_size or (batch_size,),
        threads=config.threads or (threads,),
        dtype=_computing_types(config),
        precision=config.precision or profile.precision,
        max_time=config.max_time or seconds,
    )


def _computing_types(config: Config) -> tuple[str, ...]:
    """Autocast in float32 would do nothing, so bfloat16 takes its place."""
    if not config.amp:
        return config.dtype
    types = ("bfloat16" if name == "float32" else name for name in config.dtype)
    return tuple(dict.fromkeys(types))


def expand(config: Config) -> list[SpeedCell]:
    """List the cells of a resolved config: timing, then ceilings, then memory."""
    timing = _timing_cells(config)
    ceilings = dict.fromkeys(_ceiling_cell(cell) for cell in timing)
    memory = [
        replace(cell, measure=measure)
        for cell in timing
        for measure in _memory_passes(cell)
    ]
    return [*timing, *ceilings, *memory]


def _memory_passes(cell: SpeedCell) -> list[str]:
    asked = {MEMORY_TRAIN: cell.trains, MEMORY_INFERENCE: cell.infers}
    return [measure for measure, wanted in asked.items() if wanted]


def _timing_cells(config: Config) -> list[SpeedCell]:
    """Return the grid in the order of the options, repeats left out."""
    if config.precision is None or config.max_time is None:
        raise ValueError("expand() takes a config that resolved() has filled in")
    device, _, index = config.device.partition(":")
    grid = product(
        _subjects(config),
        config.batch_size,
        config.image_size,
        config.dtype,
        config.threads,
    )
    cells = [
        SpeedCell(
            measure=TIME,
            **subject,
            device=device,
            device_index=int(index) if index else None,
            batch_size=batch_size,
            requested_batch_size=batch_size,
            image_size=image_size,
            dtype=dtype,
            amp=config.amp,
            tf32=config.tf32,
            channels_last=config.channels_last,
            compiled=config.compile,
            threads=threads,
            mode=config.mode,
            seed=config.seed,
            precision=config.precision,
            max_time_seconds=config.max_time,
        )
        for subject, batch_size, image_size, dtype, threads in grid
    ]
    return list(dict.fromkeys(cells))


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
        channels_last=False,
        compiled=False,
        mode="both",
    )
