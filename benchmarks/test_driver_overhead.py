"""What the sampling around a call costs: a call that does nothing is sampled."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from resnet_bench.engine.timing.clock import Clock, WallClock
from resnet_bench.engine.timing.sampling import Sampler

pytestmark = pytest.mark.benchmark(group="driver overhead", disable_gc=True)

#: Enough visits that each of them makes ten calls, as for a short cell.
VISITS = 20


@dataclass(frozen=True)
class Nothing:
    """A unit without work."""

    phases: tuple[str, ...] = ("nothing",)
    parts: tuple[str, ...] = ()
    block: str | None = None

    def call(self, clock: Clock) -> Sequence[float]:
        """Read the clock twice, as every unit does."""
        marks = [clock.begin(), clock.mark()]
        return clock.between(marks)

    def work(self) -> None:
        """Do nothing."""


def test_sampling_nothing(benchmark: BenchmarkFixture) -> None:
    # No time is allowed, so that each visit samples every unit once and ends.
    sampler = Sampler([Nothing()], WallClock(), 1e-9, 0.02, ["nothing"])
    sampler.warm_up()
    benchmark.extra_info["samples_per_call"] = 10
    benchmark.pedantic(sampler.visit, rounds=VISITS, warmup_rounds=2)
