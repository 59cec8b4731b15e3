"""The jobs of executors, their events, and the order in which cells run."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, TypeVarTuple

from resnet_bench.errors import ResnetBenchError
from resnet_bench.records import Cell, Record, to_json

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks

Schedule = Literal["once", "rounds"]
Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Task:
    """An attempt at a cell; `tries` counts those of this session."""

    cell: Cell
    attempt: int = 1
    tries: int = 1


def next_try(task: Task) -> Task:
    """Return the next attempt at the same cell."""
    return Task(task.cell, task.attempt + 1, task.tries + 1)


@dataclass(frozen=True)
class Started:
    """A cell began to run; `group` counts from 0 when not all fit in memory."""

    key: str
    attempt: int
    group: int = 0


@dataclass(frozen=True)
class Recorded:
    """A cell yielded a record; `content` holds its fields and its "type"."""

    key: str
    attempt: int
    content: dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """An attempt ended; `status` is "ok" or "failed", `detail` a traceback.

    `again` announces another attempt; `node` names the machine, where
    cells run on several.
    """

    key: str
    attempt: int
    status: str
    seconds: float
    error: str | None = None
    detail: str | None = None
    group: int = 0
    again: bool = False
    node: str | None = None


Event = Started | Recorded | Ended


class Visits(Protocol):
    """Decides which of the cells that are timed together is visited next."""

    def next(self, living: Sequence[str]) -> str | None:
        """Return the key of the cell to visit; None when all were visited enough."""

    def hear(self, event: Event) -> None:
        """Take a visit's record into account."""


class Rounds:
    """Visits all living cells in shuffled rounds until each has ended by itself.

    One that goes on is visited `most` times, where that is given.
    """

    def __init__(self, seed: int, most: int | None = None) -> None:
        self._random = random.Random(seed)
        self._most = most
        self._visits: Counter[str] = Counter()
        self._waiting: list[str] | None = None

    def next(self, living: Sequence[str]) -> str | None:
        """Return the next cell of the round; the first follows the grid."""
        due = [key for key in living if self._visits[key] != self._most]
        if not due:
            return None
        first = due if self._waiting is None else self._waiting
        waiting = [key for key in first if key in due]
        self._waiting = waiting or self._random.sample(due, len(due))
        key = self._waiting.pop(0)
        self._visits[key] += 1
        return key

    def hear(self, event: Event) -> None:
        """Cells end by themselves."""


@dataclass(frozen=True)
class Job:
    """A job for an executor.

    `run` measures a cell and can be pickled by reference; `visits` decides which
    cell is visited next, where they are timed together; `memory_bytes` is what the
    living cells may use together; `tries` is how often a cell is tried that is killed
    from outside, by the out-of-memory killer, say.
    """

    run: "Callable[[Any, Ranks], Iterator[Record]]"
    schedule: Schedule
    tasks: tuple[Task, ...]
    workers: int = 1
    visits: Visits = field(default_factory=lambda: Rounds(0))
    memory_bytes: float = float("inf")
    tries: int = 2


@dataclass(frozen=True)
class Place:
    """Where a cluster is and what a cell takes of it; None leaves it to the cell."""

    ray_address: str | None = None
    cpus_per_cell: float | None = None
    gpus_per_cell: float | None = None


HERE = Place()


class Executor(Protocol):
    """A place to run cells."""

    @property
    def isolates(self) -> bool:
        """Whether a call that crashes leaves this process alive."""

    @property
    def ranks(self) -> int:
        """How many processes share one cell."""

    def warm(self, modules: tuple[str, ...]) -> None:
        """Begin to import what cells need."""

    def call(
        self,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
        patience: float | None = None,
    ) -> Result:
        """Return what the function returns where cells run.

        It is pickled by reference and imports there what it needs. A
        ResnetBenchError raised there is raised here. A child that has not answered
        after `patience` seconds is ended; what runs in this process is not.
        """

    def nodes(self) -> dict[str, Any]:
        """Return the environments of the machines by name, if there are several."""

    def run(self, job: Job) -> Iterator[Event]:
        """Run the job's cells; a failed cell is an event, never an exception."""

    def close(self) -> None:
        """End every child that is still alive."""


class Workplace(Protocol):
    """Where attempts at cells run."""

    def start(self, job: Job, task: Task) -> Iterable[Event]:
        """Begin an attempt; return the events that are there at once."""

    def news(self) -> Iterable[Event]:
        """Wait for events of running attempts and return them."""


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


def machine_environment() -> dict[str, Any]:
    """Return the environment of this machine; imports torch."""
    from resnet_bench.engine.machine import collect

    return collect()


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's name for a message."""
    return f"{function.__module__}.{function.__qualname__}"


#: Characters of an error's text that are kept.
LONGEST_FAILURE = 1000


def describe_failure(error: BaseException) -> str:
    """Return one line: our own message as it is, others with their type."""
    text = " ".join(str(error).split())[:LONGEST_FAILURE]
    if isinstance(error, ResnetBenchError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
