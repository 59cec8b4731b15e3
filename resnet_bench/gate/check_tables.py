"""A report as tables for terminals and Markdown."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from resnet_bench.gate.check_report import Report
from resnet_bench.gate.decide import Verdict
from resnet_bench.gate.rows import Row
from resnet_bench.present.tables import Table

TIME_COLUMNS = (
    "case",
    "metric",
    "verdict",
    "base_seconds",
    "head_seconds",
    "change_percent",
    "change_percent_low",
    "change_percent_high",
    "pairs",
)


def tables_of(report: Report) -> list[Table]:
    """Return a table of times, if any, and one of everything else."""
    times = [row for row in report.rows if row.unit == "s"]
    rest = [row for row in report.rows if row.unit != "s"]
    made = [_times(times)] if times else []
    return [*made, *([_others(rest)] if rest else [])]


def _times(rows: Sequence[Row]) -> Table:
    # A check times one thing of each case, a comparison as many as the runs did.
    several = len({row.metric for row in rows}) > 1
    columns = [name for name in TIME_COLUMNS if several or name != "metric"]
    frame = pd.DataFrame(
        [_time_row(row) for row in rows], columns=columns, dtype=object
    )
    hidden = ("change_percent_low", "change_percent_high", "pairs")
    return Table(
        name="times",
        title="Seconds per call, head against base",
        frame=frame,
        narrow=[name for name in columns if name not in hidden],
        notes=["Interval: exact signed-rank over pairs of processes."],
    )


def _time_row(row: Row) -> dict[str, Any]:
    ratio = row.ratio
    return {
        "case": row.case,
        "metric": row.metric,
        "verdict": str(row.verdict),
        "base_seconds": row.base,
        "head_seconds": row.head,
        "change_percent": ratio and _percent(ratio.estimate),
        "change_percent_low": ratio and _percent(ratio.low),
        "change_percent_high": ratio and _percent(ratio.high),
        "pairs": ratio and ratio.samples,
    }


def _percent(ratio: float) -> float:
    return 100 * (ratio - 1)


def _others(rows: Sequence[Row]) -> Table:
    frame = pd.DataFrame(
        [
            {
                "case": row.case,
                "metric": row.metric,
                "verdict": str(row.verdict),
                "base": shown(row.base),
                "head": shown(row.head),
                "because": row.because,
            }
            for row in collapsed(rows)
        ],
        dtype=object,
    )
    narrow = ["case", "metric", "verdict", "because"]
    return Table(name="exact", title="Without timing", frame=frame, narrow=narrow)


def shown(value: float | str | None) -> str | None:
    """Return one value of a metric as text; shares keep four digits."""
    if value is None or isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def collapsed(rows: Sequence[Row]) -> list[Row]:
    """Return one row for each case whose exact quantities are all identical."""
    kept: list[Row] = []
    for case in dict.fromkeys(row.case for row in rows):
        group = [row for row in rows if row.case == case]
        if len(group) > 1 and all(row.because == "identical" for row in group):
            group = [
                Row(
                    case=case,
                    metric="all",
                    verdict=Verdict.PASS,
                    because=f"{len(group)} quantities identical",
                )
            ]
        kept += group
    return kept
