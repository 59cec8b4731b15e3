"""`--batch-size auto`: the largest batch that fits, found in child processes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from resnet_bench.errors import ChildDiedError, UsageError
from resnet_bench.experiments.speed.cells import AUTO, SpeedCell
from resnet_bench.experiments.speed.grid import timing_cells

RUN = "resnet_bench.experiments.speed.run"

#: The search doubles from here (batch norm wants two images); no batch is larger than
#: the last, and no search goes on for longer, per setting.
FIRST, LARGEST = 2, 65_536
SEARCH_SECONDS = 120.0

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
    """Search by doubling, then by halving what lies between; `now` in seconds."""
    ends = now() + SEARCH_SECONDS
    low, high = 0, FIRST
    while fits(high):
        low, high = high, 2 * high
        if high > LARGEST:
            return Largest(low, "the largest that is tried")
        if now() >= ends:
            return Largest(low, f"no time for more ({SEARCH_SECONDS:.0f} s)")
    if low == 0:
        return Largest(int(fits(1)), f"{FIRST} do not fit")
    while high - low > max(1.0, RESOLUTION * low) and now() < ends:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return Largest(low, f"{high} do not fit")


def fitted(config: Any, executor: Any) -> Any:
    """Return the config with a batch for each setting that asks for the largest.

    What a resumed run found before stays. Raises UsageError where cells do not run in
    children of this machine, and where not even one image fits.
    """
    known = {key for key, *_ in config.fitted or ()}
    open_cells = [
        cell
        for cell in timing_cells(config)
        if cell.batch_size is None and cell.key not in known
    ]
    if not open_cells:
        return config
    if not getattr(executor, "isolates", False):
        raise UsageError(
            f"--batch-size {AUTO}: expected with --executor processes and one GPU"
        )
    results = ((cell, _largest_of(cell, executor)) for cell in open_cells)
    found = [(cell.key, _words(cell, each), each.batch_size) for cell, each in results]
    return replace(config, fitted=(*(config.fitted or ()), *found))


def _largest_of(cell: SpeedCell, executor: Any) -> Largest:
    def fits(batch_size: int) -> bool:
        try:
            tried = replace(cell, batch_size=batch_size)
            return bool(executor.call(RUN, "fits", tried))
        except ChildDiedError:
            return False  # ended by the out-of-memory killer, as it would be again

    result = largest(fits)
    if not result.batch_size:
        raise UsageError(
            f"--batch-size {AUTO}: {cell.name} does not fit with a single image of "
            f"{cell.image_size} px: choose a smaller --image-size"
        )
    return result


def _words(cell: SpeedCell, found: Largest) -> str:
    return (
        f"{cell.name}, {cell.image_size} px, {cell.dtype}: batch {found.batch_size} "
        f"({found.because})"
    )


def announce(config: Any) -> list[str]:
    """Say which batches were found."""
    return [f"--batch-size {AUTO}: {what}" for _, what, _ in config.fitted or ()]
