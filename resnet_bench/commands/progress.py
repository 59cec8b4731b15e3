"""Progress of a run: what is done, how long the rest takes, and who shows it."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from resnet_bench.execution.base import Ended, Event, Recorded, Started
from resnet_bench.experiments.base import Note
from resnet_bench.output import Output, printable
from resnet_bench.present.numbers import duration
from resnet_bench.records import Cell

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from resnet_bench.present.tables import Table

Clock = Callable[[], float]

#: Running cells that are named; the others are counted.
LISTED = 3


class Tracker:
    """Counts cells and estimates the time left.

    With `budget_seconds` all cells share that time, and it measures progress. Otherwise
    a cell's `cost` is relative; seconds per unit of cost are estimated as the run goes,
    and follow from `expected_seconds` until the first cell has ended. A cell that is
    running counts by the time spent on it, up to nine tenths: all of it until the first
    message, or an equal share where cells run `side_by_side`.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        clock: Clock = time.perf_counter,
        *,
        side_by_side: bool = False,
        budget_seconds: float | None = None,
        expected_seconds: float | None = None,
    ) -> None:
        self._cells = {cell.key: cell for cell in cells}
        self._clock = clock
        self._begin = clock()
        self._last = self._begin
        self._spent: dict[str, float] = {}
        self._side_by_side = side_by_side
        self.budget_seconds = budget_seconds
        self.expected_seconds = expected_seconds
        self.running: dict[str, None] = {}
        self.ended: dict[str, str] = {}
        self.records = 0

    @property
    def total(self) -> int:
        """How many cells the session runs."""
        return len(self._cells)

    def label_of(self, key: str) -> str:
        """A cell in readable words."""
        cell = self._cells.get(key)
        return cell.label if cell else key

    def hear(self, event: Event) -> None:
        """Take an event into account."""
        self._share_time(event)
        if isinstance(event, Started):
            self.running[event.key] = None
        elif isinstance(event, Recorded):
            self.records += 1
        else:
            self.running.pop(event.key, None)
            if not event.again:
                self.ended[event.key] = event.status

    def _share_time(self, event: Event) -> None:
        """Assign the time since the last event to the cells that spent it."""
        now = self._clock()
        spoke = set() if isinstance(event, Started) else {event.key}
        whose = set(self.running) if self._side_by_side else spoke
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
        """Share of the time that has passed, or of the cost that is done: 0 to 1."""
        if self.budget_seconds is not None:
            if len(self.ended) == self.total:
                return 1.0
            return min(1.0, self.elapsed_seconds / self.budget_seconds)
        total = sum(cell.cost for cell in self._cells.values())
        done = sum(self._cells[key].cost for key in self.ended if key in self._cells)
        if total <= 0:
            return 1.0
        # Cells that are visited in turn all run while the first of them ends.
        worked = sum(self._spent.get(key, 0.0) for key in self.ended)
        rate = done / worked if worked > 0 else self._expected_rate(total)
        running = sum(
            min(0.9 * cell.cost, self._spent.get(key, 0.0) * rate)
            for key, cell in self._cells.items()
            if key not in self.ended
        )
        return min(1.0, (done + running) / total)

    def _expected_rate(self, cost: float) -> float:
        return cost / self.expected_seconds if self.expected_seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last cell ends, of a budget at most; None if unknown."""
        if self.budget_seconds is not None:
            return max(0.0, self.budget_seconds - self.elapsed_seconds)
        fraction = self.fraction
        if not self.ended and self.expected_seconds is not None:
            return max(0.0, self.expected_seconds - self.elapsed_seconds) or None
        if fraction <= 0:
            return None
        return self.elapsed_seconds * (1 - fraction) / fraction

    @property
    def left_in_words(self) -> str:
        """How long it still takes; nothing while that is unknown."""
        seconds = self.seconds_left
        if seconds is None:
            return ""
        if self.budget_seconds is None:
            return f"about {duration(seconds)} left"
        return f"at most {duration(seconds)} left" if seconds >= 1 else "finishing"

    @property
    def state_in_words(self) -> str:
        """Which cells run, and how many wait; or what the budget has paid for."""
        if self.budget_seconds is not None:
            return counted(self.records, "visit")
        labels = [self.label_of(key) for key in self.running]
        more = len(labels) - LISTED
        shown = ", ".join(labels[:LISTED]) + (f" and {more} more" if more > 0 else "")
        waiting = self.total - len(self.ended) - len(labels)
        parts = [f"running: {shown}"] if labels else []
        return "; ".join([*parts, *([f"{waiting} waiting"] if waiting > 0 else [])])


def counted(number: int, noun: str) -> str:
    """Return a number of things: `1 cell`, `2 cells`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Display(Protocol):
    """Shows a session's progress; used as a context manager."""

    def __enter__(self) -> "Display":
        """Begin to show."""

    def __exit__(self, *error: Any) -> None:
        """Leave the screen as it should stay."""

    def show(self, event: Event) -> None:
        """Show what an event changed."""


class PlainDisplay:
    """One line per finished cell, or per quarter of a budget, for logs and pipes."""

    def __init__(self, tracker: Tracker, say: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._say = say
        self._quarters = 0

    def __enter__(self) -> "PlainDisplay":
        """Print how much there is to do, if known."""
        tracker = self._tracker
        cells = counted(tracker.total, "cell")
        if tracker.budget_seconds is not None:
            self._say(f"{cells} in at most {duration(tracker.budget_seconds)}")
        elif tracker.expected_seconds is not None:
            self._say(f"{cells} in about {duration(tracker.expected_seconds)}")
        return self

    def __exit__(self, *error: Any) -> None:
        """Lines need no clean-up."""

    def show(self, event: Event) -> None:
        """Print a line when a cell ends or a quarter of the budget has passed."""
        tracker = self._tracker
        if tracker.budget_seconds is not None:
            self._show_budget(tracker.budget_seconds)
            return
        if not isinstance(event, Ended):
            return
        line = f"[{len(tracker.ended)}/{tracker.total}] {tracker.label_of(event.key)}"
        line += ": failed" if event.error else f" in {duration(event.seconds)}"
        line += "; retrying" if event.again else ""
        if len(tracker.ended) < tracker.total and tracker.left_in_words:
            line += f", {tracker.left_in_words}"
        self._say(line)

    def _show_budget(self, seconds: float) -> None:
        tracker = self._tracker
        quarters = int(4 * tracker.fraction)
        if self._quarters < quarters < 4:
            self._quarters = quarters
            passed = duration(tracker.elapsed_seconds)
            self._say(f"{passed} of {duration(seconds)}, {tracker.state_in_words}")


class LiveDisplay:
    """A bar with the time left, below it a table that fills, on a terminal.

    The bar comes first, so that it stays where the table is longer than the screen.

    It redraws only when something happened: a parent that redraws on a timer takes
    the core that is being measured.
    """

    def __init__(
        self,
        tracker: Tracker,
        console: "Console",
        table: Callable[[], "Table | None"],
    ) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn

        self._tracker = tracker
        self._table = table
        counts_cells = tracker.budget_seconds is None
        self._bar = Progress(
            *([TextColumn("{task.fields[count]}")] if counts_cells else []),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            auto_refresh=False,
            console=console,
        )
        self._task = self._bar.add_task("", total=1.0, count="")
        self._live: Any = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "LiveDisplay":
        """Begin to show; what interrupts the beginning leaves the screen as it was."""
        try:
            self._live.__enter__()
            self._draw()
        except BaseException:
            self._live.stop()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        """Take the bar off the screen; the result is printed after it."""
        self._live.__exit__(*error)

    def show(self, event: Event) -> None:
        """Redraw after an event."""
        self._draw()

    def _draw(self) -> None:
        from rich.console import Group
        from rich.text import Text

        from resnet_bench.present.terminal import NARROW_WIDTHS, widest

        tracker = self._tracker
        self._bar.update(
            self._task,
            completed=tracker.fraction,
            count=f"{len(tracker.ended)}/{tracker.total} cells",
            description=tracker.left_in_words,
        )
        filled = self._table()
        state = Text(printable(tracker.state_in_words), style="dim")
        # A table that is cut would show numbers without their last digits.
        parts: list[RenderableType] = [self._bar, state]
        console = self._live.console
        if filled and (made := widest(filled, console, filled.narrow, NARROW_WIDTHS)):
            parts += ["", made]
        self._live.update(Group(*parts), refresh=True)


@contextmanager
def trying(output: Output) -> Iterator[Note]:
    """Provide a function that reports attempts made before the first cell.

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
        line.update(Text(printable(text)), refresh=True)

    try:
        yield note
    finally:
        line.stop()
