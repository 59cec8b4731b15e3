"""The driver's end of a worker process."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution.allocator import SETTING, VARIABLE

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
