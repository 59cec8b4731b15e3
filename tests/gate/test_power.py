import pytest

from benchmarks.gate_power import (
    PROMISED_FOUND,
    PROMISED_PASSED,
    UNCHANGED,
    Situation,
    kept,
    simulated,
)

SITUATIONS = [*UNCHANGED, *PROMISED_FOUND, *PROMISED_PASSED]


@pytest.mark.parametrize(
    "situation",
    [
        pytest.param(each, marks=[pytest.mark.slow] if each.cases > 3 else [])
        for each in SITUATIONS
    ],
)
def test_the_gate_errs_as_seldom_as_promised(situation: Situation) -> None:
    assert kept(situation, simulated(situation))


def test_a_rule_that_alarms_too_often_is_noticed() -> None:
    eager = Situation(1, 0.21)
    assert simulated(eager, checks=200).alarms > 0
    shares = simulated(Situation(1, 0.075, 0.25), checks=20)
    assert not kept(UNCHANGED[0], shares)
