"""The measuring processes: started one by one or forked, and asked over a socket."""

import contextlib
import functools
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any, Self

from resnet_bench.errors import NotComparableError, ResnetBenchError, UsageError
from resnet_bench.gate.records import SIDES, Accuracy, ExactMetrics, Side, Trial
from resnet_bench.gate.spec import INSTRUCTIONS, Case, parse_case

WORKER = Path(__file__).with_name("worker.py")
FORKING = Path(__file__).with_name("forking.py")

#: Freed memory stays with the process and lies on huge pages (glibc manual, "Memory
#: Allocation Tunables"). Otherwise page faults take a fifth of a training step, and
#: differ from process to process (docs/noise.md has the figures).
TUNABLES = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:"
    "glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=67108864"
)

#: Fixed in every worker before it starts. A thread that waits must sleep: the other
#: worker needs the core.
SETTINGS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONHASHSEED": "0",
    "GLIBC_TUNABLES": TUNABLES,
}

#: A worker that has closed its socket is about to exit: so long it may, by itself.
GRACE_SECONDS = 5.0

#: How long a worker that should answer is waited for at a time.
LOOK_SECONDS = 1.0

#: So much of a log's end is looked at for the last line: a subject may have said a lot.
LAST_BYTES = 65536


class WorkerError(ResnetBenchError):
    """A worker that could not do what it was asked, in one line."""


class SilentWorkerError(ResnetBenchError):
    """A worker that did not answer in time; asking again would take as long."""


@dataclass(frozen=True)
class Launch:
    """What starts a worker: the folder to import from, the subject, the threads.

    A worker that has not answered within `patience` seconds hangs. `python` is an
    interpreter other than this process's.
    """

    tree: Path
    subject: str
    threads: int
    seed: int
    patience: float | None = None
    python: Path | None = None

    @property
    def place(self) -> str:
        """The name in errors of the place that the worker measures."""
        return f"environment {self.python}" if self.python else "tree"

    @property
    def module(self) -> str:
        """The subject's module."""
        return self.subject.partition(":")[0]

    @property
    def arguments(self) -> list[str]:
        """The arguments of the worker's program, without the socket's number."""
        return [str(self.tree), self.subject, str(self.threads), str(self.seed)]


def environment_of(threads: int) -> dict[str, str]:
    """Return the environment variables of a worker."""
    count = str(threads)
    fixed = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, **SETTINGS}
    return {**os.environ, **fixed}


#: Kills a worker that still runs after so many seconds, and returns its status.
End = Callable[[float], int]

Start = Callable[[Launch, socket.socket, IO[str]], End]


def spawn(launch: Launch, end: socket.socket, log: IO[str]) -> End:
    """Start a worker's program in a new process, at `end` of its socket."""
    program = [launch.python or sys.executable, "-P", WORKER]
    process = _run(program, end, launch.arguments, log, launch.threads)
    return functools.partial(_ended, process)


def _run(
    program: Sequence[object],
    end: socket.socket,
    arguments: Sequence[str],
    log: IO[str],
    threads: int,
) -> "subprocess.Popen[bytes]":
    """Start a program that gets the number of its socket and its arguments."""
    number = end.fileno()
    return subprocess.Popen(
        [*map(str, program), str(number), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[number],
        env=environment_of(threads),
    )


def _ended(process: "subprocess.Popen[bytes]", grace: float) -> int:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(grace)
    process.kill()
    return process.wait()


def _log_file() -> IO[str]:
    """Return a file for what a process prints, UTF-8 or not."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")


class Process:
    """A process with a socket and a log; use as a context manager, which ends it."""

    _log: IO[str]
    _closing: contextlib.ExitStack

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and free its resources."""
        self._closing.close()

    def last_words(self) -> str | None:
        """Return the last line of its log, None where it said nothing."""
        size = os.fstat(self._log.fileno()).st_size
        self._log.seek(max(0, size - LAST_BYTES))
        lines = [line for line in self._log.read().splitlines() if line.strip()]
        return lines[-1] if lines else None


class WorkerProcess(Process):
    """A running worker."""

    def __init__(self, launch: Launch, start: Start = spawn) -> None:
        with contextlib.ExitStack() as closing:
            self._log = closing.enter_context(_log_file())
            self._socket, theirs = socket.socketpair()
            closing.enter_context(self._socket)
            self._patience = launch.patience
            self._replies = closing.enter_context(self._socket.makefile("r"))
            with theirs:
                self._end = start(launch, theirs, self._log)
            self._status: int | None = None
            closing.callback(self.end, 0.0)
            self._closing = closing.pop_all()

    def end(self, grace: float) -> int:
        """Kill it if it still runs after `grace` seconds, and return its status."""
        if self._status is None:
            self._status = self._end(grace)
        return self._status

    def send(self, do: str, **arguments: object) -> None:
        """Ask for something without waiting for the reply."""
        request = json.dumps({"do": do, **arguments}) + "\n"
        # A worker that has ended does not listen; its last words are in its log.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(request.encode())

    def receive(self) -> Mapping[str, Any]:
        """Wait for the reply; raises WorkerError if the worker failed.

        Raises SilentWorkerError when there is none in time.
        """
        if self._patience is not None and not self._speaks(self._patience):
            raise SilentWorkerError(
                f"no answer for {self._patience:.0f} s: it seems to hang"
            )
        try:
            line = self._replies.readline()
        except ConnectionResetError:
            line = ""
        if not line:
            code = self.end(GRACE_SECONDS)
            words = self.last_words() or f"the worker ended with status {code}"
            raise WorkerError(words)
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def _speaks(self, patience: float) -> bool:
        """Wait for a reply; time in which this process is stopped does not count."""
        looks = math.ceil(patience / LOOK_SECONDS)
        return any(wait([self._socket], patience / looks) for _ in range(looks))

    def ask(self, do: str, **arguments: object) -> Mapping[str, Any]:
        """Send a request and wait for its reply; raises as `receive` does."""
        self.send(do, **arguments)
        return self.receive()


#: A check that ends at its first look has seen three memory layouts.
PAIRS_PER_NURSERY = 4

#: Longer than any answer, which is a number.
ANSWER_BYTES = 64


class Nursery(Process):
    """A process that imports `libraries`, PyTorch among them, and forks workers.

    Importing takes longer than a pair's measurement. A forked worker is as fresh as one
    that was started by itself: no tensor was made, no thread started, nothing of either
    tree imported before. What it shares with its siblings is where libraries lie in
    memory; so a nursery serves a few pairs only, and the next one has other addresses.
    """

    def __init__(self, threads: int, libraries: Sequence[str]) -> None:
        with contextlib.ExitStack() as closing:
            self._log = closing.enter_context(_log_file())
            self._socket, theirs = socket.socketpair(
                socket.AF_UNIX, socket.SOCK_SEQPACKET
            )
            with theirs:
                program = [sys.executable, "-P", FORKING]
                self._process = _run(program, theirs, [str(WORKER)], self._log, threads)
            closing.callback(self._process.wait)
            # When it closes, the process ends its children, then itself.
            closing.enter_context(self._socket)
            self.ask({"do": "import", "names": list(libraries)})
            self._closing = closing.pop_all()

    def ask(self, request: object, files: Sequence[int] = ()) -> int:
        """Send a request, with open files, and return the number it is answered by.

        Raises WorkerError when the nursery died.
        """
        try:
            message = json.dumps(request).encode()
            socket.send_fds(self._socket, [message], files)
            answer = self._socket.recv(ANSWER_BYTES)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        if not answer:
            words = self.last_words() or f"it ended with status {self._process.wait()}"
            raise WorkerError(f"the process that starts workers died: {words}")
        return int(answer)

    def fork(self, launch: Launch, end: socket.socket, log: IO[str]) -> End:
        """Start a worker at `end` of its socket; raises WorkerError."""
        request = {"do": "fork", "arguments": launch.arguments}
        number = self.ask(request, [end.fileno(), log.fileno()])
        return lambda grace: self.ask({"do": "end", "process": number, "grace": grace})


@contextlib.contextmanager
def nurseries(
    launches: Mapping[Side, Launch], libraries: Sequence[str]
) -> Iterator[Callable[[int], Start]]:
    """Provide what starts the workers of a pair, by its number.

    Where forking is not safe, and under two interpreters, which no process can fork,
    each worker starts by itself.
    """
    threads = launches["base"].threads
    alone = sys.platform != "linux" or any(row.python for row in launches.values())
    with contextlib.ExitStack() as stack:
        current: dict[int, Start] = {}

        def start_for(pair: int) -> Start:
            if alone:
                return spawn
            group = pair // PAIRS_PER_NURSERY
            if group not in current:
                stack.close()
                current.clear()
                nursery = stack.enter_context(Nursery(threads, libraries))
                current[group] = nursery.fork
            return current[group]

        yield start_for


OTHER: dict[Side, Side] = {"base": "head", "head": "base"}

#: The version of the agreement between worker and subject that this driver speaks.
SUBJECT_API = 1


@dataclass(frozen=True)
class Leg:
    """Median seconds per call, and how often the leg was taken again.

    `stopped` counts the tries in which the process was stopped.
    """

    seconds: float
    stopped: int = 0


@dataclass(frozen=True)
class LiveSide:
    """A worker seen as a stopwatch; its errors name the side."""

    side: Side
    worker: WorkerProcess
    place: str = "tree"

    def prepare(self, case: Case) -> float:
        """Build and warm up the case; return its seconds per call."""
        return float(self._ask("prepare", case)["seconds"])

    def leg(self, case: Case, loops: int) -> Leg:
        """Time `loops` calls."""
        reply = self._ask("leg", case, loops=loops)
        return Leg(float(reply["seconds"]), int(reply["stopped"]))

    def _ask(self, do: str, case: Case, **further: int) -> Mapping[str, Any]:
        try:
            return self.worker.ask(do, name=case.name, method=case.method, **further)
        except WorkerError as error:
            raise WorkerError(
                f"{case.text} of the {self.side} {self.place}: {error}"
            ) from error


@contextlib.contextmanager
def workers(
    launches: Mapping[Side, Launch], first: Side = "base", start: Start = spawn
) -> Iterator[dict[Side, WorkerProcess]]:
    """Start a worker for each side while the block runs; both import at once.

    Raises WorkerError, and NotComparableError for another protocol.
    """
    with contextlib.ExitStack() as stack:
        order = sorted(SIDES, key=lambda side: side != first)
        both = {
            side: stack.enter_context(WorkerProcess(launches[side], start))
            for side in order
        }
        for side, worker in both.items():
            worker.send("open", other=str(launches[OTHER[side]].tree))
        yield both


def opened(
    both: Mapping[Side, WorkerProcess], launches: Mapping[Side, Launch]
) -> dict[Side, Mapping[str, Any]]:
    """Wait until both subjects are imported; return what each offers.

    Raises NotComparableError when a tree has no subject of this protocol.
    """
    offers = {}
    # A name that neither tree has is a mistake in the call, not the base's fault.
    for side in reversed(SIDES):
        try:
            offers[side] = both[side].receive()
        except WorkerError as error:
            remedy = _remedy(side, launches["base"], error)
            raise NotComparableError(
                f"the {side} {launches[side].place} has no usable subject: "
                f"{error}{remedy}"
            ) from error
        refuse_a_foreign(side, offers[side], launches[side].module)
    return offers


#: How a subject fails that needs a file which is in no commit.
LACKING = ("ModuleNotFoundError", "ImportError", "FileNotFoundError")


def _remedy(side: Side, base: Launch, error: WorkerError) -> str:
    """Return advice for a base that lacks files or packages."""
    if side == "head" or not any(name in str(error) for name in LACKING):
        return ""
    if base.python:
        return f" ('{base.python} -m pip install' adds packages)"
    missing = re.search(r"No module named '(.+?)'", str(error))
    if missing and f"{base.module}.".startswith(f"{missing[1]}."):
        return (
            " (the subject must exist in the base commit too: the first commit that "
            "can be a base is the one that adds it)"
        )
    return (
        " (the tree holds only committed files: commit the missing ones, or let the "
        "subject build them on import)"
    )


def refuse_a_foreign(side: Side, offer: Mapping[str, Any], module: str) -> None:
    """Raise NotComparableError for a subject of another API or from elsewhere."""
    if offer["api"] is None:
        raise NotComparableError(
            f"the {side} tree's {module} has no SUBJECT_API = {SUBJECT_API} (a subject "
            f"is a module with SUBJECT_API and CASES; see {INSTRUCTIONS})"
        )
    if offer["api"] != SUBJECT_API:
        raise NotComparableError(
            f"the {side} tree's subject has SUBJECT_API = {offer['api']}, "
            f"expected {SUBJECT_API}"
        )
    if not offer["inside"]:
        raise NotComparableError(
            f"the {side} tree's subject was imported from outside the tree: give "
            "--subject a module of the tree, or --source the folder to import it from"
        )
    if offer["borrowed"]:
        raise NotComparableError(
            f"the {side} tree's subject imports {offer['borrowed']} from the "
            f"{OTHER[side]} tree, where it is installed: give --source the folder that "
            "holds it"
        )
    for text in offer["cases"]:
        _refuse_an_unknown_case(side, text)


def _refuse_an_unknown_case(side: Side, text: str) -> None:
    try:
        parse_case(text)
    except UsageError as error:
        reason = str(error).removeprefix("--cases ")
        raise NotComparableError(
            f"CASES of the {side} tree's subject: {reason}"
        ) from error


class Interview:
    """Both sides, asked the same question at once; a failed worker is replaced."""

    def __init__(
        self, launches: Mapping[Side, Launch], stack: contextlib.ExitStack
    ) -> None:
        self._launches = launches
        self._stack = stack
        self._workers = stack.enter_context(workers(launches))
        self.offers = opened(self._workers, launches)

    def ask(self, do: str, **arguments: object) -> dict[Side, Mapping[str, Any]]:
        """Return each side's reply, `{"problem": …}` from one that failed."""
        for side in SIDES:
            self._workers[side].send(do, **arguments)
        return {side: self._reply(side) for side in SIDES}

    def _reply(self, side: Side) -> Mapping[str, Any]:
        try:
            return self._workers[side].receive()
        except WorkerError as error:
            launch = self._launches[side]
            self._workers[side] = self._stack.enter_context(WorkerProcess(launch))
            self._workers[side].ask("open")
            return {"problem": str(error)}

    @property
    def cases(self) -> list[Case]:
        """The cases that either tree's subject lists, head's first."""
        offers = (self.offers["head"], self.offers["base"])
        return [parse_case(text) for offer in offers for text in offer["cases"]]

    @property
    def names(self) -> list[str]:
        """The names of these cases."""
        return list(dict.fromkeys(case.name for case in self.cases))

    def libraries(self) -> list[str]:
        """Return the installed packages that both sides have loaded by now."""
        found = self.ask("libraries")
        base, head = (found[side].get("libraries", []) for side in SIDES)
        return [name for name in base if name in head]

    def versions(self) -> dict[Side, Mapping[str, Any]]:
        """Return the versions of Python, PyTorch and what it computes with.

        Raises NotComparableError for a side that cannot tell them.
        """
        found = self.ask("versions")
        for side in SIDES:
            if problem := found[side].get("problem"):
                place = self._launches[side].place
                raise NotComparableError(
                    f"the {side} {place} cannot name its versions: {problem}"
                )
        return found

    def trials(self, case: Case) -> list[Trial]:
        """Return whether the case runs on each side."""
        found = self.ask("prepare", name=case.name, method=case.method)
        return [
            Trial(case=case.text, side=side, problem=found[side].get("problem"))
            for side in SIDES
        ]

    def exact_metrics(self, name: str) -> list[ExactMetrics]:
        """Return a case's exact quantities on each side."""
        found = self.ask("exact", name=name)
        return [ExactMetrics(case=name, side=side, **found[side]) for side in SIDES]

    def accuracies(self, name: str, seed: int) -> list[Accuracy]:
        """Return each side's accuracy after training with one seed."""
        found = self.ask("evaluate", name=name, seed=seed)
        return [
            Accuracy(case=name, side=side, training_seed=seed, **found[side])
            for side in SIDES
        ]


@contextlib.contextmanager
def interview(launches: Mapping[Side, Launch]) -> Iterator[Interview]:
    """Start both sides for questions while the block runs.

    Raises NotComparableError when a tree has no subject of this protocol.
    """
    with contextlib.ExitStack() as stack:
        yield Interview(launches, stack)
