"""Judging quantities without noise: any change for the worse counts."""

from collections.abc import Mapping, Sequence
from typing import Any

from resnet_bench.gate.decide import Verdict
from resnet_bench.gate.observations import ExactMetrics
from resnet_bench.gate.rows import Row, problem_verdict
from resnet_bench.gate.thresholds import settings_for
from resnet_bench.records import Measure, measures


def exact_verdict(
    measure: Measure, base: Any, head: Any, settings: Mapping[str, float]
) -> tuple[Verdict, str]:
    """Return the verdict on one quantity and the rule that gave it.

    `settings` may hold `tolerated`, a relative increase that passes, and `gate`,
    where 0 means that a change is reported and never fails.
    """
    if base == head:
        return Verdict.PASS, "identical"
    if settings.get("gate", 1.0) == 0:
        return Verdict.PASS, "changed, but reported only (gate=0)"
    if measure.better == "neither" or base is None or head is None:
        return Verdict.REGRESSION, "changed, and must not"
    sign = 1 if measure.better == "lower" else -1
    if sign * (head - base) < 0:
        return Verdict.IMPROVEMENT, f"changed by {head - base:+,}"
    tolerated = settings.get("tolerated", 0.0)
    if sign * (head - base) <= tolerated * abs(base):
        return Verdict.PASS, f"changed by {head - base:+,}, within {tolerated:.1%}"
    return Verdict.REGRESSION, f"changed by {head - base:+,}; tolerated {tolerated:.1%}"


def exact_rows(
    records: Sequence[Mapping[str, Any]], thresholds: Sequence[str]
) -> list[Row]:
    """Return a row per case and quantity, from the records of both sides."""
    cases = dict.fromkeys(row["case"] for row in records)
    return [row for case in cases for row in _case_rows(case, records, thresholds)]


def _case_rows(
    case: str, records: Sequence[Mapping[str, Any]], thresholds: Sequence[str]
) -> list[Row]:
    sides = {row["side"]: row for row in records if row["case"] == case}
    name = f"{case}:exact"
    problems = {side: row["problem"] for side, row in sides.items() if row["problem"]}
    if problems:
        verdict, because = problem_verdict(problems)
        return [Row(case=name, metric="exact", verdict=verdict, because=because)]
    rows = []
    for metric, measure in measures(ExactMetrics).items():
        base, head = sides["base"][metric], sides["head"][metric]
        settings = settings_for(case, metric, thresholds)
        settings |= settings_for(name, metric, thresholds)
        verdict, because = exact_verdict(measure, base, head, settings)
        rows.append(
            Row(
                case=name,
                metric=metric,
                verdict=verdict,
                base=base,
                head=head,
                because=because,
            )
        )
    return rows
