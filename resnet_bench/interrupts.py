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


def meaning_of(number: int) -> BaseException:
    """Return what a signal raises: KeyboardInterrupt or Terminated."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


class Stopping:
    """Raises for the first signal, and lets what it set off come to its end.

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
        """Handle Ctrl-C and SIGTERM of this process from now on."""
        for number in BOTH:
            signal.signal(number, self.hear)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle Ctrl-C and SIGTERM of this process while the block runs."""
        before = {number: signal.getsignal(number) for number in BOTH}
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
