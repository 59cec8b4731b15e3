"""What disturbs a measurement: too few cores, a throttling GPU."""

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from resnet_bench.engine.cpu import usable_cores

#: Why a GPU's clock is held down, by the driver's bit (nvml.h, nvmlClocksEventReasons).
#: Being idle and a clock that its user set are no reasons here.
REASONS = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}

#: The ordinary power limit is kept but flags no row: every large product reaches it on
#: a healthy GPU.
ORDINARY = frozenset({"sw_power_cap"})

#: During a visit the driver is asked no more often than this.
LOOK_SECONDS = 0.5

SCHEDULER_ROOT = Path("/proc/self/task")


@dataclass(frozen=True)
class Condition:
    """A flag of a row and the sentence that explains it."""

    flag: str
    note: str


def count_stops() -> Callable[[], int]:
    """Return a counter of how often this process is stopped and resumed from now on.

    SIGSTOP or Ctrl-Z stops it: time passes, and no work is done. The kernel sends
    SIGCONT when it goes on (signal(7)). Call it in the main thread.
    """
    heard: list[int] = []
    signal.signal(signal.SIGCONT, lambda number, _: heard.append(number))
    return lambda: len(heard)


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


@dataclass(frozen=True)
class GpuState:
    """A GPU's state at one moment; the clock is that of its cores."""

    clock_mhz: float | None = None
    power_watts: float | None = None
    used_bytes: int | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Driver:
    """NVIDIA's library in this process, with its handle of one GPU.

    Asking takes some microseconds and leaves the GPU at work, unlike nvidia-smi.
    """

    library: Any
    handle: Any

    @classmethod
    def of(cls, index: int, cuda: Any = torch.cuda) -> "Driver | None":
        """Return the driver of the GPU that torch counts so; None without a library.

        The driver counts all GPUs, torch those that it is shown: both know the UUID.
        """
        try:
            import pynvml
        except ImportError:
            return None
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return None
        identity = str(cuda.get_device_properties(index).uuid)
        for name in (f"GPU-{identity}", f"MIG-{identity}", identity):
            try:
                return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(name))
            except pynvml.NVMLError:
                continue  # the driver knows no such GPU, or no such slice of one
        return None

    def state(self) -> GpuState:
        """Return the GPU's state now."""
        clock = self._ask("ClockInfo", self.library.NVML_CLOCK_SM)
        milliwatts = self._ask("PowerUsage")
        memory = self._ask("MemoryInfo")
        bits = self._ask("CurrentClocksThrottleReasons") or 0
        return GpuState(
            clock_mhz=clock,
            power_watts=milliwatts and milliwatts / 1000,
            used_bytes=memory and int(memory.used),
            reasons=tuple(name for bit, name in REASONS.items() if bits & bit),
        )

    def _ask(self, name: str, *arguments: int) -> Any:
        """Ask by the function's name (NVML API reference, "Device Queries")."""
        try:
            return getattr(self.library, f"nvmlDeviceGet{name}")(
                self.handle, *arguments
            )
        except self.library.NVMLError:
            return None  # the driver does not tell this of this GPU


@lru_cache
def _driver(index: int) -> Driver | None:
    return Driver.of(index)


def gpu_state(index: int) -> GpuState:
    """Return the state of the GPU that torch counts so; nothing without a driver."""
    driver = _driver(index)
    return GpuState() if driver is None else driver.state()


@dataclass(frozen=True)
class Watched:
    """What was seen during a visit.

    `waiting_share` is the part of the time that the threads waited for a core,
    None where the kernel does not count it; clocks are those of each look at the GPU.
    """

    conditions: tuple[Condition, ...]
    waiting_share: float | None
    clocks_mhz: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()


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
    look: Callable[[int], GpuState] = gpu_state
    now: Callable[[], float] = time.monotonic
    _waited: float | None = None
    _seen: list[GpuState] = field(default_factory=list)
    _looked: float = -math.inf

    def begin(self) -> None:
        """Start to watch a visit."""
        self._seen = []
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
        found = (self._too_many_threads(), self._held_back())
        return Watched(
            conditions=tuple(each for each in found if each is not None),
            waiting_share=share,
            clocks_mhz=tuple(each.clock_mhz for each in self._seen if each.clock_mhz),
            reasons=self._reasons,
        )

    @property
    def _reasons(self) -> tuple[str, ...]:
        """Each reason of the visit once, in the order in which they were seen."""
        return tuple(
            dict.fromkeys(name for seen in self._seen for name in seen.reasons)
        )

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
            self._seen.append(self.look(self.gpu))
            self._looked = self.now()

    def _held_back(self) -> Condition | None:
        reasons = [name for name in self._reasons if name not in ORDINARY]
        if not reasons:
            return None
        return Condition("throttled", f"GPU throttled by {', '.join(reasons)}")
