"""Cells one after the other in this process: for torchrun ranks and for debugging."""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
    record_content,
    run_once,
)

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks


class InlineExecutor:
    """Runs cells here; without isolation, so timings share one process."""

    ranks = 1
    isolates = False

    def __init__(self, place: Place = HERE, ranks: "Ranks | None" = None) -> None:
        self._ranks = ranks

    def warm(self, modules: tuple[str, ...]) -> None:
        """Modules are imported when they are first needed."""

    def call(
        self,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
        patience: float | None = None,
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
        """Nothing to end: nothing runs between cells."""
        return ()

    def close(self) -> None:
        """Nothing to close: nothing lives on between cells."""


def _attempt(job: Job, task: Task, ranks: "Ranks") -> Iterator[Event]:
    key, attempt = task.cell.key, task.attempt
    yield Started(key, attempt)
    begin = time.perf_counter()
    error = detail = None
    if job.schedule == "rounds":
        job.visits.next([key])  # the first visit, which every cell gets
    try:
        for record in job.run(task.cell, ranks):
            recorded = Recorded(key, attempt, record_content(record))
            yield recorded
            if job.schedule == "rounds" and not _wants_more(job, recorded, ranks):
                break
    except (Exception, SystemExit) as problem:  # noqa: BLE001 - a failure is a result
        error, detail = describe_failure(problem), traceback.format_exc()
    seconds = time.perf_counter() - begin
    yield Ended(
        key, attempt, "failed" if error else "ok", seconds, error, detail=detail
    )


def _wants_more(job: Job, recorded: Recorded, ranks: "Ranks") -> bool:
    """Return whether a cell that is timed is to be visited again.

    All ranks yield a record for every visit; rank 0's clock decides for all, so that
    they stay in step.
    """
    job.visits.hear(recorded)
    more = job.visits.next([recorded.key]) is not None
    return bool(more if ranks.alone else ranks.share(more))
