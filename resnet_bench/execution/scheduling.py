"""The one loop over cells that need each other, wherever they run."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution.events import Ended, Event, Job, Task, next_try


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
