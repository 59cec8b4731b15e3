"""The nursery's own program: it imports what workers need, then forks them.

Usage: `python -P forking.py SOCKET WORKER`. Each message on the inherited socket of
that number is a JSON object and is answered by one number. Every worker is this process
as it was after importing, running the program WORKER. Only the standard library is used
here; the rest is imported by name.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

#: Longer than any message.
MESSAGE_BYTES = 65536

#: How often a worker that is about to exit is looked at.
POLL_SECONDS = 0.02


class Parent:
    """Forks a worker on each request, and ends it on another."""

    def __init__(self, end: socket.socket, program: str) -> None:
        self.end = end
        self.program = program
        self.children: set[int] = set()

    def serve(self) -> None:
        """Answer requests until the socket closes, then end what still runs."""
        while True:
            message, files, _, _ = socket.recv_fds(self.end, MESSAGE_BYTES, 2)
            if not message:
                break
            answer = self.answer(json.loads(message), files)
            for file in files:
                os.close(file)
            self.end.send(str(answer).encode())
        for child in list(self.children):
            self.kill(child)

    def answer(self, request: dict[str, Any], files: Sequence[int]) -> int:
        """Return the process that was forked, or the status of the one ended."""
        if request["do"] == "fork":
            return self.fork(request["arguments"], files)
        if request["do"] == "end":
            return self.kill(request["process"], request["grace"])
        for name in request["names"]:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        # No collection of the children has to touch, and so copy, what they share.
        gc.freeze()
        return 0

    def fork(self, arguments: Sequence[str], files: Sequence[int]) -> int:
        """Return the process of a new worker; in that process, never return."""
        child = os.fork()
        if child == 0:
            self.end.close()
            end, log = files
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            sys.argv = [self.program, str(end), *arguments]
            runpy.run_path(self.program, run_name="__main__")
            os._exit(0)
        self.children.add(child)
        return child

    def kill(self, child: int, grace: float = 0.0) -> int:
        """End a worker after `grace` seconds; return its status, minus a signal's."""
        deadline = time.monotonic() + grace
        ended, status = os.waitpid(child, os.WNOHANG)
        while not ended and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        self.children.discard(child)
        return os.waitstatus_to_exitcode(status)


def main(number: str, program: str) -> None:
    """Fork workers of the program until the socket of that number closes."""
    # The driver alone decides what a terminal's signals mean, and closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Parent(socket.socket(fileno=int(number)), program).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
