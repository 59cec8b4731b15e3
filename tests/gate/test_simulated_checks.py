from collections import Counter
from collections.abc import Sequence

import pytest

from resnet_bench.analysis.decide import PairedSeconds, Plan, TimingRule, Verdict
from resnet_bench.analysis.sequential import decide_in_turn, final_looks, open_cases
from resnet_bench.gate.cases import Case, parse_case
from resnet_bench.gate.observations import PairTiming
from resnet_bench.gate.pairs import Budget, Pairs, measure_pairs
from resnet_bench.gate.schedule import PairOrder
from tests.gate.simulation import FakeMachine

PLAN = Plan()
CASES = tuple(parse_case(f"case{number}") for number in range(3))


def paired(pairs: Pairs, cases: Sequence[Case]) -> dict[str, PairedSeconds]:
    return {
        case.text: PairedSeconds(
            pairs.series(case.text, "base"), pairs.series(case.text, "head")
        )
        for case in cases
    }


def simulated_check(
    seed: int, spread: float, slowdown: float, cases: Sequence[Case]
) -> list[Verdict]:
    machine = FakeMachine(seed, spread)
    rules = {case.text: TimingRule() for case in cases}

    def measure(
        order: PairOrder, wanted: Sequence[Case], pairs: Pairs
    ) -> list[PairTiming]:
        return machine.pair(order, wanted, pairs, slowdown)

    def still_open(pairs: Pairs) -> list[Case]:
        if len(pairs) >= PLAN.looks[-1]:
            return []
        names = open_cases(paired(pairs, cases), rules, PLAN, len(pairs))
        return [case for case in cases if case.text in names]

    pairs = Pairs()
    budget = Budget(1e9, machine.clock, 0.0)
    for _ in measure_pairs(pairs, seed, measure, still_open, budget):
        pass
    looks = final_looks(PLAN, len(pairs))
    decisions = decide_in_turn(paired(pairs, cases), rules, PLAN, looks)
    return [decision.verdict for decision in decisions.values()]


def verdicts(checks: int, spread: float, slowdown: float) -> Counter[Verdict]:
    return Counter(
        verdict
        for seed in range(checks)
        for verdict in simulated_check(seed, spread, slowdown, CASES[:1])
    )


@pytest.mark.parametrize("spread", [0.07, 0.21])
def test_unchanged_code_is_called_slower_in_at_most_one_percent(spread: float) -> None:
    checks = 1600 if spread == 0.07 else 400
    assert verdicts(checks, spread, 1.0)[Verdict.REGRESSION] <= 0.01 * checks


def test_unchanged_code_passes_on_an_ordinary_machine() -> None:
    assert verdicts(100, 0.07, 1.0)[Verdict.PASS] >= 95


def test_fifteen_percent_slower_is_found_on_an_ordinary_machine() -> None:
    assert verdicts(200, 0.07, 1.15)[Verdict.REGRESSION] >= 0.95 * 200


def test_fifteen_percent_slower_seldom_passes_on_a_very_noisy_machine() -> None:
    assert verdicts(200, 0.21, 1.15)[Verdict.PASS] <= 0.10 * 200


def test_no_case_of_several_is_called_slower_more_often_than_one() -> None:
    found = [simulated_check(seed, 0.21, 1.0, CASES) for seed in range(100)]
    assert sum(Verdict.REGRESSION in rows for rows in found) <= 1


def test_the_same_seed_gives_the_same_verdict() -> None:
    assert simulated_check(3, 0.21, 1.1, CASES) == simulated_check(3, 0.21, 1.1, CASES)
