"""The loop over waiting cells, with a workplace that does what a test says."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution.base import Ended, Event, Job, Started, Task, run_once
from resnet_bench.records import Cell
from tests.toys.toy import TOY


@dataclass(frozen=True, kw_only=True)
class NamedCell(Cell):
    name: str
    after: tuple["NamedCell", ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(cell.key for cell in self.after)


@dataclass(frozen=True, kw_only=True)
class Turning(Cell):
    """A cell that needs itself."""

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.key,)


@dataclass
class Bench:
    """Ends one attempt at each asking, the oldest first; notes what ran when.

    A cell of `deaths` is killed as often as that says; one of `broken` fails.
    """

    deaths: dict[str, int] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    running: list[Task] = field(default_factory=list)
    most: int = 0
    started: list[str] = field(default_factory=list)

    def start(self, job: Job, task: Task) -> Iterable[Event]:
        self.running.append(task)
        self.most = max(self.most, len(self.running))
        self.started.append(name_of(task))
        return [Started(task.cell.key, task.attempt)]

    def news(self) -> Iterable[Event]:
        task = self.running.pop(0)
        name = name_of(task)
        left = self.deaths.get(name, 0)
        self.deaths[name] = left - 1
        bad = left > 0 or name in self.broken
        yield Ended(
            task.cell.key,
            task.attempt,
            "failed" if bad else "ok",
            1.0,
            error="broken" if bad else None,
            again=left > 0 and task.tries < 2,
        )


def name_of(task: Task) -> str:
    assert isinstance(task.cell, NamedCell)
    return task.cell.name


def job(*cells: Cell, workers: int = 1) -> Job:
    return Job(TOY.run, "once", tuple(map(Task, cells)), workers)


def ends(events: Iterable[Event], cell: Cell) -> list[Ended]:
    return [e for e in events if isinstance(e, Ended) and e.key == cell.key]


A, B = NamedCell(name="a"), NamedCell(name="b")
AFTER_A = NamedCell(name="after a", after=(A,))
AFTER_BOTH = NamedCell(name="after both", after=(AFTER_A, B))


def test_no_more_cells_run_at_once_than_there_are_workers() -> None:
    bench = Bench()
    cells = [NamedCell(name=str(number)) for number in range(7)]
    list(run_once(job(*cells, workers=3), bench))
    assert bench.most == 3
    assert bench.started == [cell.name for cell in cells]


def test_a_cell_starts_after_all_that_it_needs_wherever_it_stands_in_the_grid() -> None:
    bench = Bench()
    events = list(run_once(job(AFTER_BOTH, AFTER_A, B, A, workers=4), bench))
    assert bench.started == ["b", "a", "after a", "after both"]
    assert {event.status for event in events if isinstance(event, Ended)} == {"ok"}


def test_a_need_that_is_not_in_the_job_was_met_before() -> None:
    bench = Bench()
    list(run_once(job(AFTER_A), bench))
    assert bench.started == ["after a"]


def test_a_failure_reaches_all_that_depend_on_it_and_nothing_else() -> None:
    bench = Bench(broken=frozenset({"a"}))
    events = list(run_once(job(A, AFTER_A, AFTER_BOTH, B, workers=2), bench))
    assert bench.started == ["a", "b"]
    assert ends(events, AFTER_A)[0].error == f"needs cell {A.key}, which failed"
    assert (
        ends(events, AFTER_BOTH)[0].error == f"needs cell {AFTER_A.key}, which failed"
    )
    assert ends(events, B)[0].status == "ok"


def test_an_attempt_that_died_waits_behind_the_others_and_is_counted() -> None:
    bench = Bench(deaths={"a": 1})
    events = list(run_once(job(A, B), bench))
    assert bench.started == ["a", "b", "a"]
    assert [(e.attempt, e.status, e.again) for e in ends(events, A)] == [
        (1, "failed", True),
        (2, "ok", False),
    ]


def test_what_depends_on_a_cell_that_died_waits_for_its_next_attempt() -> None:
    bench = Bench(deaths={"a": 1})
    events = list(run_once(job(A, AFTER_A, workers=2), bench))
    assert bench.started == ["a", "a", "after a"]
    assert ends(events, AFTER_A)[0].status == "ok"


def test_a_cell_that_dies_every_time_takes_its_dependents_along_once() -> None:
    bench = Bench(deaths={"a": 9})
    events = list(run_once(job(A, AFTER_A, B, workers=2), bench))
    assert [end.again for end in ends(events, A)] == [True, False]
    assert [end.status for end in ends(events, AFTER_A)] == ["failed"]
    assert [end.status for end in ends(events, B)] == ["ok"]


def test_cells_that_wait_for_each_other_are_an_error_instead_of_a_wait() -> None:
    with pytest.raises(ResnetBenchError, match="1 cells wait for each other"):
        list(run_once(job(A, Turning()), Bench()))
