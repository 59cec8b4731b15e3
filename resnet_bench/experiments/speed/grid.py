"""From a config to its cells, and the largest batches for `--batch-size auto`."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from resnet_bench.catalogue import INT8, RUNTIMES, TORCH, VARIANTS
from resnet_bench.errors import ChildDiedError, UsageError
from resnet_bench.execution.base import Executor
from resnet_bench.experiments.speed.cells import (
    AUTO,
    BREAKDOWNS,
    CEILING,
    MEMORY_INFERENCE,
    MEMORY_TRAIN,
    PLAIN,
    RESIDUAL,
    TIME,
    TRAINED,
    SpeedCell,
)
from resnet_bench.experiments.speed.settings import (
    LADDER,
    PROFILES,
    TIMM,
    TORCH_TIMER,
)
from resnet_bench.experiments.speed.spec import Config

DEFAULT_VARIANTS = (18, 34, 50)

#: Passes per memory cell where the cost of the shortcut is asked for: each in a fresh
#: child, so that the ratio has an interval.
MEMORY_REPEATS = 5

#: A profile's budget is for so many rows, those of the default variants.
ROWS_IN_A_BUDGET = len(DEFAULT_VARIANTS)

#: Seconds that exporting a network to another runtime takes, once to time it and once
#: for its memory pass (8 s for ResNet-18 to 40 s for 152 on two cores).
EXPORT_SECONDS = 20.0

#: Seconds that comparing the answers on trained weights takes.
COMPARING_SECONDS = 5.0

#: Seconds that compiling a network takes on two cores, forward and backward.
COMPILE_SECONDS = 40.0

CPU_BATCH_SIZE = 4
CUDA_BATCH_SIZE = 128


def resolved(config: Config, device: str, threads: int) -> Config:
    """Fill in what depends on the machine: device, threads and what follows of them.

    `device` is `cpu` or `cuda:N`; `threads` the default number of CPU threads.
    """
    on_cpu = device == "cpu"
    batch_size = CPU_BATCH_SIZE if on_cpu else CUDA_BATCH_SIZE
    filled = replace(
        config,
        device=device,
        variants=config.variants or (() if config.model else DEFAULT_VARIANTS),
        batch_size=config.batch_size or (batch_size,),
        threads=config.threads or _default_threads(config, threads),
        tf32=config.tf32 or (config.protocol == TIMM and not on_cpu),
        dtype=_computing_types(config),
        mode=config.mode or ("infer" if config.other_runtimes else "both"),
        # A protocol has its own rules for both, so the run does not claim any.
        precision=None if config.protocol else _precision(config),
    )
    if config.protocol:
        return replace(filled, budget=None)
    return replace(filled, budget=config.budget or _budget(filled))


def _precision(config: Config) -> float:
    return config.precision or PROFILES[config.profile].precision


def _budget(config: Config) -> float:
    """Return the profile's budget, larger for a grid of more than three rows."""
    rows = timing_cells(config)
    share = max(1.0, len(rows) / ROWS_IN_A_BUDGET)
    return PROFILES[config.profile].budget * share + preparing_seconds(rows)


def preparing_seconds(cells: Iterable[SpeedCell]) -> float:
    """Return about how long compiling, exporting and comparing take, all unsampled."""
    return sum(
        COMPILE_SECONDS * cell.compiled
        + EXPORT_SECONDS * (cell.runtime is not None)
        + COMPARING_SECONDS * (cell.weights is not None)
        for cell in cells
    )


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
    # torch has no product of matrices in int8 to set those of others against.
    computed = [cell for cell in timing if cell.dtype in RUNTIMES[TORCH].dtypes]
    ceilings = dict.fromkeys(map(_ceiling_cell, computed))
    memory = [
        replace(cell, measure=measure, repeat=repeat, weights=None)
        for repeat in _repeats(config)
        for cell in timing
        if repeat is None or cell.shortcut is not None
        for measure in _memory_passes(cell)
    ]
    parts = [
        replace(cell, measure=BREAKDOWNS[config.breakdown])
        for cell in timing
        if config.breakdown is not None
    ]
    return [*timing, *parts, *ceilings, *memory]


def _repeats(config: Config) -> tuple[int | None, ...]:
    """Return the numbers of the memory passes; the first one has none.

    The others are for networks with and without shortcuts, not for own models.
    """
    compared = {RESIDUAL, PLAIN} <= set(config.shortcut) and config.variants
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
    settings = _settings(config)
    quantises = any(setting["dtype"] == INT8 for setting in settings)
    grid = product(
        _subjects(config),
        config.batch_size,
        config.image_size,
        config.threads,
        settings,
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
            mode="infer" if setting.get("runtime") else config.mode or "both",
            # Compiled code holds the number of its threads.
            streams=None if setting["compiled"] else config.streams,
            seed=config.seed,
            weights=TRAINED if quantises and _is_trainable(subject) else None,
            protocol=config.protocol,
            **subject,
            **setting,
        )
        for subject, batch_size, image_size, threads, setting in grid
    ]
    return list(dict.fromkeys(cells))


def _is_trainable(subject: Mapping[str, Any]) -> bool:
    """Whether it is a ResNet as published; a person's own model comes as it is."""
    return subject.get("shortcut") == RESIDUAL


def _settings(config: Config) -> list[dict[str, Any]]:
    """Return how each subject is run: the options' way, or the ladder's ways."""
    if config.ladder:
        refused = dict(config.unsupported)
        return [rung.parameters for rung in LADDER if rung.name not in refused]
    return [
        {
            "runtime": None if runtime == TORCH else runtime,
            "dtype": dtype,
            "amp": config.amp,
            "tf32": config.tf32,
            "channels_last": channels_last == "yes",
            "keep_memory": config.keep_memory,
            "compiled": config.compile,
            "cuda_graphs": config.cuda_graphs,
        }
        for runtime, dtype, channels_last in product(
            config.runtime, config.dtype, config.channels_last
        )
        if dtype in RUNTIMES[runtime].dtypes
    ]


def _subjects(config: Config) -> list[dict[str, Any]]:
    """Return what is timed: variants, with and without shortcuts, then own models."""
    return [
        *(
            {"variant": variant, "shortcut": shortcut}
            for variant in config.variants
            for shortcut in config.shortcut
        ),
        *({"model": name} for name in config.model),
    ]


def _ceiling_cell(cell: SpeedCell) -> SpeedCell:
    """Return the cell that measures what limits this one."""
    return SpeedCell(
        measure=CEILING,
        device=cell.device,
        device_index=cell.device_index,
        dtype=cell.dtype,
        amp=False,
        tf32=cell.tf32,
        threads=cell.threads,
        seed=cell.seed,
    )


#: The search doubles from here (batch norm wants two images); no batch is larger than
#: the last, and no search goes on for longer, per setting.
FIRST, LARGEST = 2, 65_536
SEARCH_SECONDS = 120.0
NO_TIME = f"no time for more within {SEARCH_SECONDS:.0f} s"

#: Halving ends when the smallest batch that does not fit is this close.
RESOLUTION = 1 / 16


@dataclass(frozen=True)
class Largest:
    """The largest batch that was seen to fit, 0 for none, and why not a larger one."""

    batch_size: int
    because: str


def largest(
    fits: Callable[[int], bool], now: Callable[[], float] = time.monotonic
) -> Largest:
    """Search by doubling, then by halving what lies between; `now` in seconds.

    A try that would end too late, by what an image took so far, is not begun.
    """
    ends = now() + SEARCH_SECONDS
    low, high, image_seconds = 0, FIRST, 0.0

    def in_time(batch_size: int) -> bool:
        return now() + batch_size * image_seconds <= ends

    began = now()
    while fits(high):
        image_seconds = (now() - began) / high
        low, high = high, 2 * high
        if high > LARGEST:
            return Largest(low, "the largest that is tried")
        if not in_time(high):
            return Largest(low, NO_TIME)
        began = now()
    if low == 0:
        return Largest(int(fits(1)), f"{FIRST} do not fit")
    while high - low > max(1.0, RESOLUTION * low):
        middle = (low + high) // 2
        if not in_time(middle):
            return Largest(low, f"{NO_TIME}; {high} do not fit")
        low, high = (middle, high) if fits(middle) else (low, middle)
    return Largest(low, f"{high} do not fit")


def train_briefly(
    config: Config, executor: Executor, note: Callable[[str], None]
) -> None:
    """Train the weights that answers are compared on, where the cache lacks them."""
    wanted = {
        (cell.variant, cell.image_size)
        for cell in timing_cells(config)
        if cell.weights == TRAINED and cell.infers and cell.variant and cell.image_size
    }
    for variant, image_size in sorted(wanted):
        note(
            f"{VARIANTS[variant].title}: weights for int8, trained briefly at "
            f"{image_size} px the first time (minutes)"
        )
        executor.call(_train_here, variant, image_size, config.device)


def _train_here(variant: int, image_size: int, device: str) -> None:
    """Train, unless the cache has the weights; called where cells run."""
    from resnet_bench.engine.weights.brief import BriefTraining, briefly_trained

    briefly_trained(BriefTraining(variant, image_size), device)


def fitted(config: Config, executor: Executor, note: Callable[[str], None]) -> Config:
    """Return the config with a batch for each setting that asks for the largest.

    What a resumed run found before stays; `note` hears of each try. Raises UsageError
    where cells do not run in children of this machine, and where not even one image
    fits.
    """
    known = {key for key, *_ in config.fitted or ()}
    open_cells = [
        cell
        for cell in timing_cells(config)
        if cell.batch_size is None and cell.key not in known
    ]
    if not open_cells:
        return config
    if not executor.isolates:
        raise UsageError(
            f"--batch-size {AUTO}: expected with --executor processes and one GPU"
        )
    found = []
    for number, cell in enumerate(open_cells, start=1):
        tries = _Tries(cell, executor, note, f"{number}/{len(open_cells)}")
        each = _largest_of(cell, tries)
        words = f"{_subject(cell)}: batch {each.batch_size} ({each.because})"
        found.append((cell.key, words, each.batch_size))
    return replace(config, fitted=(*(config.fitted or ()), *found))


def _largest_of(cell: SpeedCell, fits: Callable[[int], bool]) -> Largest:
    found = largest(fits)
    if not found.batch_size:
        raise UsageError(
            f"--batch-size {AUTO}: {cell.name} does not fit with a single image of "
            f"{cell.image_size} px: choose a smaller --image-size"
        )
    return found


@dataclass
class _Tries:
    """Tries batches of one cell in children and says so."""

    cell: SpeedCell
    executor: Executor
    note: Callable[[str], None]
    count: str
    known: str = ""
    began: float = field(default_factory=time.monotonic)

    def __call__(self, batch_size: int) -> bool:
        """Say whether the batch fits."""
        seconds = time.monotonic() - self.began
        self.note(
            f"[{self.count}] {_subject(self.cell)}: trying batch {batch_size}"
            f"{self.known} ({seconds:.0f} s of {SEARCH_SECONDS:.0f} s)"
        )
        fits = self._fits(batch_size)
        self.known = f"; {batch_size} {'fit' if fits else 'do not fit'}"
        return fits

    def _fits(self, batch_size: int) -> bool:
        try:
            tried = replace(self.cell, batch_size=batch_size)
            return bool(self.executor.call(_fits_here, tried))
        except ChildDiedError:
            return False  # ended by the out-of-memory killer, as it would be again


def _subject(cell: SpeedCell) -> str:
    return f"{cell.name}, {cell.image_size} px, {cell.dtype}"


def announce(config: Config) -> list[str]:
    """Say which batches were found, and which of a grid's settings do not exist."""
    pairs = product(config.runtime, config.dtype)
    return [
        *(f"--batch-size {AUTO}: {what}" for _, what, _ in config.fitted or ()),
        *(
            f"{runtime} does not compute in {dtype} here: left out"
            for runtime, dtype in pairs
            if dtype not in RUNTIMES[runtime].dtypes
        ),
    ]


def _fits_here(cell: SpeedCell) -> bool:
    """Try the cell's batch in this process, which may die of it."""
    from resnet_bench.experiments.speed.measures.memory import fits

    return fits(cell)
