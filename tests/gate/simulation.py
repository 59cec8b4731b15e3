"""A machine whose processes have a pace for life, on a clock that costs nothing."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from resnet_bench.gate.measuring import measure_case
from resnet_bench.gate.records import PairOrder, Pairs, PairTiming, Side
from resnet_bench.gate.spec import CONTROL, Case


@dataclass
class FakeProcess:
    """One process: each of its cases is faster or slower than usual for life."""

    machine: "FakeMachine"
    slowdown: float
    paces: dict[Case, float] = field(default_factory=dict)

    def prepare(self, case: Case) -> float:
        generator = self.machine.generator
        pace = math.exp(generator.gauss(0, self.machine.process_spread))
        if case != CONTROL and generator.random() < self.machine.slow_processes:
            pace *= 1.2
        slowdown = 1.0 if case == CONTROL else self.slowdown
        self.paces[case] = self.machine.seconds_per_call * slowdown * pace
        return self.paces[case]

    def leg(self, case: Case, loops: int) -> float:
        generator = self.machine.generator
        seconds = self.paces[case] * math.exp(
            self.machine.drift() + generator.gauss(0, self.machine.leg_spread)
        )
        self.machine.now += seconds * loops
        return seconds


@dataclass
class FakeMachine:
    """A shared machine: paces of processes, of legs, and a slow swing for all.

    Half of the pair's variance stays with the process, half comes with each leg,
    so that `pair_spread` is the standard deviation of a pair's log-ratio; beyond
    that, a share of `slow_processes` takes a fifth longer for life.
    """

    seed: int
    pair_spread: float
    slow_processes: float = 0.0
    seconds_per_call: float = 0.01
    legs_per_side: int = 2
    start_seconds: float = 2.0
    now: float = 0.0

    def __post_init__(self) -> None:
        self.generator = random.Random(self.seed)
        self.process_spread = self.pair_spread / 2
        self.leg_spread = self.pair_spread / 2 * math.sqrt(self.legs_per_side)

    def drift(self) -> float:
        return 0.1 * math.sin(self.now / 60)

    def clock(self) -> float:
        return self.now

    def pair(
        self, order: PairOrder, cases: Sequence[Case], pairs: Pairs, slowdown: float
    ) -> list[PairTiming]:
        self.now += self.start_seconds
        sides: dict[Side, FakeProcess] = {
            "base": FakeProcess(self, 1.0),
            "head": FakeProcess(self, slowdown),
        }
        return [
            measure_case(case, order, sides, pairs.loops(case))
            for case in (*cases, CONTROL)
        ]
