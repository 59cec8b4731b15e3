"""A call that is stopped for a while, as by Ctrl-Z, in the middle of a visit."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence

from torch import nn

from resnet_bench.engine.timing.clock import Clock, WallClock
from resnet_bench.engine.timing.conditions import count_stops
from resnet_bench.engine.timing.sampling import WARMUP_CALLS, Sampler

STOPPED_SECONDS = 0.3


class StopsOnce:
    """Is stopped in its first call after the warm-up."""

    phases = ("step",)
    block = None
    calls = 0

    def call(self, clock: Clock) -> Sequence[float]:
        marks = [clock.begin()]
        self.work()
        marks.append(clock.mark())
        return clock.between(marks)

    def work(self) -> None:
        self.calls += 1
        if self.calls == WARMUP_CALLS + 2:  # the one before is made unseen
            be_stopped()


def be_stopped() -> None:
    """Be stopped, and sent on after a while."""
    wake = f"sleep {STOPPED_SECONDS}; kill -CONT {os.getpid()}"
    subprocess.Popen(["sh", "-c", wake])
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.05)  # another thread may take SIGCONT, and pass it on late


class Subject:
    """What a gate measures: it is stopped in its second call, the first timed one."""

    module = nn.Identity()
    calls = 0

    def forward(self) -> None:
        self.calls += 1
        if self.calls == 2:
            be_stopped()


def subject(case: str) -> Subject:
    return Subject()


def visit() -> tuple[int, bool]:
    """Return how many visits were dropped, and whether this was stopped too."""
    sampler = Sampler(units=[StopsOnce()], clock=WallClock(), stops=count_stops())
    sampler.warm_up()
    found = sampler.visit()
    return found.dropped, found.stopped
