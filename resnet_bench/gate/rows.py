"""One row of a check or comparison: a case, a metric, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet_bench.errors import ExitCode
from resnet_bench.gate.decide import Verdict
from resnet_bench.statistics.intervals import Interval

#: The exit code that a verdict alone leads to.
EXIT_CODES = {
    Verdict.REGRESSION: ExitCode.REGRESSION,
    Verdict.MISSING: ExitCode.INCOMPLETE,
    Verdict.FAILED: ExitCode.INCOMPLETE,
    Verdict.NOT_COMPARABLE: ExitCode.NOT_COMPARABLE,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A verdict on one metric of one case.

    `base` and `head` are in `unit`; `ratio` is head over base. What is unknown is
    None. `because` is the rule that applied, as a sentence.
    """

    case: str
    metric: str
    verdict: Verdict
    base: float | str | None = None
    head: float | str | None = None
    ratio: Interval | None = None
    unit: str = "1"
    because: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """What the row alone would make the command end with."""
        return EXIT_CODES.get(self.verdict, ExitCode.OK)


def problem_verdict(problems: Mapping[str, str]) -> tuple[Verdict, str]:
    """Return the verdict on a case that one side or both could not carry out.

    `problems` maps the side to its error.
    """
    if not problems:
        return Verdict.FAILED, "the budget ended before the first pair"
    text = "; ".join(f"{side}: {problem}" for side, problem in problems.items())
    if len(problems) == 1:
        return Verdict.MISSING, f"on one side only, {text}"
    return Verdict.FAILED, text


def row_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON-ready values; infinite bounds become None."""
    ratio = row.ratio
    return {
        "case": row.case,
        "metric": row.metric,
        "verdict": row.verdict.value,
        "unit": row.unit,
        "base": row.base,
        "head": row.head,
        "ratio": ratio and ratio.estimate,
        "ratio_low": ratio and _finite(ratio.low),
        "ratio_high": ratio and _finite(ratio.high),
        "samples": ratio and ratio.samples,
        "because": row.because,
    }


def _finite(value: float) -> float | None:
    return value if 0 < value < float("inf") else None
