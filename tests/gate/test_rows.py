from typing import Any

import pytest

from resnet_bench.gate.deciding import Verdict
from resnet_bench.gate.rows import (
    AccuracyRule,
    PairedAccuracies,
    accuracy_row,
    exact_rows,
    exact_verdict,
    judge_accuracy,
)
from resnet_bench.records import Measure

FLOPS = Measure("flops", "1", "lower", exact=True)
KEYS = Measure("state_dict_keys", "1", "neither", exact=True)


@pytest.mark.parametrize(
    ("measure", "base", "head", "settings", "verdict"),
    [
        (FLOPS, 10, 10, {}, Verdict.PASS),
        (FLOPS, 10, 11, {}, Verdict.REGRESSION),
        (FLOPS, 10, 9, {}, Verdict.IMPROVEMENT),
        (FLOPS, 100, 104, {"tolerated": 0.05}, Verdict.PASS),
        (FLOPS, 100, 106, {"tolerated": 0.05}, Verdict.REGRESSION),
        (FLOPS, 10, 11, {"gate": 0.0}, Verdict.PASS),
        (KEYS, "a", "b", {}, Verdict.REGRESSION),
        (FLOPS, 10, None, {}, Verdict.REGRESSION),
    ],
)
def test_any_change_for_the_worse_counts(
    measure: Measure,
    base: Any,
    head: Any,
    settings: dict[str, float],
    verdict: Verdict,
) -> None:
    assert exact_verdict(measure, base, head, settings)[0] is verdict


def side(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "case": "net",
        "side": name,
        "problem": None,
        "parameters": 1,
        "flops": 2,
        "forward_operations": 3,
        "backward_operations": 4,
        "state_dict_keys": "k",
        "output_checksum": "c",
        **changes,
    }


def test_a_row_for_each_quantity() -> None:
    rows = exact_rows([side("base"), side("head", flops=3)], ())
    assert len(rows) == 6
    worse = [row.metric for row in rows if row.verdict is Verdict.REGRESSION]
    assert worse == ["flops"]


@pytest.mark.parametrize("limit", ["net:flops", "net:exact", "*:flops"])
def test_a_project_can_let_a_quantity_go(limit: str) -> None:
    records = [side("base"), side("head", flops=3)]
    rows = exact_rows(records, [f"{limit}=any"])
    assert {row.verdict for row in rows} == {Verdict.PASS}


@pytest.mark.parametrize(
    ("problems", "verdict"),
    [(("gone", None), Verdict.MISSING), (("gone", "gone"), Verdict.FAILED)],
)
def test_a_case_without_an_answer_has_one_row(
    problems: tuple[str | None, str | None], verdict: Verdict
) -> None:
    base, head = problems
    records = [side("base", problem=base), side("head", problem=head)]
    (row,) = exact_rows(records, ())
    assert row.verdict is verdict
    assert "gone" in row.because


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


def test_fewer_than_five_seeds_decide_nothing_else() -> None:
    pairs = PairedAccuracies([0.9] * 4, [0.5] * 4, identical=False)
    assert judge_accuracy(pairs, AccuracyRule())[0] is Verdict.INCONCLUSIVE


def test_below_the_floor_nothing_passes() -> None:
    pairs = PairedAccuracies([0.7], [0.7], identical=True)
    verdict, because = judge_accuracy(pairs, AccuracyRule(floor=0.8))
    assert verdict is Verdict.REGRESSION
    assert "80.00 %" in because


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
