"""Progress of a run: what is done, how long the rest takes, and who shows it."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from resnet_bench.execution.base import Ended, Event, Recorded, Started
from resnet_bench.experiments.base import Note
from resnet_bench.output import Output
from resnet_bench.records import Cell

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Clock = Callable[[], float]


class Tracker:
    """Counts cells and estimates the time left from what cells cost so far.

    A cell's `cost` is relative; seconds per unit of cost are learnt as the run goes.
    A cell that is running counts by the time spent on it, up to nine tenths: all the
    time until it speaks, or an equal share where cells run `side_by_side`.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        clock: Clock = time.perf_counter,
        *,
        side_by_side: bool = False,
    ) -> None:
        self._cells = {cell.key: cell for cell in cells}
        self._clock = clock
        self._begin = clock()
        self._last = self._begin
        self._spent: dict[str, float] = {}
        self._side_by_side = side_by_side
        self._running: set[str] = set()
        self.ended: dict[str, str] = {}
        self.current: str | None = None

    @property
    def total(self) -> int:
        """How many cells the session runs."""
        return len(self._cells)

    @property
    def label(self) -> str:
        """The cell heard of last, in a person's words."""
        cell = self._cells.get(self.current or "")
        return cell.label if cell else ""

    def label_of(self, key: str) -> str:
        """A cell in a person's words."""
        cell = self._cells.get(key)
        return cell.label if cell else key

    def hear(self, event: Event) -> None:
        """Take an event into account."""
        self._share_time(event)
        self.current = event.key
        if isinstance(event, Started):
            self._running.add(event.key)
        elif isinstance(event, Ended):
            self._running.discard(event.key)
            if not event.again:
                self.ended[event.key] = event.status

    def _share_time(self, event: Event) -> None:
        """Give the time since the last event to those whose it was."""
        now = self._clock()
        spoke = set() if isinstance(event, Started) else {event.key}
        whose = self._running if self._side_by_side else spoke
        for key in whose:
            share = (now - self._last) / len(whose)
            self._spent[key] = self._spent.get(key, 0.0) + share
        self._last = now

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the tracker was made."""
        return self._clock() - self._begin

    @property
    def fraction(self) -> float:
        """Share of the total cost that is done, from 0 to 1."""
        total = sum(cell.cost for cell in self._cells.values())
        done = sum(self._cells[key].cost for key in self.ended if key in self._cells)
        if total <= 0:
            return 1.0
        # Cells that are visited in turn all run while the first of them ends.
        worked = sum(self._spent.get(key, 0.0) for key in self.ended)
        rate = done / worked if worked > 0 else 0.0
        running = sum(
            min(0.9 * cell.cost, self._spent.get(key, 0.0) * rate)
            for key, cell in self._cells.items()
            if key not in self.ended
        )
        return min(1.0, (done + running) / total)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the last cell ends; None before the first has."""
        fraction = self.fraction
        if fraction <= 0:
            return None
        return self.elapsed_seconds * (1 - fraction) / fraction


def duration(seconds: float | None) -> str:
    """Return seconds in a person's units: `8 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Display(Protocol):
    """Shows a session's progress; used as a context manager."""

    def __enter__(self) -> "Display":
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the screen as it should stay."""

    def show(self, event: Event) -> None:
        """Show what an event changed."""


class PlainDisplay:
    """One line per finished cell, for logs and pipes."""

    def __init__(self, tracker: Tracker, say: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._say = say

    def __enter__(self) -> "PlainDisplay":
        """Begin to show."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lines need no clean-up."""

    def show(self, event: Event) -> None:
        """Print a line when a cell ends."""
        if not isinstance(event, Ended):
            return
        tracker = self._tracker
        line = f"[{len(tracker.ended)}/{tracker.total}] {tracker.label_of(event.key)}"
        line += f": {event.error}" if event.error else f" in {duration(event.seconds)}"
        line += "; it is tried again" if event.again else ""
        if len(tracker.ended) < tracker.total:
            line += f", about {duration(tracker.seconds_left)} left"
        self._say(line)


class LiveDisplay:
    """A bar with the time left, above it a table that fills, on a terminal.

    It redraws only when something happened: a parent that redraws on a timer takes
    the core that is being measured.
    """

    def __init__(
        self,
        tracker: Tracker,
        console: "Console",
        table: Callable[[], "RenderableType | None"] | None,
    ) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn

        self._tracker = tracker
        self._table = table
        self._bar = Progress(
            TextColumn("{task.fields[count]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            auto_refresh=False,
            console=console,
        )
        self._task = self._bar.add_task("starting", total=1.0, count="")
        self._live: Any = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "LiveDisplay":
        """Begin to show."""
        self._live.__enter__()
        self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar off the screen; the result is printed after it."""
        self._live.__exit__(kind, error, trace)

    def show(self, event: Event) -> None:
        """Redraw after an event; a record alone changes nothing but the table."""
        if self._table is not None or not isinstance(event, Recorded):
            self._draw()

    def _draw(self) -> None:
        from rich.console import Group

        tracker = self._tracker
        left = tracker.seconds_left
        text = tracker.label if left is None else f"{duration(left)} left, "
        self._bar.update(
            self._task,
            completed=tracker.fraction,
            count=f"{len(tracker.ended)}/{tracker.total}",
            description=text if left is None else text + tracker.label,
        )
        table = self._table() if self._table else None
        parts = [self._bar] if table is None else [table, self._bar]
        self._live.update(Group(*parts), refresh=True)


@contextmanager
def trying(output: Output) -> Iterator[Note]:
    """Give what says what is tried before the first cell: a line each, or one.

    The one line of a terminal is drawn when there is something to say, never on a
    timer, and goes when that is over.
    """
    if not output.interactive:
        yield output.say
        return
    from rich.live import Live
    from rich.text import Text

    line = Live(console=output.console(sys.stderr), auto_refresh=False, transient=True)

    def note(text: str) -> None:
        line.start()
        line.update(Text(text), refresh=True)

    try:
        yield note
    finally:
        line.stop()
