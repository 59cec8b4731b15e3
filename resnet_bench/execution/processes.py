"""A child process per cell, forked from a server that has torch imported already.

Such a child builds ResNet-18 and runs three steps in 0.7 s; a spawned one needs 4 to
5 s (two cores). Where forkserver does not exist, spawn takes its place.
"""

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from resnet_bench.errors import ChildDiedError, ResnetBenchError, UsageError
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
    name_of,
    next_try,
    record_content,
    run_once,
)
from resnet_bench.interrupts import FROM_TERMINAL, held
from resnet_bench.records import Cell, Record

#: What the fork server imports before the first child.
PRELOADED = ("torch", "torchvision", "resnet_bench.engine.ranks")

#: Which GPUs there are; Ray gives a worker that it uses again others than before.
GPUS = "CUDA_VISIBLE_DEVICES"

#: What the parent sends to a cell that waits for its next step.
VISIT = "visit"

#: How long children may take to leave after they were told to, in seconds.
LEAVE_SECONDS = 5.0

#: How long a child that should answer is waited for at a time, in seconds.
LOOK_SECONDS = 1.0

#: How long to wait before a child is started once more, in seconds.
RESTART_PAUSES = (0.05, 0.5)


# Inside a child. Messages to the parent are tuples: ("record", content), ("end",),
# ("failed", error, detail), ("value", result), ("error", exception class, message).


def _settle(lifeline: Connection, gpus: str | None) -> None:
    """Make the child end with its parent, see its GPUs, and keep stdout for results.

    The parent alone decides what a terminal's signals mean. A thread that sleeps in a
    read costs nothing; when the parent is gone, however it died, the read ends. A fork
    server knows only the GPUs that its first child was to see.
    """
    set_variables({GPUS: gpus})
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(sys.stderr.fileno() if _has_descriptor(sys.stderr) else 2, 1)

    def wait_for_the_end() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()


def set_variables(variables: Mapping[str, str | None]) -> None:
    """Set this process's variables; None stands for one that is not set."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _has_descriptor(stream: Any) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


def answer_call(
    pipe: Connection,
    lifeline: Connection,
    gpus: str | None,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    """Call a function and send its result, or the error meant for a person."""
    _settle(lifeline, gpus)
    try:
        result = function(*arguments)
    except ResnetBenchError as error:
        _tell(pipe, "error", type(error), str(error))
    except BaseException as error:  # noqa: BLE001 - the parent reports it
        _tell(pipe, "failed", describe_failure(error), traceback.format_exc())
    else:
        _tell(pipe, "value", result)


def run_cell(
    pipe: Connection,
    lifeline: Connection,
    gpus: str | None,
    run: Callable[[Any, Any], Iterator[Record]],
    cell: Cell,
    wait: Callable[[Connection], None],
) -> None:
    """Run a cell's generator and send each record; `wait` precedes every step."""
    _settle(lifeline, gpus)
    try:
        from resnet_bench.engine.ranks import Ranks

        records: Iterator[Record] = run(cell, Ranks())
        while True:
            wait(pipe)
            record = next(records, None)
            if record is None:
                break
            _tell(pipe, "record", record_content(record))
            if record.ends_cell:
                break
    except BaseException as error:  # noqa: BLE001 - a cell's failure is a result
        _tell(pipe, "failed", describe_failure(error), traceback.format_exc())
    else:
        _tell(pipe, "end")


def _tell(pipe: Connection, *message: Any) -> None:
    """Send a message; exit if the parent is gone."""
    try:
        pipe.send(message)
    except OSError:
        os._exit(1)


def at_once(pipe: Connection) -> None:
    """Go on without waiting: schedule `once`."""


def for_visit(pipe: Connection) -> None:
    """Sleep until the parent visits: schedule `rounds`."""
    try:
        pipe.recv()
    except EOFError:
        os._exit(1)


# In the parent.


class Child:
    """A child process and the pipes to it.

    Raises ResnetBenchError when none can be started.
    """

    def __init__(self, context: Any, target: Any, *arguments: Any) -> None:
        self.pipe, theirs = context.Pipe()
        # Closing this end, also by dying, is what ends the child.
        lifeline, self._lifeline = context.Pipe(duplex=False)
        gpus = os.environ.get(GPUS)
        self.process = context.Process(
            target=target, args=(theirs, lifeline, gpus, *arguments), daemon=True
        )
        _start(self.process)
        theirs.close()
        lifeline.close()

    def receive(self, patience: float | None = None) -> tuple[Any, ...]:
        """Return the next message; how the child ended if it says nothing more.

        ("died", error, None) stands for a death that was not the child's own doing,
        ("left", error, None) for one that was, or for no message in time.
        """
        try:
            if patience is not None and not self._speaks(patience):
                self.process.kill()
                return (
                    "left",
                    f"no answer for {patience:.0f} s: it seems to hang",
                    None,
                )
            message: tuple[Any, ...] = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(LEAVE_SECONDS)
            code = self.process.exitcode
            kind = "left" if code in range(WITH_ITS_SERVER) else "died"
            return (kind, describe_exit(code), None)
        return message

    def _speaks(self, patience: float) -> bool:
        """Wait for a message, while this process itself is not stopped."""
        looks = math.ceil(patience / LOOK_SECONDS)
        return any(self.pipe.poll(patience / looks) for _ in range(looks))

    def visit(self) -> None:
        """Let a waiting generator take its next step."""
        try:
            self.pipe.send(VISIT)
        except OSError:
            return  # it died between visits: receive() says how

    def close(self) -> None:
        """End the child if it has not ended by itself."""
        close_all([self])

    def _let_go(self) -> None:
        self._lifeline.close()

    def _end_by(self, deadline: float) -> None:
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def close_all(children: Iterable[Child]) -> None:
    """End children that have not ended by themselves, all within LEAVE_SECONDS."""
    children = list(children)
    for one in children:
        one._let_go()
    deadline = time.monotonic() + LEAVE_SECONDS
    for one in children:
        one._end_by(deadline)


def _start(process: Any) -> None:
    """Start a process; a fork server that has just died is replaced."""
    for pause in (*RESTART_PAUSES, None):
        try:
            with held(FROM_TERMINAL):
                process.start()
        except (EOFError, OSError) as error:
            if pause is None:
                reason = str(error) or "the fork server died"
                raise ResnetBenchError(
                    f"cannot start a child process: {reason} (is there memory left?)"
                ) from error
            time.sleep(pause)
        else:
            return


#: What multiprocessing says of a child whose fork server died (popen_forkserver.py).
WITH_ITS_SERVER = 255

OUT_OF_MEMORY = " (out of memory is the usual cause)"


def describe_exit(code: int | None) -> str:
    """Return how a child ended that reported nothing itself."""
    if code is None:
        return "the child closed its pipe without an error message"
    if code == WITH_ITS_SERVER:
        return f"the fork server was killed{OUT_OF_MEMORY}"
    if code >= 0:
        return f"the child exited with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = OUT_OF_MEMORY if -code == signal.SIGKILL else ""
    return f"the child was killed by {name}{hint}"


class _Attempt:
    """A running attempt at a cell."""

    def __init__(self, context: Any, job: Job, task: Task, group: int) -> None:
        waiting = for_visit if job.schedule == "rounds" else at_once
        self.task = task
        self.group = group
        self.last = task.tries >= job.tries
        self.begin = time.perf_counter()
        self.child = Child(context, run_cell, job.run, task.cell, waiting)

    @property
    def started(self) -> Started:
        """The event of its start."""
        return Started(self.task.cell.key, self.task.attempt, self.group)

    def next_event(self) -> Recorded | Ended:
        """Wait for the child's next message."""
        kind, *content = self.child.receive()
        key, attempt = self.task.cell.key, self.task.attempt
        if kind == "record":
            return Recorded(key, attempt, content[0])
        self.child.close()
        error, detail = content if content else (None, None)
        again = kind == "died" and not self.last
        ended = self.ended("ok" if kind == "end" else "failed")
        return replace(ended, error=error, detail=detail, again=again)

    def ended(self, status: str) -> Ended:
        """Return the event of its end."""
        seconds = time.perf_counter() - self.begin
        key, attempt = self.task.cell.key, self.task.attempt
        return Ended(key, attempt, status, seconds, group=self.group)


@contextlib.contextmanager
def _naming_the_folder() -> Iterator[None]:
    """Name the folder of temporary files when its name is too long for a socket."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # Python's own, not the system's
            folder = tempfile.gettempdir()
            accepted = f"a folder with a shorter name ({error})"
            raise UsageError.for_option("TMPDIR", folder, accepted) from error
        raise


class ProcessExecutor:
    """Runs every cell in a fresh child process."""

    ranks = 1
    #: Whether a call that dies leaves everything else alive.
    isolates = True

    def __init__(self, place: Place = HERE) -> None:
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        self._living: dict[str, _Attempt] = {}

    def warm(self, modules: tuple[str, ...]) -> None:
        """Start the fork server, which imports torch and these modules meanwhile."""
        if self._context.get_start_method() == "forkserver":
            from multiprocessing import forkserver, resource_tracker

            self._context.set_forkserver_preload([*PRELOADED, *modules])
            # It takes over this process's filters: what compilers and runtimes leave
            # behind in a child that is ended, it removes without a warning.
            sys.warnoptions.append("ignore:resource_tracker")
            # Starting the tracker lets SIGINT through again: it must be up before.
            resource_tracker.ensure_running()
            with held(FROM_TERMINAL), _naming_the_folder():
                forkserver.ensure_running()

    def call(
        self,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
        patience: float | None = None,
    ) -> Result:
        """Call the function in a child; its ResnetBenchError is raised here."""
        answering = Child(self._context, answer_call, function, arguments)
        try:
            kind, *content = answering.receive(patience)
        finally:
            answering.close()
        if kind == "value":
            result: Result = content[0]
            return result
        if kind == "error":
            error_class, message = content
            raise error_class(message)
        if kind == "died":
            raise ChildDiedError(f"{function.__name__}: {content[0]}")
        if kind == "left":
            raise ResnetBenchError(f"{function.__name__}: {content[0]}")
        raise ResnetBenchError(f"{name_of(function)} failed: {content[0]}")

    def nodes(self) -> dict[str, Any]:
        """Cells run on this machine alone."""
        return {}

    def run(self, job: Job) -> Iterator[Event]:
        """Run the job's cells under its schedule."""
        try:
            if job.schedule == "rounds":
                yield from self._rounds(job)
            else:
                yield from run_once(job, self)
        finally:
            self.close()

    def start(self, job: Job, task: Task) -> list[Event]:
        """Begin an attempt at a cell in a child of its own."""
        return [self._begin(job, task).started]

    def news(self) -> Iterator[Event]:
        """Wait for the children's messages and return their events."""
        for attempt in self._speaking():
            event = attempt.next_event()
            if isinstance(event, Ended):
                del self._living[event.key]
            yield event

    def close(self) -> None:
        """End every child that is still alive."""
        living = [attempt.child for attempt in self._living.values()]
        self._living.clear()
        close_all(living)

    def _begin(self, job: Job, task: Task, group: int = 0) -> _Attempt:
        attempt = _Attempt(self._context, job, task, group)
        self._living[task.cell.key] = attempt
        return attempt

    def _speaking(self) -> list[_Attempt]:
        """Block until children send messages; return their attempts."""
        pipes: dict[Connection, _Attempt] = {
            attempt.child.pipe: attempt for attempt in self._living.values()
        }
        spoken = wait(list(pipes)) if pipes else []
        return [pipes[pipe] for pipe in spoken]  # type: ignore[index]

    def _rounds(self, job: Job) -> Iterator[Event]:
        """Visit the living cells until all have ended or were visited enough."""
        for number, group in enumerate(_groups(job)):
            living = {task.cell.key: task for task in group}
            while living and (key := job.visits.next(list(living))) is not None:
                for event in self._visit(job, living[key], number):
                    job.visits.hear(event)
                    if isinstance(event, Ended):
                        task = living.pop(key)
                        living |= {key: next_try(task)} if event.again else {}
                    yield event
            yield from self._enough()

    def _enough(self) -> Iterator[Event]:
        """End the cells that were visited and would go on for ever."""
        visited = list(self._living.values())
        self._living.clear()
        close_all([attempt.child for attempt in visited])
        yield from (attempt.ended("ok") for attempt in visited)

    def _visit(self, job: Job, task: Task, group: int) -> Iterator[Event]:
        attempt = self._living.get(task.cell.key)
        if attempt is None:
            attempt = self._begin(job, task, group)
            yield attempt.started
        attempt.child.visit()
        event = attempt.next_event()
        if isinstance(event, Ended):
            del self._living[task.cell.key]
        yield event


def _groups(job: Job) -> list[list[Task]]:
    """Split the cells into groups that fit in memory together."""
    groups: list[list[Task]] = [[]]
    held = passing = 0.0
    for task in job.tasks:
        cell = task.cell
        most = held + cell.memory_bytes + max(passing, cell.passing_bytes)
        if groups[-1] and most > job.memory_bytes:
            groups.append([])
            held = passing = 0.0
        groups[-1].append(task)
        held += cell.memory_bytes
        passing = max(passing, cell.passing_bytes)
    return groups
