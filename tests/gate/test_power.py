from resnet_bench.gate.deciding import (
    Plan,
    TimingRule,
    detectable_effect,
    pair_spread,
    pairs_needed,
)

RULE, PLAN = TimingRule(), Plan()


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
