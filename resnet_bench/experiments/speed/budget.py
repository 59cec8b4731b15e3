"""Which cell of `speed` is visited next, and when the run has measured enough."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import fmean, median
from typing import Any

from resnet_bench.execution.base import Event, Recorded
from resnet_bench.experiments.speed.cells import (
    NOISE_PHASES,
    NOISY_SPREAD,
    phase_field,
    undisturbed,
)

#: Below this many visits a time has no bounds (signed ranks at 95 %).
FIRST_VISITS = 6

#: A row that is wider than this is visited before those that are only imprecise: it
#: would be called noisy at NOISY_SPREAD.
WIDE = 0.9 * NOISY_SPREAD


#: The fields whose intervals decide: of times, and of the whole beside its parts.
DECISIVE = (
    *map(phase_field, NOISE_PHASES),
    "whole_forward_seconds",
    "whole_backward_seconds",
)


@dataclass
class _Cell:
    """What is known of one cell: what its visits brought, and what they took.

    Crowded visits count where the row will keep them.
    """

    contents: list[Mapping[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    spread: float = math.inf

    @property
    def visits(self) -> int:
        """How many visits count."""
        return len(undisturbed(self.contents))

    @property
    def visit_seconds(self) -> float:
        """How long another visit takes.

        The first one built the network and warmed up, too: on CUDA in a hundred times
        the visit's own time, which the child tells.
        """
        if len(self.seconds) != 1:
            return fmean(self.seconds[1:] or [0.0])
        return self.contents[0].get("visit_seconds") or self.seconds[0]

    def add(self, content: Mapping[str, Any], seconds: float) -> None:
        """Add a visit; `spread` is then the widest relative one of all fields."""
        from resnet_bench.statistics.estimates import time_interval

        self.contents.append(content)
        self.seconds.append(seconds)
        series: dict[str, list[float]] = {}
        for each in undisturbed(self.contents):
            for name, value in _values(each):
                series.setdefault(name, []).append(value)
        intervals = map(time_interval, series.values())
        self.spread = max((i.relative_spread for i in intervals), default=0.0)


@dataclass
class RunBudget:
    """Shares out a run's time: one deadline for all cells, not a limit for each.

    First every cell is visited FIRST_VISITS times; then those that are not within
    `precision`, those wider than WIDE before the others. A visit that would end
    after the deadline is not begun. A cell that is no time (a memory pass, say) ends by
    itself. Cells that do not fit in memory beside others come later, for their share.

    Attributes:
        seconds: From the first visit to the last sample.
        precision: Relative spread of the intervals that is enough.
        cells: How many cells the run has.
        seed: Of the order within a round.
        now: Tells the seconds that have passed, of any start.
    """

    seconds: float
    precision: float
    cells: int
    seed: int = 0
    now: Callable[[], float] = time.monotonic
    _known: dict[str, _Cell] = field(default_factory=dict)
    _round: list[str] = field(default_factory=list)
    _ends: float | None = None
    _deadline: float = 0.0
    _asked: float = 0.0

    def __post_init__(self) -> None:
        """Start with no cell known."""
        self._random = Random(self.seed)

    def next(self, living: Sequence[str]) -> str | None:
        """Return the cell to visit next; None when no living one needs or gets more."""
        if any(key not in self._known for key in living):
            self._begin(living)
        self._round = [key for key in self._round if key in living]
        if not self._round:
            self._round = self._due(living)
        self._round = [key for key in self._round if self._fits(self._known[key])]
        if not self._round:
            return None
        self._asked = self.now()
        return self._round.pop(0)

    def hear(self, event: Event) -> None:
        """Note what a visit brought and how long it took."""
        if isinstance(event, Recorded):
            self._known[event.key].add(event.content, self.now() - self._asked)

    def _begin(self, living: Sequence[str]) -> None:
        """Take in a group of cells; the first round follows the grid."""
        if self._ends is None:
            self._ends = self.now() + self.seconds
        before = len(self._known)
        self._known |= {key: _Cell() for key in living if key not in self._known}
        share = (len(self._known) - before) / max(1, self.cells - before)
        self._deadline = self.now() + min(1.0, share) * (self._ends - self.now())
        self._round = list(living)

    def _due(self, living: Sequence[str]) -> list[str]:
        """Return the next round: the most urgent kind of cells that still has time."""
        known = {key: self._known[key] for key in living}
        few = [key for key, cell in known.items() if cell.visits < FIRST_VISITS]
        widths = {key: known[key].spread for key in living if key not in few}
        rough = [key for key, width in widths.items() if width > self.precision]
        wide = [key for key in rough if widths[key] > WIDE]
        for group in (few, wide, rough):
            fitting = [key for key in group if self._fits(known[key])]
            if fitting:
                return self._random.sample(fitting, len(fitting))
        return []

    def _fits(self, cell: _Cell) -> bool:
        return self.now() + cell.visit_seconds <= self._deadline


def _values(content: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield one value for each phase that decides: the median of the visit's calls."""
    for name in DECISIVE:
        if content.get(name):
            yield name, median(content[name])
