"""`--batch-size auto`: the largest batch that fits, found in child processes."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from resnet_bench.errors import ChildDiedError, UsageError
from resnet_bench.experiments.speed.cells import AUTO, SpeedCell
from resnet_bench.experiments.speed.grid import timing_cells

RUN = "resnet_bench.experiments.speed.run"

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


def fitted(config: Any, executor: Any, note: Callable[[str], None]) -> Any:
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
    if not getattr(executor, "isolates", False):
        raise UsageError(
            f"--batch-size {AUTO}: expected with --executor processes and one GPU"
        )
    found = list(_found(open_cells, executor, note))
    return replace(config, fitted=(*(config.fitted or ()), *found))


def _found(
    cells: Sequence[SpeedCell], executor: Any, note: Callable[[str], None]
) -> Iterator[tuple[str, str, int]]:
    for number, cell in enumerate(cells, start=1):
        tries = _Tries(cell, executor, note, f"{number}/{len(cells)}")
        each = _largest_of(cell, tries)
        yield cell.key, _words(cell, each), each.batch_size


@dataclass
class _Tries:
    """Tries batches of one cell in children and says so."""

    cell: SpeedCell
    executor: Any
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
            return bool(self.executor.call(RUN, "fits", tried))
        except ChildDiedError:
            return False  # ended by the out-of-memory killer, as it would be again


def _largest_of(cell: SpeedCell, fits: Callable[[int], bool]) -> Largest:
    result = largest(fits)
    if not result.batch_size:
        raise UsageError(
            f"--batch-size {AUTO}: {cell.name} does not fit with a single image of "
            f"{cell.image_size} px: choose a smaller --image-size"
        )
    return result


def _words(cell: SpeedCell, found: Largest) -> str:
    return f"{_subject(cell)}: batch {found.batch_size} ({found.because})"


def _subject(cell: SpeedCell) -> str:
    return f"{cell.name}, {cell.image_size} px, {cell.dtype}"


def announce(config: Any) -> list[str]:
    """Say which batches were found."""
    return [f"--batch-size {AUTO}: {what}" for _, what, _ in config.fitted or ()]
