"""Workers forked from a process that has imported PyTorch already.

Importing takes longer than a pair's measurement. A forked worker is as fresh as one
that was started by itself: no tensor was made, no thread started, nothing of either
tree imported before. What it shares with its siblings is where libraries lie in
memory; so a nursery serves a few pairs only, and the next one has other addresses.
"""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from resnet_bench.gate.channel import (
    WORKER,
    Launch,
    Running,
    Start,
    WorkerError,
    environment_of,
    spawn,
)

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
