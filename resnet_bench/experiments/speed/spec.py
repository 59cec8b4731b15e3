"""What `speed` can be asked, the cells it visits and the records they yield."""

from collections.abc import Mapping
from dataclasses import dataclass

from resnet_bench.catalogue import INT8, RUNTIMES, TORCH
from resnet_bench.errors import UsageError
from resnet_bench.experiments.options import (
    LARGEST_BATCH,
    LARGEST_IMAGE,
    DeviceOptions,
    VariantOptions,
)
from resnet_bench.experiments.speed.cells import (
    AUTO,
    BREAKDOWNS,
    PLAIN,
    RESIDUAL,
    BreakdownSamples,
    CeilingSamples,
    OutOfMemory,
    PeakMemory,
    ScalingSamples,
    SpeedSamples,
)
from resnet_bench.experiments.speed.settings import PROFILES, PROTOCOLS
from resnet_bench.options import MEASURED, inherited, kept, option

DTYPES = ("float32", "bfloat16", "float16", INT8)
#: Short names that people use, and what they stand for.
DTYPE_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
SHORTCUTS = (RESIDUAL, PLAIN)
MODES = ("train", "infer", "both")


def parse_fraction(text: str) -> float:
    """Read `0.02` or `2%` as a fraction.

    Raises ValueError for anything else.
    """
    number = text.strip()
    try:
        return float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{text!r}: expected a fraction such as 0.02 or 2%") from None


def parse_batch_size(text: str) -> int | str:
    """Read a number of images, or `auto`.

    Raises ValueError for anything else.
    """
    if text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r}: expected a whole number or {AUTO}") from None


def parse_dtype(text: str) -> str:
    """Read a number format, or its short name.

    Raises ValueError for anything else.
    """
    name = DTYPE_NAMES.get(text, text)
    if name not in DTYPES:
        raise ValueError(f"{text!r}: expected {', '.join([*DTYPES, *DTYPE_NAMES])}")
    return name


@dataclass(frozen=True, kw_only=True)
class Config(DeviceOptions, VariantOptions):
    """The options of `speed`; `None` and `()` are filled in by `resolved`."""

    variants: tuple[int, ...] = inherited(
        VariantOptions,
        "variants",
        (),
        metavar="18,34,…|all",
        help="ResNets of torchvision to time [default: 18,34,50; none with --model].",
    )
    model: tuple[str, ...] = option(
        (),
        metavar="PACKAGE.MODULE:FUNCTION",
        help="Time your own model (and ResNets only with --variants): a function "
        "without arguments that returns an nn.Module for images of three "
        "channels.",
    )
    shortcut: tuple[str, ...] = option(
        (RESIDUAL,),
        choices=SHORTCUTS,
        help="residual: as torchvision builds them; plain: without their shortcuts; "
        "residual,plain shows what the shortcuts cost.",
    )
    batch_size: tuple[int | str, ...] = option(
        (),
        flags=("-b",),
        parse=parse_batch_size,
        minimum=1,
        maximum=LARGEST_BATCH,
        metavar="N,…|auto",
        help="Images per call; auto: the largest number that fits into memory "
        "[default: 4 on the CPU, 128 on CUDA].",
    )
    image_size: tuple[int, ...] = option(
        (224,),
        minimum=1,
        maximum=LARGEST_IMAGE,
        help="Height and width of the images, in pixels.",
    )
    runtime: tuple[str, ...] = option(
        (TORCH,),
        choices=tuple(RUNTIMES),
        help="torch, or for inference another runtime, to which the network is "
        "exported (extra: runtimes).",
    )
    dtype: tuple[str, ...] = option(
        ("float32",),
        parse=parse_dtype,
        metavar="float32,bf16,…",
        help="Number formats of weights and images: float32, bfloat16 (bf16), float16 "
        "(fp16); int8 in runtimes that quantise.",
    )
    amp: bool = option(
        False,
        help="Keep float32 weights and compute in --dtype under autocast (bfloat16 "
        "where --dtype is float32).",
    )
    tf32: bool = option(
        False,
        help="Let CUDA round float32 products to TF32; off unless given.",
    )
    channels_last: tuple[str, ...] = option(
        ("no",),
        choices=("yes", "no"),
        bare="yes",
        metavar="[yes,no]",
        help="Keep images and weights in memory as NHWC instead of NCHW; yes,no "
        "times both.",
    )
    keep_memory: bool = option(
        False,
        help="Let the C library keep freed memory for the next step; your own "
        "programs do not, unless they set it.",
    )
    compile: bool = option(
        False,
        help="Compile the network with torch.compile, from an empty cache; the time "
        "this takes is shown separately.",
    )
    cuda_graphs: bool = option(
        False,
        help="Replay the compiled code as CUDA graphs; with --compile, on CUDA only.",
    )
    ladder: bool = option(
        False,
        help="Find the fastest setting: time float32, channels-last, lower precision, "
        "compiled, CUDA graphs and other runtimes, each compared with the one "
        "before.",
    )
    breakdown: str | None = option(
        None,
        choices=tuple(BREAKDOWNS),
        help="Time the network's parts as well: stem, layer1 to layer4 and fc, or each "
        "residual block.",
    )
    protocol: str | None = option(
        None,
        choices=tuple(PROTOCOLS),
        help="Measure by another project's rules (what a time includes, how many "
        "calls, which statistic), to compare with its figures.",
        heading=MEASURED,
    )
    threads: tuple[int, ...] = option(
        (),
        minimum=1,
        help="CPU threads [default: physical cores, within CPU affinity and container "
        "quota].",
        heading=MEASURED,
    )
    streams: int | None = option(
        None,
        minimum=2,
        help="Also time N concurrent calls of inference that share the threads; their "
        "throughput has its own column.",
        heading=MEASURED,
    )
    mode: str | None = option(
        None,
        choices=MODES,
        help="Time training steps, inference or both [default: both; infer with "
        "runtimes other than torch].",
        heading=MEASURED,
    )
    precision: float | None = option(
        None,
        parse=parse_fraction,
        above=0,
        below=1,
        help="Stop once the 95 % interval of every time is within this fraction of it "
        "[default: 0.02].",
        heading=MEASURED,
    )
    budget: float | None = option(
        None,
        above=0,
        help="Seconds for the whole run, from the first worker to the last sample "
        "[default: 100 for three rows; more for more rows].",
        heading=MEASURED,
    )
    profile: str = option(
        "standard",
        choices=tuple(PROFILES),
        help="Sets --precision and --budget where they are not given.",
        heading=MEASURED,
    )
    seed: int = inherited(
        DeviceOptions, "seed", 0, help="Seed of weights, images and targets."
    )

    #: Steps of the ladder that this machine cannot take, each with the reason; found
    #: out before the run.
    unsupported: tuple[tuple[str, str], ...] = ()

    #: The largest batches that fit: the cell's key, what was found in words, the batch.
    #: A resumed run keeps them.
    fitted: tuple[tuple[str, str, int], ...] | None = kept(None)

    def __post_init__(self) -> None:
        """Check what can be checked without torch; raises UsageError."""
        super().__post_init__()
        self._check_ladder()
        if self.cuda_graphs and not self.compile:
            raise UsageError("--cuda-graphs: expected together with --compile")
        self._check_breakdown()
        self._check_protocol()
        self._check_runtimes()
        if self.streams:
            _refuse(
                {
                    "--mode train": self.mode == "train",
                    "--compile": self.compile,
                    "--protocol": self.protocol is not None,
                    f"--device {self.device}": self.device.startswith("cuda"),
                },
                "--streams: expected without {}",
            )

    @property
    def other_runtimes(self) -> tuple[str, ...]:
        """The runtimes that are asked for beside torch."""
        return tuple(name for name in self.runtime if name != TORCH)

    def _check_runtimes(self) -> None:
        """Refuse what other runtimes than torch do not do."""
        for name in self.other_runtimes:
            _refuse(
                {
                    f"--mode {self.mode}": self.mode in ("train", "both"),
                    "--amp": self.amp,
                    "--tf32": self.tf32,
                    "--channels-last": self.channels_last != ("no",),
                    "--compile": self.compile,
                    "--breakdown": self.breakdown is not None,
                    f"--batch-size {AUTO}": AUTO in self.batch_size,
                    "--protocol": self.protocol is not None,
                },
                f"{{}}: expected without --runtime {name}, which is for inference by "
                "its own rules; --ladder compares it with torch's settings",
            )
        for name in self.runtime:
            known = RUNTIMES[name].dtypes
            if not set(known) & set(self.dtype):
                asked, accepted = ",".join(self.dtype), " or ".join(known)
                raise UsageError(
                    f"--dtype {asked}: expected {accepted} with --runtime {name}"
                )
        for dtype in set(self.dtype) - {
            dtype for name in self.runtime for dtype in RUNTIMES[name].dtypes
        }:
            able = [name for name, row in RUNTIMES.items() if dtype in row.dtypes]
            raise UsageError(
                f"--dtype {dtype}: expected with --runtime {' or '.join(able)}"
            )

    def _check_ladder(self) -> None:
        """Refuse settings that the ladder makes itself."""
        if self.ladder:
            _refuse(
                {
                    "--dtype": self.dtype != ("float32",),
                    "--amp": self.amp,
                    "--tf32": self.tf32,
                    "--channels-last": self.channels_last != ("no",),
                    "--keep-memory": self.keep_memory,
                    "--compile": self.compile,
                    "--cuda-graphs": self.cuda_graphs,
                    "--breakdown": self.breakdown is not None,
                    f"--batch-size {AUTO}": AUTO in self.batch_size,
                    "--protocol": self.protocol is not None,
                    "--runtime": self.runtime != (TORCH,),
                },
                "--ladder: expected without {}",
            )

    def _check_breakdown(self) -> None:
        """Refuse what parts are not timed with."""
        if self.breakdown and self.protocol:
            raise UsageError("--breakdown: expected without --protocol")
        if self.breakdown and (self.compile or self.mode == "infer"):
            raise UsageError(
                "--breakdown: expected without --compile and --mode infer; it times "
                "the parts of a training step, operator by operator"
            )

    def _check_protocol(self) -> None:
        """Refuse what another project's rules leave no room for."""
        if self.protocol:
            _refuse(
                {
                    "--precision": self.precision is not None,
                    "--budget": self.budget is not None,
                },
                f"{{}}: expected without --protocol; {self.protocol} fixes the number "
                "of calls",
            )


def _refuse(given: Mapping[str, bool], message: str) -> None:
    """Raise UsageError, `message` with the first option's name, if one is given."""
    for name in (name for name, is_given in given.items() if is_given):
        raise UsageError(message.format(name))


RECORDS = (
    BreakdownSamples,
    SpeedSamples,
    PeakMemory,
    CeilingSamples,
    ScalingSamples,
    OutOfMemory,
)
