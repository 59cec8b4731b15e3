"""Progress: counts, time left, and the two ways to show it."""

import io
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from resnet_bench.commands.progress import (
    LiveDisplay,
    PlainDisplay,
    Tracker,
    trying,
)
from resnet_bench.execution.base import Ended, Recorded, Started
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.present.numbers import duration
from resnet_bench.present.tables import Table
from resnet_bench.records import Cell


@dataclass(frozen=True, kw_only=True)
class Timed(Cell):
    name: str
    seconds: float

    @property
    def label(self) -> str:
        return self.name

    @property
    def cost(self) -> float:
        return self.seconds


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


SHORT = Timed(name="short", seconds=1.0)
LONG = Timed(name="long", seconds=3.0)


def ended(cell: Cell, error: str | None = None) -> Ended:
    return Ended(cell.key, 1, "failed" if error else "ok", 10.0, error)


def test_time_left_follows_the_cost_of_what_is_left() -> None:
    clock = Clock()
    tracker = Tracker([SHORT, LONG], clock)
    assert tracker.seconds_left is None
    tracker.hear(Started(SHORT.key, 1))
    clock.now = 10.0
    tracker.hear(ended(SHORT))
    assert tracker.fraction == 0.25
    assert tracker.seconds_left == pytest.approx(30.0)
    clock.now = 20.0
    tracker.hear(Recorded(LONG.key, 1, {}))
    # A unit of cost took 10 s: of the long cell's three, one is done.
    assert tracker.fraction == pytest.approx((1 + 1) / 4)
    clock.now = 40.0
    tracker.hear(ended(LONG))
    assert tracker.fraction == 1.0
    assert tracker.seconds_left == 0.0


def test_cells_visited_in_turn_are_all_nearly_done_when_the_first_one_ends() -> None:
    clock = Clock()
    cells = [Timed(name=f"cell {number}", seconds=4.0) for number in range(4)]
    tracker = Tracker(cells, clock)
    for _ in range(3):
        for cell in cells:
            clock.now += 1.0
            tracker.hear(Recorded(cell.key, 1, {}))
    clock.now += 1.0
    tracker.hear(ended(cells[0]))
    assert tracker.seconds_left == pytest.approx(3.0)


def test_cells_side_by_side_share_the_time_however_often_they_speak() -> None:
    clock = Clock()
    cells = [Timed(name=f"cell {number}", seconds=4.0) for number in range(4)]
    tracker = Tracker(cells, clock, side_by_side=True)
    for cell in cells[:2]:
        tracker.hear(Started(cell.key, 1))
    clock.now = 1.0
    tracker.hear(Recorded(cells[1].key, 1, {}))
    clock.now = 20.0
    tracker.hear(ended(cells[0]))
    # The other one has run as long: nine tenths of it count.
    assert tracker.fraction == pytest.approx(1.9 / 4)
    tracker.hear(Started(cells[2].key, 1))
    clock.now = 22.0
    tracker.hear(ended(cells[1]))
    assert tracker.fraction == pytest.approx((2 + 0.1 / 1.1) / 4, rel=0.01)


def test_a_session_without_cells_is_done() -> None:
    assert Tracker([], Clock()).fraction == 1.0


def test_off_a_terminal_each_finished_cell_is_a_line() -> None:
    clock = Clock()
    tracker = Tracker([SHORT, LONG], clock)
    lines: list[str] = []
    with PlainDisplay(tracker, lines.append) as display:
        for event in (Started(SHORT.key, 1), ended(SHORT), ended(LONG, "it broke")):
            clock.now += 5.0
            tracker.hear(event)
            display.show(event)
    assert lines == [
        "[1/2] short in 10 s, about 30 s left",
        "[2/2] long: failed",
    ]


def test_on_a_terminal_a_bar_shows_cell_and_time_left() -> None:
    clock = Clock()
    tracker = Tracker([SHORT, LONG], clock)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    frame = pd.DataFrame({"said": ["the table"]})
    tables = iter([None, None, Table("t", "", frame, ["said"])])
    with LiveDisplay(tracker, console, lambda: next(tables)) as display:
        for event in (Started(SHORT.key, 1), ended(SHORT)):
            clock.now += 5.0
            tracker.hear(event)
            display.show(event)
    assert "1/2 cells" in stream.getvalue()
    assert "about 30 s left" in stream.getvalue()
    assert "running: short; 1 waiting" in stream.getvalue()
    assert "the table" in stream.getvalue()


def test_a_table_that_would_be_cut_waits_for_a_wider_terminal() -> None:
    frame = pd.DataFrame({"value": [123_456_789]})
    made = Table("t", "title", frame, ["value"])
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=8)
    tracker = Tracker([SHORT], Clock())
    with LiveDisplay(tracker, console, lambda: made) as display:
        assert "123" not in stream.getvalue()
        console.width = 20
        display.show(Started(SHORT.key, 1))
    assert "123,456,789" in stream.getvalue()


def test_what_interrupts_the_first_drawing_leaves_the_terminal_as_it_was() -> None:
    def interrupted() -> Table:
        raise KeyboardInterrupt

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    before = sys.stderr
    display = LiveDisplay(Tracker([SHORT], Clock()), console, interrupted)
    with pytest.raises(KeyboardInterrupt), display:
        pass
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert stream.getvalue().rfind(shown) > stream.getvalue().rfind(hidden) >= 0
    assert sys.stderr is before


def test_an_unknown_cell_keeps_its_key() -> None:
    tracker = Tracker([], Clock())
    assert tracker.label_of("k") == "k"


def test_a_budget_is_the_measure_of_progress_before_any_cell_has_ended() -> None:
    clock = Clock()
    tracker = Tracker([SHORT, LONG], clock, budget_seconds=90.0)
    tracker.hear(Started(SHORT.key, 1))
    clock.now = 15.0
    tracker.hear(Recorded(SHORT.key, 1, {}))
    assert tracker.fraction == pytest.approx(15 / 90)
    assert tracker.left_in_words == "at most 75 s left"
    tracker.hear(ended(SHORT))
    assert tracker.left_in_words == "at most 75 s left"
    clock.now = 95.0
    assert tracker.left_in_words == "finishing"
    tracker.hear(ended(LONG))
    assert tracker.fraction == 1.0


def test_the_estimate_tells_the_time_left_until_a_cell_has_ended() -> None:
    clock = Clock()
    tracker = Tracker([SHORT, LONG], clock, expected_seconds=40.0)
    clock.now = 5.0
    tracker.hear(Recorded(LONG.key, 1, {}))
    assert tracker.fraction == pytest.approx(5 / 40)
    assert tracker.left_in_words == "about 35 s left"
    clock.now = 45.0
    assert tracker.left_in_words == ""


def test_off_a_terminal_a_budget_is_a_line_per_quarter() -> None:
    clock = Clock()
    tracker = Tracker([SHORT, LONG], clock, budget_seconds=80.0)
    lines: list[str] = []
    with PlainDisplay(tracker, lines.append) as display:
        for _ in range(8):
            clock.now += 10.0
            event = Recorded(SHORT.key, 1, {})
            tracker.hear(event)
            display.show(event)
    assert lines == [
        "2 cells in at most 80 s",
        "20 s of 80 s, 2 visits",
        "40 s of 80 s, 4 visits",
        "60 s of 80 s, 6 visits",
    ]


def test_running_cells_are_named_up_to_a_few() -> None:
    cells = [Timed(name=f"cell {number}", seconds=1.0) for number in range(6)]
    tracker = Tracker(cells, Clock())
    for cell in cells[:5]:
        tracker.hear(Started(cell.key, 1))
    assert tracker.state_in_words == (
        "running: cell 0, cell 1, cell 2 and 2 more; 1 waiting"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (8.4, "8 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_durations_are_in_a_persons_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_tried_is_a_line_each_in_a_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with trying(Output(DisplayOptions())) as note:
        note("trying 2")
        note("trying 4")
    assert capsys.readouterr().err == "trying 2\ntrying 4\n"
    with trying(Output(DisplayOptions(quiet=True))) as note:
        note("trying 2")
    assert capsys.readouterr().err == ""


def on_terminal(console: Console) -> Any:
    """An output whose messages go to a terminal."""
    return SimpleNamespace(interactive=True, console=lambda stream: console)


def test_what_is_tried_is_one_line_of_a_terminal_that_goes_away() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=60)
    with trying(on_terminal(console)) as note:
        note("trying [2]")
        note("trying [4]")
    drawn = stream.getvalue()
    assert "trying [2]" in drawn
    # Both lines are erased again: nothing but cursor movements follows the last.
    assert drawn.rindex("\x1b[2K") > drawn.index("trying [4]")


def test_where_nothing_is_tried_a_terminal_stays_as_it_is() -> None:
    stream = io.StringIO()
    with trying(on_terminal(Console(file=stream, force_terminal=True))):
        pass
    assert stream.getvalue() == ""
