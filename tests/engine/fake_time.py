"""A clock that only moves when a fake workload says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from resnet_bench.engine.timing.clock import Clock, WallClock


@dataclass
class FakeTime:
    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    @property
    def clock(self) -> WallClock:
        return WallClock(now=self.now)


@dataclass
class EventLog:
    """A clock whose marks are written down among what happens."""

    events: list[str] = field(default_factory=list)
    asynchronous: bool = False

    def begin(self) -> int:
        return self.mark()

    def mark(self) -> int:
        self.events.append("|")
        return len(self.events)

    def between(self, marks: Sequence[int]) -> list[float]:
        return [1.0] * (len(marks) - 1)


@dataclass
class FakeUnit:
    """Takes what `durations` says of its n-th timed call, phase by phase."""

    time: FakeTime
    durations: Callable[[int], Sequence[float]]
    phases: tuple[str, ...] = ("step",)
    block: str | None = None
    timed: int = 0
    untimed: int = 0
    log: list[str] = field(default_factory=list)

    def call(self, clock: Clock) -> Sequence[float]:
        marks = [clock.begin()]
        for seconds in self.durations(self.timed):
            self.time.seconds += seconds
            marks.append(clock.mark())
        self.timed += 1
        self.log.append(self.phases[0])
        return clock.between(marks)

    def work(self) -> None:
        self.time.seconds += sum(self.durations(self.timed))
        self.untimed += 1
        self.log.append(f"{self.phases[0]} unseen")
