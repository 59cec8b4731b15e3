"""Whole checks of a simulated machine, on a clock that costs nothing."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from resnet_bench.gate.deciding import (
    PairedSeconds,
    Plan,
    TimingRule,
    Verdict,
    decide_in_turn,
    open_cases,
)
from resnet_bench.gate.measuring import Budget, measure_case, measure_pairs
from resnet_bench.gate.records import PairOrder, Pairs, PairTiming, Side
from resnet_bench.gate.spec import Case, parse_case
from resnet_bench.gate.workers import Leg


@dataclass
class FakeProcess:
    """One process: each of its cases is faster or slower than usual for life."""

    machine: "FakeMachine"
    slowdown: float
    paces: dict[Case, float] = field(default_factory=dict)

    def prepare(self, case: Case) -> float:
        generator = self.machine.generator
        pace = math.exp(generator.gauss(0, self.machine.process_spread))
        if generator.random() < self.machine.slow_processes:
            pace *= 1.2
        self.paces[case] = self.machine.seconds_per_call * self.slowdown * pace
        return self.paces[case]

    def leg(self, case: Case, loops: int) -> Leg:
        generator = self.machine.generator
        seconds = self.paces[case] * math.exp(
            self.machine.drift() + generator.gauss(0, self.machine.leg_spread)
        )
        self.machine.now += seconds * loops
        return Leg(seconds)


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
        return [measure_case(case, order, sides, pairs.loops(case)) for case in cases]


PLAN = Plan()
CASES = tuple(parse_case(f"case{number}") for number in range(3))


def paired(pairs: Pairs, cases: Sequence[Case]) -> dict[str, PairedSeconds]:
    return {case.text: pairs.paired(case.text) for case in cases}


def simulated_check(
    machine: FakeMachine, slowdown: float, cases: Sequence[Case]
) -> list[Verdict]:
    rules = {case.text: TimingRule() for case in cases}

    def measure(
        order: PairOrder, wanted: Sequence[Case], pairs: Pairs
    ) -> list[PairTiming]:
        return machine.pair(order, wanted, pairs, slowdown)

    open_now = [*cases]

    def still_open(pairs: Pairs) -> list[Case]:
        if len(pairs) in PLAN.looks:
            names = open_cases(paired(pairs, cases), rules, PLAN, len(pairs))
            open_now[:] = [case for case in cases if case.text in names]
        return open_now if len(pairs) < PLAN.looks[-1] else []

    pairs = Pairs()
    budget = Budget(1e9, machine.clock, 0.0)
    for _ in measure_pairs(pairs, machine.seed, measure, still_open, budget):
        pass
    looks = PLAN.final(len(pairs))
    decisions = decide_in_turn(paired(pairs, cases), rules, PLAN, looks)
    return [decision.verdict for decision in decisions.values()]


def verdicts(
    checks: int, spread: float, slowdown: float, slow_processes: float = 0.0
) -> Counter[Verdict]:
    machines = (FakeMachine(seed, spread, slow_processes) for seed in range(checks))
    found = (simulated_check(machine, slowdown, CASES[:1]) for machine in machines)
    return Counter(verdict for rows in found for verdict in rows)


@pytest.mark.parametrize(("spread", "checks"), [(0.07, 2000), (0.21, 400)])
def test_unchanged_code_is_called_slower_in_at_most_one_percent(
    spread: float, checks: int
) -> None:
    assert verdicts(checks, spread, 1.0)[Verdict.REGRESSION] <= 0.01 * checks


def test_unchanged_code_passes_on_an_ordinary_machine() -> None:
    assert verdicts(100, 0.07, 1.0)[Verdict.PASS] >= 95


def test_fifteen_percent_slower_is_found_on_an_ordinary_machine() -> None:
    assert verdicts(500, 0.07, 1.15)[Verdict.REGRESSION] >= 0.95 * 500


def test_fifteen_percent_slower_seldom_passes_on_a_very_noisy_machine() -> None:
    assert verdicts(300, 0.21, 1.15)[Verdict.PASS] <= 0.10 * 300


def test_processes_that_are_slow_for_life_are_no_regression_and_hide_none() -> None:
    # One process in twenty, a fifth slower: seen on a virtual machine (docs/noise.md).
    same = verdicts(300, 0.02, 1.0, slow_processes=0.05)
    assert same[Verdict.REGRESSION] <= 0.01 * 300
    assert same[Verdict.PASS] >= 0.9 * 300
    slower = verdicts(100, 0.02, 1.25, slow_processes=0.05)
    assert slower[Verdict.REGRESSION] >= 0.95 * 100


def test_no_case_of_several_is_called_slower_more_often_than_one() -> None:
    machines = [FakeMachine(seed, 0.21) for seed in range(100)]
    found = [simulated_check(machine, 1.0, CASES) for machine in machines]
    assert sum(Verdict.REGRESSION in rows for rows in found) <= 1


def test_the_same_seed_gives_the_same_verdict() -> None:
    first, second = (
        simulated_check(FakeMachine(3, 0.21), 1.1, CASES) for _ in range(2)
    )
    assert first == second
