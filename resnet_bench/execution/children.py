"""Child processes, and the pipes to them."""

import os
import signal
import time
from collections.abc import Iterable
from typing import Any

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution import child
from resnet_bench.execution.base import describe_exit
from resnet_bench.interrupts import held

#: How long children may take to leave after they were told to, in seconds.
LEAVE_SECONDS = 5.0

#: How long to wait before a child is started once more, in seconds.
RESTART_PAUSES = (0.05, 0.5)

#: Children never see Ctrl-C: what it means is for the parent alone to decide.
INTERRUPT = frozenset({signal.SIGINT})


class Child:
    """A child process and the pipes to it.

    Raises ResnetBenchError when none can be started.
    """

    def __init__(self, context: Any, target: Any, *arguments: Any) -> None:
        self.pipe, theirs = context.Pipe()
        # Closing this end, also by dying, is what ends the child.
        lifeline, self._lifeline = context.Pipe(duplex=False)
        gpus = os.environ.get(child.GPUS)
        self.process = context.Process(
            target=target, args=(theirs, lifeline, gpus, *arguments), daemon=True
        )
        _start(self.process)
        theirs.close()
        lifeline.close()

    def receive(self) -> tuple[Any, ...]:
        """Return the next message; how the child ended if it says nothing more.

        ("died", error, None) stands for a death that was not the child's own doing.
        """
        try:
            message: tuple[Any, ...] = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(LEAVE_SECONDS)
            code = self.process.exitcode
            kind = "died" if code is None or code < 0 else "failed"
            return (kind, describe_exit(code), None)
        return message

    def visit(self) -> None:
        """Let a waiting generator take its next step."""
        try:
            self.pipe.send(child.VISIT)
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
            with held(INTERRUPT):
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
