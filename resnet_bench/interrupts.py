"""What Ctrl-C, SIGTERM and SIGHUP do, and when they have to wait."""

import atexit
import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from resnet_bench.errors import ExitCode

STOPPING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

#: What a terminal sends to all that runs in it: children leave it to their parent.
FROM_TERMINAL = frozenset({signal.SIGINT, signal.SIGHUP})

#: How long closing may take before another signal is heard.
CLOSING_SECONDS = 10.0


@contextmanager
def held(signals: frozenset[signal.Signals] = STOPPING) -> Iterator[None]:
    """Keep signals pending while the block runs; they arrive right after it.

    Processes started inside inherit the mask: they never see these signals.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed, unlike a KeyboardInterrupt raised by a user's code."""


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; like KeyboardInterrupt, nothing below catches it."""


def meaning_of(number: int) -> BaseException:
    """Return what a signal raises: Interrupted or Terminated."""
    return Interrupted() if number == signal.SIGINT else Terminated()


class Stopping:
    """Raises for the first signal, and lets the closing that follows finish.

    Closing children and run file takes seconds at most; a second Ctrl-C in the
    midst of it would lose the end of the run file and gain nothing.
    """

    def __init__(
        self,
        meaning: Callable[[int], BaseException] = meaning_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meaning = meaning
        self._clock = clock
        self._deaf_until = -math.inf

    def install(self) -> None:
        """Handle the signals in this process; `nohup` keeps SIGHUP away from it."""
        for number in STOPPING:
            ignored = signal.getsignal(number) is signal.SIG_IGN
            if not (ignored and number == signal.SIGHUP):
                signal.signal(number, self.hear)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals in this process while the block runs."""
        before = {number: signal.getsignal(number) for number in STOPPING}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Raise what the signal means, unless one was raised just now."""
        now = self._clock()
        if now < self._deaf_until:
            return
        self._deaf_until = now + CLOSING_SECONDS
        raise self._meaning(number)

    def code_of(self, work: Callable[[], int]) -> int:
        """Do the work and return the code to exit with now: its own, or a signal's.

        No later signal changes it: until Python takes modules down one ends the process
        with this code; from then on, when Python would let it kill the process, it is
        ignored.
        """
        atexit.register(_ignore)
        # Whoever started this may have blocked signals, or ignore how children end:
        # every program that fails would then seem to have done its work.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.install()
        try:
            code = work()
        except (KeyboardInterrupt, Terminated) as stopped:
            code = told(stopped)
        for number in STOPPING:
            signal.signal(number, lambda *_: os._exit(code))
        return code


def _ignore() -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def told(stopped: BaseException) -> ExitCode:
    """Print in one line that a signal ended the command; return the exit code."""
    terminated = isinstance(stopped, Terminated)
    # The terminal may have gone, which is what SIGHUP says.
    with contextlib.suppress(AttributeError, OSError):
        sys.stderr.write(f"error: {'terminated' if terminated else 'interrupted'}\n")
        sys.stderr.flush()
    return ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
