"""What executors are asked for, what they report, and how a failure is said."""

import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, TypeVarTuple

from resnet_bench.errors import ResnetBenchError, UsageError
from resnet_bench.records import Cell, Record

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
        """Note what a visit brought."""


class Rounds:
    """Visits all living cells in shuffled rounds until each has ended by itself."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._waiting: list[str] | None = None

    def next(self, living: Sequence[str]) -> str | None:
        """Return the next cell of the round; the first follows the grid."""
        if self._waiting is None:
            self._waiting = list(living)
        self._waiting = [key for key in self._waiting if key in living]
        if not self._waiting:
            self._waiting = self._random.sample(living, len(living))
        return self._waiting.pop(0)

    def hear(self, event: Event) -> None:
        """Cells end by themselves."""


@dataclass(frozen=True)
class Job:
    """All that an executor needs to know.

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
        """Whether a call that dies leaves everything else here alive."""

    @property
    def ranks(self) -> int:
        """How many processes share one cell."""

    def warm(self, modules: tuple[str, ...]) -> None:
        """Begin to load what cells will import."""

    def call(
        self, function: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Result:
        """Return what the function returns where cells run.

        It is pickled by reference and imports there what it needs. A
        ResnetBenchError raised there is raised here.
        """

    def nodes(self) -> dict[str, Any]:
        """Return the environments of the machines by name, if there are several."""

    def run(self, job: Job) -> Iterator[Event]:
        """Run the job's cells; a failed cell is an event, never an exception."""

    def close(self) -> None:
        """End every child that is still alive."""


def machine_environment() -> dict[str, Any]:
    """Return what the machine is on which this is called; imports torch."""
    from resnet_bench.engine.machine import collect

    return collect()


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's name for a message."""
    return f"{function.__module__}.{function.__qualname__}"


def describe_failure(error: BaseException) -> str:
    """Return one line: our own message as it is, others with their type."""
    text = " ".join(str(error).split())
    if isinstance(error, ResnetBenchError):
        return text
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__


def describe_exit(code: int | None) -> str:
    """Say how a child ended that reported nothing itself."""
    if code is None:
        return "the child closed its pipe without a word"
    if code >= 0:
        return f"the child left with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = " (out of memory is the usual cause)" if -code == signal.SIGKILL else ""
    return f"the child was ended by {name}{hint}"


def describe_loss(error: Exception) -> str:
    """Say why Ray gave a task up; `error` has a `cause` if its code raised it.

    Raises a UsageError that was the cause: no other node would do better.
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, UsageError):
        raise cause
    if isinstance(cause, Exception):
        return f"its Ray task failed ({describe_failure(cause)})"
    return f"its Ray worker or node died ({type(error).__name__})"
