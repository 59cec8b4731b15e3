"""Measures the overhead of the sampling loop per sample.

The workload does nothing, so all time that passes is the driver's: reading the
clock, keeping the samples, deciding what to call next. Exits with 1 above 50 us.

    python -m benchmarks.driver_overhead
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from resnet_bench.engine.timing.clock import Clock, WallClock
from resnet_bench.engine.timing.sampling import Sampler
from resnet_bench.statistics.intervals import median_interval

ALLOWED_SECONDS = 50e-6
REPEATS = 11


@dataclass(frozen=True)
class Nothing:
    """A training step or an inference that takes no time."""

    phases: tuple[str, ...]
    block: str | None = None

    def call(self, clock: Clock) -> Sequence[float]:
        """Take all marks of one call with nothing between them."""
        marks = [clock.begin()]
        marks += [clock.mark() for _ in self.phases]
        return clock.between(marks)

    def work(self) -> None:
        """Do nothing."""


def overhead_seconds() -> float:
    """Return the driver's seconds per sample over a visit."""
    split = ("forward", "loss", "backward", "optimizer")
    units = [
        Nothing(split),
        Nothing(("step",), block="train"),
        Nothing(("inference",), block="inference"),
    ]
    sampler = Sampler(units, WallClock())
    sampler.warm_up()
    begin = time.perf_counter()
    visit = sampler.visit()
    seconds = time.perf_counter() - begin
    return seconds / sum(map(len, visit.samples.values()))


def main() -> int:
    """Print the overhead per sample with its interval; returns the exit code."""
    interval = median_interval([overhead_seconds() for _ in range(REPEATS)])
    print(
        f"driver overhead: {interval.estimate * 1e6:.2f} us per sample "
        f"[{interval.low * 1e6:.2f}, {interval.high * 1e6:.2f}] "
        f"over {interval.samples} visits; "
        f"allowed {ALLOWED_SECONDS * 1e6:.0f} us"
    )
    return 0 if interval.estimate < ALLOWED_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
