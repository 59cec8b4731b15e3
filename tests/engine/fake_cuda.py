"""Stands in for `torch.cuda`: a host and a GPU with a clock each, no GPU needed."""

from __future__ import annotations

from dataclasses import dataclass, field

from resnet_bench.engine.timing.clock import CYCLES_PER_SECOND


@dataclass
class FakeEvent:
    cuda: FakeCuda
    at: float = 0.0

    def record(self) -> None:
        self.at = max(self.cuda.host, self.cuda.device)

    def elapsed_time(self, later: FakeEvent) -> float:
        return (later.at - self.at) * 1000


@dataclass
class FakeCuda:
    """`host` and `device` are the times until which each is busy, in seconds."""

    launch_seconds: float = 0.0
    gpus: int = 1
    host: float = 0.0
    device: float = 0.0
    slept_cycles: list[int] = field(default_factory=list)
    allocated: int = 0
    peak_allocated: int = 0
    peak_reserved: int = 0
    chosen: int | None = None
    emptied: int = 0

    def now(self) -> float:
        return self.host

    def launch(self, seconds: float) -> None:
        self.host += self.launch_seconds
        self.device = max(self.host, self.device) + seconds

    def synchronize(self, index: int | None = None) -> None:
        self.host = max(self.host, self.device)

    def _sleep(self, cycles: int) -> None:
        self.slept_cycles.append(cycles)
        self.device = max(self.host, self.device) + cycles / CYCLES_PER_SECOND

    def Event(self, enable_timing: bool) -> FakeEvent:  # noqa: N802 - torch's name
        return FakeEvent(self)

    def is_available(self) -> bool:
        return self.gpus > 0

    def device_count(self) -> int:
        return self.gpus

    def set_device(self, index: int) -> None:
        self.chosen = index

    def allocate(self, size: int, reserved: int) -> None:
        self.allocated += size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        self.peak_reserved = max(self.peak_reserved, reserved)

    def free(self, size: int) -> None:
        self.allocated -= size

    def empty_cache(self) -> None:
        self.emptied += 1

    def reset_peak_memory_stats(self, index: int | None) -> None:
        self.peak_allocated = self.allocated
        self.peak_reserved = 0

    def memory_allocated(self, index: int | None) -> int:
        return self.allocated

    def max_memory_allocated(self, index: int | None) -> int:
        return self.peak_allocated

    def max_memory_reserved(self, index: int | None) -> int:
        return self.peak_reserved
