import pytest

from resnet_bench.gate.deciding import (
    PairedSeconds,
    Plan,
    TimingRule,
    Verdict,
    decide_in_turn,
    open_cases,
)
from tests.gate.test_decide import pairs

PLAN = Plan()
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
