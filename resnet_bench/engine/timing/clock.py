"""Clocks that take the time between marks: the wall's, and the GPU's own.

A clock is an argument of whatever measures, so that tests run on a fake one.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

#: Cycles that keep a GPU busy for about a second, taken high: the clocks of the
#: GPUs that torch supports lie below 3 GHz, and too long a delay does no harm.
CYCLES_PER_SECOND = 3_000_000_000


class Clock(Protocol):
    """Takes marks and says how many seconds lie between them."""

    @property
    def asynchronous(self) -> bool:
        """Whether a call returns before the device has done the work."""

    def begin(self) -> Any:
        """Wait until the device is idle and return the first mark."""

    def mark(self) -> Any:
        """Return a mark after everything asked for so far."""

    def between(self, marks: Sequence[Any]) -> list[float]:
        """Return the seconds from each mark to the next one."""


def seconds_of(work: Callable[[], object], clock: Clock) -> list[float]:
    """Do the work on an idle device and return its seconds, as one phase."""
    marks = [clock.begin()]
    work()
    marks.append(clock.mark())
    return clock.between(marks)


@dataclass(frozen=True)
class WallClock:
    """Seconds as a person waits for them.

    `synchronise` is called before every reading; without one the device is the CPU,
    where work is done when a call returns. (`torch.accelerator.synchronize` is not
    used: on a machine without a GPU the CUDA builds of torch raise there.)
    """

    synchronise: Callable[[], None] | None = None
    now: Callable[[], float] = time.perf_counter

    @property
    def asynchronous(self) -> bool:
        """Whether a call returns before the device has done the work."""
        return self.synchronise is not None

    def begin(self) -> float:
        """Wait until the device is idle and return the first mark."""
        return self.mark()

    def mark(self) -> float:
        """Wait until the device is idle and return the time in seconds."""
        if self.synchronise is not None:
            self.synchronise()
        return self.now()

    def between(self, marks: Sequence[float]) -> list[float]:
        """Return the seconds from each mark to the next one."""
        return [later - sooner for sooner, later in itertools.pairwise(marks)]


@dataclass
class EventClock:
    """Seconds that the GPU itself spends, taken with CUDA events.

    The GPU is kept busy for `head_start_seconds` before the first event, so that
    the host has everything queued by then and waiting for the host is not counted:
    this is what tells a host-bound row. `cuda` is `torch.cuda` or a stand-in.
    """

    head_start_seconds: float = 0.0
    cuda: Any = field(default=torch.cuda)
    asynchronous: bool = True

    def begin(self) -> Any:
        """Keep the idle GPU busy for a while and return the event after that."""
        self.cuda.synchronize()
        self.cuda._sleep(int(self.head_start_seconds * CYCLES_PER_SECOND))
        return self.mark()

    def mark(self) -> Any:
        """Return an event behind everything queued so far."""
        event = self.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, marks: Sequence[Any]) -> list[float]:
        """Wait for the last event and return the seconds from each to the next."""
        self.cuda.synchronize()
        return [
            sooner.elapsed_time(later) / 1000
            for sooner, later in itertools.pairwise(marks)
        ]
