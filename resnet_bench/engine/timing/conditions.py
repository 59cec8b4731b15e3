"""What spoils a measurement while it is taken: too few cores, a throttling GPU."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from resnet_bench.engine.cpu import usable_cores
from resnet_bench.engine.machine import printed_by

#: Share of a visit that the process may wait for a core before it is flagged.
WAITING_SHARE = 0.1

#: Reasons that make a GPU slower than it is built for (nvidia-smi --help-query-gpu,
#: clocks_event_reasons). Being idle, a clock that its user set and the ordinary power
#: limit, which every large product reaches on a healthy GPU, are none.
THROTTLE_REASONS = (
    "hw_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "sw_thermal_slowdown",
)
QUERY_SECONDS = 5

#: During a visit the driver is asked no more often than this: the GPU idles meanwhile.
LOOK_SECONDS = 0.5

SCHEDULER_ROOT = Path("/proc/self/task")


@dataclass(frozen=True)
class Condition:
    """A flag of a row and the sentence that explains it."""

    flag: str
    note: str


def waiting_seconds(root: Path = SCHEDULER_ROOT) -> float | None:
    """Return how long the process's threads have waited for a core, summed up.

    From /proc/self/task/*/schedstat, whose second number counts nanoseconds on the
    run queue (Documentation/scheduler/sched-stats.rst); None where the kernel does
    not count.
    """
    ran = waited = 0
    for path in root.glob("*/schedstat"):
        try:
            first, second, *_ = path.read_text().split()
        except (OSError, ValueError):
            continue  # a thread that has just ended
        ran += int(first)
        waited += int(second)
    return waited / 1e9 if ran else None


def throttle_reasons(index: int) -> tuple[str, ...]:
    """Return why the driver holds that GPU back; nothing where it does not say."""
    fields = ",".join(f"clocks_event_reasons.{name}" for name in THROTTLE_REASONS)
    command = ("nvidia-smi", f"--id={index}", f"--query-gpu={fields}")
    answer = printed_by(
        *command, "--format=csv,noheader", timeout_seconds=QUERY_SECONDS
    )
    states = [state.strip() for state in (answer or "").split(",")]
    return tuple(
        name
        for name, state in zip(THROTTLE_REASONS, states, strict=False)
        if state == "Active"
    )


@dataclass(frozen=True)
class Watched:
    """What was seen during a visit.

    `waiting_share` is the part of the time that the threads waited for a core,
    None where the kernel does not count it.
    """

    conditions: tuple[Condition, ...]
    waiting_share: float | None


@dataclass
class Watch:
    """Notes the conditions of each visit.

    Attributes:
        threads: CPU threads that the cell computes with.
        gpu: Index of the GPU in use, None on the CPU.
        cores: Cores that the process may use.
        now: Tells the seconds that have passed, of any start.
    """

    threads: int
    gpu: int | None = None
    cores: int = field(default_factory=usable_cores)
    waiting: Callable[[], float | None] = waiting_seconds
    throttled: Callable[[int], tuple[str, ...]] = throttle_reasons
    now: Callable[[], float] = time.monotonic
    _waited: float | None = None
    _reasons: dict[str, None] = field(default_factory=dict)
    _looked: float = -math.inf

    def begin(self) -> None:
        """Start to watch a visit."""
        self._reasons = {}
        self._look()
        self._waited = self.waiting()

    def between(self) -> None:
        """Look at the GPU in the middle of a visit, unless that was just done.

        A reason may come and go with the load. Call it where nothing is timed.
        """
        if self.now() - self._looked >= LOOK_SECONDS:
            self._look()

    def end(self, seconds: float) -> Watched:
        """Return what was seen in a visit that took so long."""
        share = self._waiting_share(seconds)
        self._look()
        found = (self._too_many_threads(), _crowded(share), self._held_back())
        return Watched(tuple(each for each in found if each is not None), share)

    def _too_many_threads(self) -> Condition | None:
        if self.gpu is not None or self.threads <= self.cores:
            return None
        note = f"{self.threads} threads on {self.cores} usable cores"
        return Condition("oversubscribed", note)

    def _waiting_share(self, seconds: float) -> float | None:
        waited = self.waiting()
        if waited is None or self._waited is None or seconds <= 0:
            return None
        return (waited - self._waited) / (seconds * self.threads)

    def _look(self) -> None:
        if self.gpu is not None:
            self._reasons |= dict.fromkeys(self.throttled(self._physical_index))
            self._looked = self.now()

    def _held_back(self) -> Condition | None:
        if not self._reasons:
            return None
        return Condition("throttled", f"GPU held back by {', '.join(self._reasons)}")

    @property
    def _physical_index(self) -> int:
        """The driver counts all GPUs, torch only those it is shown."""
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        index = self.gpu or 0
        if index < len(shown) and shown[index].strip().isdecimal():
            return int(shown[index])
        return index


def _crowded(waiting_share: float | None) -> Condition | None:
    if waiting_share is None or waiting_share <= WAITING_SHARE:
        return None
    note = f"threads waited for a core for more than {WAITING_SHARE:.0%} of a visit"
    return Condition("oversubscribed", note)
