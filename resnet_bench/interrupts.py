"""What Ctrl-C and SIGTERM do, and when they have to wait."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

BOTH = frozenset({signal.SIGINT, signal.SIGTERM})

#: How long closing may take before another signal is heard.
CLOSING_SECONDS = 10.0


@contextmanager
def held(signals: frozenset[signal.Signals] = BOTH) -> Iterator[None]:
    """Keep signals pending while the block runs; they arrive right after it.

    Processes started inside inherit the mask: they never see these signals.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt, nothing below catches it."""


class Stopping:
    """Raises for the first signal, and lets what it set off come to its end.

    Closing children and run file takes seconds at most; a second Ctrl-C in the
    midst of it would lose the end of the run file and gain nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deaf_until = -math.inf

    def install(self) -> None:
        """Handle Ctrl-C and SIGTERM of this process."""
        signal.signal(signal.SIGINT, self.hear)
        signal.signal(signal.SIGTERM, self.hear)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt or Terminated, unless one was raised just now."""
        now = self._clock()
        if now < self._deaf_until:
            return
        self._deaf_until = now + CLOSING_SECONDS
        if number == signal.SIGTERM:
            raise Terminated
        raise KeyboardInterrupt
