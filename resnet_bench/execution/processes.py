"""A child process per cell, forked from a server that has torch imported already.

Such a child builds ResNet-18 and runs three steps in 0.7 s; a spawned one needs 4 to
5 s (two cores). Where forkserver does not exist, spawn takes its place.
"""

import multiprocessing
import random
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution import child
from resnet_bench.execution.events import Ended, Event, Job, Recorded, Started, Task
from resnet_bench.execution.failures import describe_exit

#: How long a child may take to leave after its last message, in seconds.
LEAVE_SECONDS = 5.0

PRELOADED = ("torch", "torchvision", "resnet_bench.engine.ranks")


class Child:
    """A child process and the pipes to it."""

    def __init__(self, context: Any, target: Any, *arguments: Any) -> None:
        self.pipe, theirs = context.Pipe()
        # Closing this end, also by dying, is what ends the child.
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self.process = context.Process(
            target=target, args=(theirs, lifeline, *arguments), daemon=True
        )
        self.process.start()
        theirs.close()
        lifeline.close()

    def receive(self) -> tuple[Any, ...]:
        """Return the next message; how the child ended if it says nothing more."""
        try:
            message: tuple[Any, ...] = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(LEAVE_SECONDS)
            return ("failed", describe_exit(self.process.exitcode), None)
        return message

    def visit(self) -> None:
        """Let a waiting generator take its next step."""
        try:
            self.pipe.send(child.VISIT)
        except OSError:
            return  # it died between visits: receive() says how

    def close(self) -> None:
        """End the child if it has not ended by itself."""
        self._lifeline.close()
        self.process.join(LEAVE_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


class _Attempt:
    """A running attempt at a cell."""

    def __init__(self, context: Any, job: Job, task: Task, group: int) -> None:
        waiting = child.for_visit if job.schedule == "rounds" else child.at_once
        self.task = task
        self.group = group
        self.begin = time.perf_counter()
        self.child = Child(context, child.run_cell, job.module, task.cell, waiting)

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
        seconds = time.perf_counter() - self.begin
        status = "ok" if kind == "end" else "failed"
        error, detail = content if content else (None, None)
        return Ended(key, attempt, status, seconds, error, detail, self.group)


class ProcessExecutor:
    """Runs every cell in a fresh child process."""

    def __init__(self) -> None:
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        self._living: dict[str, _Attempt] = {}

    def warm(self, modules: tuple[str, ...]) -> None:
        """Start the fork server, which imports torch and these modules meanwhile."""
        if self._context.get_start_method() == "forkserver":
            from multiprocessing.forkserver import ensure_running

            self._context.set_forkserver_preload([*PRELOADED, *modules])
            ensure_running()

    def call(self, module: str, function: str, *arguments: Any) -> Any:
        """Call the function in a child; its ResnetBenchError is raised here."""
        answering = Child(self._context, child.answer_call, module, function, arguments)
        try:
            kind, *content = answering.receive()
        finally:
            answering.close()
        if kind == "value":
            return content[0]
        if kind == "error":
            error_class, message = content
            raise error_class(message)
        raise ResnetBenchError(f"{module}.{function} failed: {content[0]}")

    def run(self, job: Job) -> Iterator[Event]:
        """Run the job's cells under its schedule."""
        try:
            if job.schedule == "rounds":
                yield from self._rounds(job)
            else:
                yield from self._once(job)
        finally:
            self.close()

    def close(self) -> None:
        """End every child that is still alive."""
        for attempt in self._living.values():
            attempt.child.close()
        self._living.clear()

    def _start(self, job: Job, task: Task, group: int = 0) -> _Attempt:
        attempt = _Attempt(self._context, job, task, group)
        self._living[task.cell.key] = attempt
        return attempt

    def _once(self, job: Job) -> Iterator[Event]:
        """Keep `workers` cells running; a cell waits for those it needs."""
        waiting = list(job.tasks)
        planned = {task.cell.key for task in waiting}
        ended: dict[str, str] = {}
        while waiting or self._living:
            for task in _ready(waiting, planned, ended):
                lost = [key for key in task.cell.needs if ended.get(key) == "failed"]
                if lost:
                    waiting.remove(task)
                    ended[task.cell.key] = "failed"
                    yield _lost(task, lost)
                elif len(self._living) < job.workers:
                    waiting.remove(task)
                    yield self._start(job, task).started
            for event in self._messages():
                if isinstance(event, Ended):
                    ended[event.key] = event.status
                yield event

    def _messages(self) -> Iterator[Event]:
        """Block until children speak, and pass on one message of each."""
        pipes: dict[Connection, str] = {
            attempt.child.pipe: key for key, attempt in self._living.items()
        }
        for pipe in wait(list(pipes)) if pipes else []:
            key = pipes[pipe]  # type: ignore[index] # wait returns what it was given
            event = self._living[key].next_event()
            if isinstance(event, Ended):
                del self._living[key]
            yield event

    def _rounds(self, job: Job) -> Iterator[Event]:
        """Visit the living cells in shuffled order until all have ended."""
        order = random.Random(job.seed)
        for number, group in enumerate(_groups(job)):
            living = list(group)
            first = True
            while living:
                # The first round follows the grid, so that figures come early.
                visits = living if first else order.sample(living, len(living))
                first = False
                for task in list(visits):
                    for event in self._visit(job, task, number):
                        if isinstance(event, Ended):
                            living.remove(task)
                        yield event

    def _visit(self, job: Job, task: Task, group: int) -> Iterator[Event]:
        attempt = self._living.get(task.cell.key)
        if attempt is None:
            attempt = self._start(job, task, group)
            yield attempt.started
        attempt.child.visit()
        event = attempt.next_event()
        if isinstance(event, Ended):
            del self._living[task.cell.key]
        yield event


def _ready(waiting: list[Task], planned: set[str], ended: dict[str, str]) -> list[Task]:
    """Return the tasks whose needs are met; a need outside the job was met before."""
    return [
        task
        for task in waiting
        if all(key in ended or key not in planned for key in task.cell.needs)
    ]


def _lost(task: Task, needs: list[str]) -> Ended:
    reason = f"needs cell {', '.join(needs)}, which failed"
    return Ended(task.cell.key, task.attempt, "failed", 0.0, reason)


def _groups(job: Job) -> list[list[Task]]:
    """Split the cells into groups that fit in memory together."""
    groups: list[list[Task]] = [[]]
    used = 0.0
    for task in job.tasks:
        needed = task.cell.memory_bytes
        if groups[-1] and used + needed > job.memory_bytes:
            groups.append([])
            used = 0.0
        groups[-1].append(task)
        used += needed
    return groups
