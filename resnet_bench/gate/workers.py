"""Workers forked from a process that has imported PyTorch already.

Importing takes longer than a pair's measurement. A forked worker is as fresh as one
that was started by itself: no tensor was made, no thread started, nothing of either
tree imported before. What it shares with its siblings is where libraries lie in
memory; so a nursery serves a few pairs only, and the next one has other addresses.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution.processes import SETTING, VARIABLE

WORKER = Path(__file__).with_name("worker.py")

#: Fixed in every worker before it starts. A thread that waits must sleep: the other
#: worker needs the core. Page faults took a fifth of a training step, and differed from
#: process to process (docs/noise.md has the figures).
SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONHASHSEED": "0", VARIABLE: SETTING}

#: A worker that has closed its socket is about to exit: so long it may, by itself.
GRACE_SECONDS = 5.0


class WorkerError(ResnetBenchError):
    """A worker that could not do what it was asked, in one line."""


class SilentWorkerError(ResnetBenchError):
    """A worker that did not answer in time: it hangs, and would hang again."""


@dataclass(frozen=True)
class Launch:
    """What starts a worker: the folder to import from, the subject, the threads.

    A worker that has not answered within `patience` seconds hangs.
    """

    tree: Path
    subject: str
    threads: int
    seed: int
    patience: float | None = None

    @property
    def arguments(self) -> list[str]:
        """The arguments of the worker's program, the socket's number apart."""
        return [str(self.tree), self.subject, str(self.threads), str(self.seed)]


def environment_of(threads: int) -> dict[str, str]:
    """Return the environment variables of a worker."""
    count = str(threads)
    fixed = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, **SETTINGS}
    return {**os.environ, **fixed}


class Running(Protocol):
    """A process that was started, however it was."""

    def end(self, grace: float = 0.0) -> int:
        """Kill it if it still runs after `grace` seconds, and return its status."""


class Spawned:
    """A process of this one's own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def end(self, grace: float = 0.0) -> int:
        """Kill it if it still runs after `grace` seconds, and return its status."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(grace)
        self._process.kill()
        return self._process.wait()


Start = Callable[[Launch, socket.socket, IO[str]], Running]


def spawn(launch: Launch, end: socket.socket, log: IO[str]) -> Running:
    """Start a worker's program anew, at `end` of its socket."""
    command = [sys.executable, "-P", str(WORKER), str(end.fileno()), *launch.arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[end.fileno()],
        cwd=launch.tree,
        env=environment_of(launch.threads),
    )
    return Spawned(process)


class WorkerProcess:
    """A running worker; use as a context manager, which also ends it."""

    def __init__(self, launch: Launch, start: Start = spawn) -> None:
        with contextlib.ExitStack() as closing:
            self._log = closing.enter_context(tempfile.TemporaryFile("w+"))
            self._socket, theirs = socket.socketpair()
            closing.enter_context(self._socket)
            self._socket.settimeout(launch.patience)
            self._replies = closing.enter_context(self._socket.makefile("r"))
            with theirs:
                self._running = start(launch, theirs, self._log)
            closing.callback(self._running.end)
            self._closing = closing.pop_all()

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

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
        try:
            line = self._replies.readline()
        except TimeoutError as error:
            waited = self._socket.gettimeout()
            raise SilentWorkerError(
                f"no answer for {waited:.0f} s: it hangs"
            ) from error
        except ConnectionResetError:
            line = ""
        if not line:
            raise WorkerError(self._last_words())
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def ask(self, do: str, **arguments: object) -> Mapping[str, Any]:
        """Send a request and wait for its reply; raises as `receive` does."""
        self.send(do, **arguments)
        return self.receive()

    def _last_words(self) -> str:
        code = self._running.end(GRACE_SECONDS)
        self._log.seek(0)
        lines = [line for line in self._log.read().splitlines() if line.strip()]
        return lines[-1] if lines else f"the worker ended with status {code}"


FORKING = Path(__file__).with_name("forking.py")

#: A check that ends at its first look has seen three memory layouts.
PAIRS_PER_NURSERY = 4

#: Longer than any answer, which is a number.
ANSWER_BYTES = 64


class Forked:
    """A worker that is a nursery's child."""

    def __init__(self, nursery: "Nursery", number: int) -> None:
        self._nursery = nursery
        self._number = number
        self._status: int | None = None

    def end(self, grace: float = 0.0) -> int:
        """Kill it if it still runs after `grace` seconds, and return its status."""
        if self._status is None:
            request = {"do": "end", "process": self._number, "grace": grace}
            self._status = self._nursery.ask(request)
        return self._status


class Nursery:
    """A process that imports `libraries` and forks; use as a context manager."""

    def __init__(self, threads: int, libraries: Sequence[str]) -> None:
        with contextlib.ExitStack() as closing:
            self._log = closing.enter_context(tempfile.TemporaryFile("w+"))
            self._socket, theirs = socket.socketpair(
                socket.AF_UNIX, socket.SOCK_SEQPACKET
            )
            with theirs:
                self._process = self._run(theirs.fileno(), environment_of(threads))
            closing.callback(self._process.wait)
            # When it closes, the process ends its children, then itself.
            closing.enter_context(self._socket)
            self.ask({"do": "import", "names": list(libraries)})
            self._closing = closing.pop_all()

    def _run(
        self, number: int, environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-P", str(FORKING), str(number), str(WORKER)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[number],
            env=environment,
        )

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def ask(self, request: object, files: Sequence[int] = ()) -> int:
        """Send a request, with open files, and return the number it is answered by.

        Raises WorkerError when the nursery is gone.
        """
        try:
            message = json.dumps(request).encode()
            socket.send_fds(self._socket, [message], files)
            answer = self._socket.recv(ANSWER_BYTES)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        if not answer:
            raise WorkerError(f"the process that starts workers is gone: {self._why()}")
        return int(answer)

    def _why(self) -> str:
        self._log.seek(0)
        lines = [line for line in self._log.read().splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with status {self._process.wait()}"

    def fork(self, launch: Launch, end: socket.socket, log: IO[str]) -> Running:
        """Start a worker at `end` of its socket; raises WorkerError."""
        request = {"do": "fork", "arguments": launch.arguments}
        return Forked(self, self.ask(request, [end.fileno(), log.fileno()]))


@contextlib.contextmanager
def nurseries(
    threads: int, libraries: Sequence[str]
) -> Iterator[Callable[[int], Start]]:
    """Provide what starts the workers of a pair, by its number.

    Where forking is not safe, each worker starts by itself.
    """
    with contextlib.ExitStack() as stack:
        current: dict[int, Start] = {}

        def start_for(pair: int) -> Start:
            if sys.platform != "linux":
                return spawn
            group = pair // PAIRS_PER_NURSERY
            if group not in current:
                stack.close()
                current.clear()
                nursery = stack.enter_context(Nursery(threads, libraries))
                current[group] = nursery.fork
            return current[group]

        yield start_for
