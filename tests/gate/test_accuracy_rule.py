from typing import Any

import pytest

from resnet_bench.gate.deciding import Verdict
from resnet_bench.gate.rows import (
    AccuracyRule,
    PairedAccuracies,
    accuracy_row,
    judge_accuracy,
)

BASE = (0.95, 0.96, 0.94, 0.95, 0.95)


def verdict_of(
    change: float, wobble: float, rule: AccuracyRule | None = None
) -> Verdict:
    head = [
        value + change + wobble * sign
        for value, sign in zip(BASE, (1, -1, 1, -1, 0), strict=True)
    ]
    pairs = PairedAccuracies(BASE, head, identical=False)
    return judge_accuracy(pairs, rule or AccuracyRule())[0]


@pytest.mark.parametrize(
    ("change", "wobble", "verdict"),
    [
        (0.0, 0.002, Verdict.PASS),
        (0.01, 0.002, Verdict.PASS),
        (-0.02, 0.002, Verdict.REGRESSION),
        (-0.008, 0.003, Verdict.INCONCLUSIVE),
        (0.0, 0.05, Verdict.INCONCLUSIVE),
    ],
)
def test_accuracy_may_not_fall_by_a_point(
    change: float, wobble: float, verdict: Verdict
) -> None:
    assert verdict_of(change, wobble) is verdict


def test_a_wider_margin_passes_more() -> None:
    assert verdict_of(-0.02, 0.002, AccuracyRule(margin=0.05)) is Verdict.PASS


def test_identical_predictions_pass_with_one_seed() -> None:
    pairs = PairedAccuracies([0.9], [0.9], identical=True)
    assert judge_accuracy(pairs, AccuracyRule())[0] is Verdict.PASS


def test_fewer_than_five_seeds_decide_nothing_else() -> None:
    pairs = PairedAccuracies([0.9] * 4, [0.5] * 4, identical=False)
    assert judge_accuracy(pairs, AccuracyRule())[0] is Verdict.INCONCLUSIVE


def test_below_the_floor_nothing_passes() -> None:
    pairs = PairedAccuracies([0.7], [0.7], identical=True)
    verdict, because = judge_accuracy(pairs, AccuracyRule(floor=0.8))
    assert verdict is Verdict.REGRESSION
    assert "80.00%" in because


def record(side: str, seed: int, **changes: Any) -> dict[str, Any]:
    return {
        "side": side,
        "training_seed": seed,
        "accuracy": 0.9,
        "fingerprint": "f",
        "problem": None,
        **changes,
    }


def test_a_row_pairs_the_sides_by_seed() -> None:
    records = [
        record("head", 1),
        record("base", 1),
        record("base", 0),
        record("head", 0),
    ]
    row = accuracy_row("digits", records, {})
    assert (row.case, row.base, row.head) == ("digits:accuracy", 0.9, 0.9)
    assert row.because == "identical predictions"


def test_training_that_failed_has_a_row_too() -> None:
    records = [record("base", 0), record("head", 0, problem="diverged")]
    row = accuracy_row("digits", records, {})
    assert row.verdict is Verdict.MISSING
    assert "diverged" in row.because
