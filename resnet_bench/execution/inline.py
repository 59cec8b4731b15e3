"""Cells one after the other in this process: for torchrun ranks and for debugging."""

import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution.base import (
    HERE,
    Arguments,
    Ended,
    Event,
    Job,
    Place,
    Recorded,
    Result,
    Started,
    Task,
    describe_failure,
    next_try,
)
from resnet_bench.records import Record, to_json

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks


class Workplace(Protocol):
    """Where attempts at cells run."""

    def start(self, job: Job, task: Task) -> Iterable[Event]:
        """Begin an attempt; return what there is to tell at once."""

    def news(self) -> Iterable[Event]:
        """Wait until attempts that run have something to tell, and return it."""


def run_once(job: Job, place: Workplace) -> Iterator[Event]:
    """Keep `job.workers` cells running until all have ended.

    Cells start in the order of the grid, each after those it needs; when one of
    those failed, it is not run. An attempt that ended with `again` waits anew, behind
    the others. Raises ResnetBenchError when cells wait for each other.
    """
    waiting = list(job.tasks)
    planned = {task.cell.key for task in waiting}
    running: dict[str, Task] = {}
    ended: dict[str, str] = {}
    while waiting or running:
        free = len(running) < job.workers
        task = _next_ready(waiting, planned, ended) if free else None
        if task:
            waiting.remove(task)
            running[task.cell.key] = task
        elif not running:
            raise ResnetBenchError(f"{len(waiting)} cells wait for each other")
        for event in _step(job, task, ended, place):
            if isinstance(event, Ended):
                attempt = running.pop(event.key)
                if event.again:
                    waiting.append(next_try(attempt))
                else:
                    ended[event.key] = event.status
            yield event


def _step(
    job: Job, task: Task | None, ended: Mapping[str, str], place: Workplace
) -> Iterable[Event]:
    """Start a task, or wait for those that run if there is none to start."""
    if task is None:
        return place.news()
    failed = [key for key in task.cell.needs if ended.get(key) == "failed"]
    return [_lost(task, failed)] if failed else place.start(job, task)


def _next_ready(
    waiting: Sequence[Task], planned: Collection[str], ended: Collection[str]
) -> Task | None:
    """Return the first task whose needs are met.

    A need outside the job was met before the job.
    """
    for task in waiting:
        if all(key in ended or key not in planned for key in task.cell.needs):
            return task
    return None


def _lost(task: Task, needs: Sequence[str]) -> Ended:
    """Return the end of a task that cannot start."""
    reason = f"needs cell {', '.join(needs)}, which failed"
    return Ended(task.cell.key, task.attempt, "failed", 0.0, reason)


def record_content(record: Record) -> dict[str, Any]:
    """Return a record's fields with the name of its type."""
    return {"type": record.type_name(), **to_json(record)}


class InlineExecutor:
    """Runs cells here; without isolation, so timings share one process."""

    ranks = 1
    isolates = False

    def __init__(self, place: Place = HERE, ranks: "Ranks | None" = None) -> None:
        self._ranks = ranks

    def warm(self, modules: tuple[str, ...]) -> None:
        """Modules are imported when they are first needed."""

    def call(
        self, function: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Result:
        """Call the function in this process."""
        return function(*arguments)

    def nodes(self) -> dict[str, Any]:
        """Cells run on this machine alone."""
        return {}

    def run(self, job: Job) -> Iterator[Event]:
        """Run each cell to its end, in grid order, needs first."""
        return run_once(replace(job, workers=1), self)

    def start(self, job: Job, task: Task) -> Iterator[Event]:
        """Run a cell from its beginning to its end."""
        from resnet_bench.engine.ranks import ALONE

        return _attempt(job, task, self._ranks or ALONE)

    def news(self) -> tuple[Event, ...]:
        """Nothing runs on between cells."""
        return ()

    def close(self) -> None:
        """Nothing lives on between cells."""


def _attempt(job: Job, task: Task, ranks: "Ranks") -> Iterator[Event]:
    key, attempt = task.cell.key, task.attempt
    yield Started(key, attempt)
    begin = time.perf_counter()
    error = detail = None
    try:
        for record in job.run(task.cell, ranks):
            recorded = Recorded(key, attempt, record_content(record))
            yield recorded
            job.visits.hear(recorded)
            more = job.visits.next([key]) is not None
            # Rank 0's clock decides for all, so that they stay in step.
            if not (more if ranks.alone else ranks.share(more)):
                break
    except Exception as problem:  # noqa: BLE001 - a cell's failure is a result
        error, detail = describe_failure(problem), traceback.format_exc()
    seconds = time.perf_counter() - begin
    yield Ended(
        key, attempt, "failed" if error else "ok", seconds, error, detail=detail
    )
