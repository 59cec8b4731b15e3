import math

import pytest

from resnet_bench.gate.deciding import (
    PairedSeconds,
    Plan,
    TimingRule,
    Verdict,
    control_moved,
    decide,
    decide_in_turn,
    detectable_effect,
    first_look,
    judge,
    most_pairs,
    open_cases,
    pair_spread,
    pairs_needed,
    plan_for,
)
from resnet_bench.statistics.intervals import Interval

PLAN = Plan()
RULE = TimingRule()


def pairs(ratio: float, count: int = 12, spread: float = 0.01) -> PairedSeconds:
    """Pairs whose log-ratios lie evenly around that of `ratio`."""
    steps = [spread * (2 * index / (count - 1) - 1) for index in range(count)]
    return PairedSeconds(
        base=[0.01] * count, head=[0.01 * ratio * math.exp(step) for step in steps]
    )


@pytest.mark.parametrize(
    ("low", "estimate", "high", "verdict"),
    [
        (1.04, 1.08, 1.12, Verdict.REGRESSION),
        (1.035, 1.045, 1.09, Verdict.PASS),
        (1.02, 1.08, 1.14, Verdict.INCONCLUSIVE),
        (0.98, 1.01, 1.09, Verdict.PASS),
        (0.90, 0.93, 0.96, Verdict.IMPROVEMENT),
        (0.90, 0.95, 0.98, Verdict.PASS),
        (-math.inf, 1.0, math.inf, Verdict.INCONCLUSIVE),
    ],
)
def test_bounds_and_estimate_give_the_verdict(
    low: float, estimate: float, high: float, verdict: Verdict
) -> None:
    assert judge(Interval(estimate, low, high, 12), 0.01, RULE).verdict is verdict


def test_a_difference_below_fifty_microseconds_never_counts() -> None:
    slower = judge(Interval(1.30, 1.25, 1.35, 12), 100e-6, RULE)
    faster = judge(Interval(0.70, 0.65, 0.75, 12), 100e-6, RULE)
    assert slower.verdict is Verdict.PASS
    assert "50 µs" in slower.because
    assert faster.verdict is Verdict.PASS


def test_a_rule_of_the_project_changes_the_verdict() -> None:
    ratio = Interval(1.08, 1.04, 1.12, 12)
    patient = TimingRule(regression=0.20, tolerated=0.30)
    assert judge(ratio, 0.01, patient).verdict is Verdict.PASS


def test_every_case_gets_its_verdict_in_the_order_given() -> None:
    cases = {"same": pairs(1.0), "slow": pairs(1.2), "fast": pairs(0.8)}
    decided = decide(cases, dict.fromkeys(cases, RULE), PLAN)
    assert [row.verdict for row in decided.values()] == [
        Verdict.PASS,
        Verdict.REGRESSION,
        Verdict.IMPROVEMENT,
    ]


def test_many_cases_need_more_pairs_for_a_regression() -> None:
    rules = {f"case{number}": RULE for number in range(100)}
    at_twelve = decide({"case0": pairs(1.2, 12)}, rules, PLAN)
    at_sixteen = decide({"case0": pairs(1.2, 16)}, rules, PLAN)
    assert at_twelve["case0"].verdict is Verdict.INCONCLUSIVE
    assert at_sixteen["case0"].verdict is Verdict.REGRESSION


def test_each_regression_found_makes_the_next_easier() -> None:
    rules = {f"case{number}": RULE for number in range(70)}
    alone = decide({"case0": pairs(1.2)}, rules, PLAN)
    after_others = decide({"case0": pairs(1.2)}, rules, PLAN, regressions_before=20)
    assert alone["case0"].verdict is Verdict.INCONCLUSIVE
    assert after_others["case0"].verdict is Verdict.REGRESSION


@pytest.mark.parametrize(("ratio", "moved"), [(1.0, False), (1.1, True), (0.9, True)])
def test_control_that_ran_at_another_pace_is_noticed(ratio: float, moved: bool) -> None:
    assert control_moved(pairs(ratio), PLAN, RULE) is moved


def test_sides_with_different_numbers_of_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = PairedSeconds([0.1, 0.1], [0.1]).log_ratios


RULES = {"slow": TimingRule(), "unclear": TimingRule()}


def test_looks_happen_at_the_planned_numbers_of_pairs() -> None:
    assert PLAN.reached(11) == ()
    assert PLAN.reached(17) == (12, 16)


@pytest.mark.parametrize(
    ("measured", "looks"),
    [
        (0, ()),
        (7, (7,)),
        (12, (12,)),
        (14, (12, 14)),
        (16, (12, 16)),
        (20, (12, 16, 20)),
        (23, (12, 16, 20)),
    ],
)
def test_pairs_after_the_last_look_get_one_of_their_own(
    measured: int, looks: tuple[int, ...]
) -> None:
    assert PLAN.final(measured) == looks


def test_a_decided_case_is_not_judged_again() -> None:
    slow_first = PairedSeconds(
        base=[0.01] * 16, head=[*pairs(1.2).head, 0.001, 0.001, 0.001, 0.001]
    )
    decided = decide_in_turn({"slow": slow_first}, RULES, PLAN, (12, 16))
    assert decided["slow"].verdict is Verdict.REGRESSION
    assert decided["slow"].ratio.samples == 12


def test_only_undecided_cases_stay_open() -> None:
    series = {"slow": pairs(1.2), "unclear": pairs(1.08, spread=0.3)}
    assert open_cases(series, RULES, PLAN, 11) == ["slow", "unclear"]
    assert open_cases(series, RULES, PLAN, 12) == ["unclear"]


def test_a_case_without_pairs_is_left_out() -> None:
    series = {"slow": PairedSeconds([], [])}
    assert decide_in_turn(series, RULES, PLAN, (12,)) == {}


def test_spread_needs_two_pairs() -> None:
    assert pair_spread([0.1]) is None
    assert pair_spread([0.0, 0.2]) is not None


def test_more_pairs_and_less_spread_find_smaller_effects() -> None:
    few = detectable_effect(0.07, 12, RULE, PLAN)
    assert detectable_effect(0.07, 20, RULE, PLAN) < few
    assert detectable_effect(0.04, 12, RULE, PLAN) < few
    assert detectable_effect(0.07, 12, RULE, PLAN, cases=3) > few


def test_no_spread_still_needs_the_estimate_to_reach_the_rule() -> None:
    assert detectable_effect(1e-9, 12, RULE, PLAN) > 0.049


def test_pairs_needed_are_those_that_detect() -> None:
    pairs = pairs_needed(0.10, 0.10, RULE, PLAN)
    assert pairs is not None
    assert detectable_effect(0.10, pairs, RULE, PLAN) <= 0.10
    assert detectable_effect(0.10, pairs - 1, RULE, PLAN) > 0.10


def test_an_effect_below_the_rule_is_never_found() -> None:
    assert pairs_needed(0.03, 0.07, RULE, PLAN) is None


@pytest.mark.parametrize(
    ("cases", "first", "looks"),
    [
        (1, 12, (12, 16, 20)),
        (13, 12, (12, 16, 20)),
        (34, 12, (12, 16, 20, 24)),
        (200, 14, (14, 16, 20, 24)),
    ],
)
def test_the_first_look_comes_when_it_can_decide(
    cases: int, first: int, looks: tuple[int, ...]
) -> None:
    assert first_look(cases) == first
    plan = plan_for(most_pairs(cases), cases)
    assert plan.looks == looks
    assert 2.0**-first <= plan.alarm_level / cases
