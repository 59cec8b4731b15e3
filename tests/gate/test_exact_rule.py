from typing import Any

import pytest

from resnet_bench.gate.deciding import Verdict
from resnet_bench.gate.rows import exact_rows, exact_verdict
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


@pytest.mark.parametrize("case", ["net", "net:exact", "*"])
def test_a_project_can_let_a_quantity_go(case: str) -> None:
    records = [side("base"), side("head", flops=3)]
    rows = exact_rows(records, [f"{case}/flops/gate=0"])
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
