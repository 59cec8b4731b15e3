"""What a check, a comparison or a refusal comes to: rows, facts, exit code."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resnet_bench.errors import ExitCode, ResnetBenchError, worst
from resnet_bench.gate.check_rows import Timings, check_rows, pairs_of, timings_of
from resnet_bench.gate.decide import Verdict
from resnet_bench.gate.rows import Row, row_json
from resnet_bench.store.reading import Run


@dataclass(frozen=True, kw_only=True)
class Report:
    """The rows of a check or comparison, and what is to be known besides.

    `facts` go into the JSON object; `notices` are sentences for people.
    """

    command: str
    rows: Sequence[Row]
    facts: Mapping[str, Any] = field(default_factory=dict)
    notices: Sequence[str] = ()

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with: the worst that any row asks for."""
        return worst([row.exit_code for row in self.rows])

    @property
    def strict_exit_code(self) -> ExitCode:
        """The same, where "can't tell" counts as not comparable."""
        unclear = any(row.verdict is Verdict.INCONCLUSIVE for row in self.rows)
        codes = [row.exit_code for row in self.rows]
        return worst([*codes, *([ExitCode.NOT_COMPARABLE] if unclear else [])])

    @property
    def explanations(self) -> list[str]:
        """A sentence per row: the rule that gave its verdict."""
        return [_explanation(row) for row in self.rows]

    @property
    def troubles(self) -> list[str]:
        """The explanations of rows that are neither a pass nor an improvement."""
        fine = (Verdict.PASS, Verdict.IMPROVEMENT)
        return [_explanation(row) for row in self.rows if row.verdict not in fine]

    @property
    def summary(self) -> str:
        """One line: how many rows have which verdict."""
        counts = Counter(row.verdict for row in self.rows)
        parts = [f"{counts[verdict]} {verdict}" for verdict in Verdict]
        shown = [part for part in parts if not part.startswith("0 ")]
        return f"{self.command}: " + (", ".join(shown) or "nothing to compare")


def _explanation(row: Row) -> str:
    return f"{row.case} {row.metric}: {row.verdict}, because {row.because}."


def report_json(report: Report) -> dict[str, Any]:
    """Return the report as one JSON-ready object."""
    return {
        "command": report.command,
        "exit_code": int(report.exit_code),
        **report.facts,
        "rows": [row_json(row) for row in report.rows],
        "notices": list(report.notices),
    }


def report_of(run: Run) -> Report:
    """Return the report of a stored check."""
    timings = timings_of(run, pairs_of(run))
    trees = run.header["trees"]
    return Report(
        command="check",
        rows=check_rows(run),
        facts={
            "run": run.id,
            "base": trees["base"],
            "head": trees["head"],
            "machine_key": run.machine_key,
            "pairs": len(timings.pairs),
        },
        notices=[*_control_notice(timings), *_tree_notice(trees)],
    )


def _control_notice(timings: Timings) -> list[str]:
    ratios = timings.control.log_ratios
    if not ratios:
        return []
    change = 100 * math.expm1(sum(ratios) / len(ratios))
    moved = "moved" if timings.control_moved else "did not move"
    return [
        f"Control: a frozen matrix product {moved} ({change:+.1f} %, "
        f"{len(ratios)} pairs)."
    ]


def _tree_notice(trees: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    base, head = trees["base"]["content"], trees["head"]["content"]
    return ["Both trees hold the same files."] if base and base == head else []


def refusal(command: str, error: ResnetBenchError) -> Report:
    """Return the report of a check that could not even begin to compare."""
    row = Row(
        case="subject",
        metric="interface",
        verdict=Verdict.NOT_COMPARABLE,
        because=str(error),
    )
    return Report(command=command, rows=[row])
