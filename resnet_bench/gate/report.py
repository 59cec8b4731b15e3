"""Giving a report to whoever asked: terminal, files, a workflow's summary."""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd

from resnet_bench.errors import (
    ExitCode,
    InputOutputError,
    NotComparableError,
    ResnetBenchError,
    worst,
)
from resnet_bench.gate.deciding import Verdict
from resnet_bench.gate.rows import (
    Row,
    Timings,
    check_rows,
    pairs_of,
    row_json,
    timings_of,
)
from resnet_bench.gate.spec import CheckConfig, CompareConfig
from resnet_bench.output import STDOUT, Output
from resnet_bench.present.tables import Table, markdown
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


#: How JUnit names what became of a row; a pass has no element.
JUNIT_ELEMENTS = {
    Verdict.REGRESSION: "failure",
    Verdict.INCONCLUSIVE: "skipped",
    Verdict.MISSING: "error",
    Verdict.FAILED: "error",
    Verdict.NOT_COMPARABLE: "error",
}

#: How a workflow's log marks a row.
ANNOTATIONS = {
    Verdict.REGRESSION: "error",
    Verdict.MISSING: "error",
    Verdict.FAILED: "error",
    Verdict.NOT_COMPARABLE: "error",
    Verdict.INCONCLUSIVE: "warning",
    Verdict.IMPROVEMENT: "notice",
}


def markdown_of(report: Report) -> str:
    """Return the report as Markdown: summary, tables, notices."""
    parts = [f"## {report.summary}", *map(markdown, tables_of(report))]
    return "\n\n".join([*parts, *report.notices]) + "\n"


def junit_of(report: Report) -> str:
    """Return the report as a JUnit file.

    A regression is a failure, "can't tell" is skipped, and what could not be
    compared is an error; each with its reason.
    """
    counts = {
        element: sum(JUNIT_ELEMENTS.get(row.verdict) == element for row in report.rows)
        for element in ("failure", "error", "skipped")
    }
    suite = ET.Element(
        "testsuite",
        name=f"resnet-bench {report.command}",
        tests=str(len(report.rows)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
    )
    for row in report.rows:
        _add_case(suite, row)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: ET.Element, row: Row) -> None:
    case = ET.SubElement(suite, "testcase", classname=row.case, name=row.metric)
    element = JUNIT_ELEMENTS.get(row.verdict)
    if element:
        message = f"{row.verdict}: {row.because}"
        ET.SubElement(case, element, message=message).text = message


def annotations_of(report: Report) -> list[str]:
    """Return a GitHub workflow command for each row that needs attention."""
    return [
        f"::{ANNOTATIONS[row.verdict]} title={_property(_title(row))}::"
        f"{_message(row.because)}"
        for row in report.rows
        if row.verdict in ANNOTATIONS
    ]


def _title(row: Row) -> str:
    return f"{row.verdict}: {row.case} {row.metric}"


def _message(text: str) -> str:
    """Escape what ends a workflow command's message."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape what ends a workflow command's property as well."""
    return _message(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: dict[str, Callable[[Report], str]] = {
    "markdown": markdown_of,
    "junit": junit_of,
}


#: GitHub names the file here that becomes the summary of a step.
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


def targets(config: CheckConfig | CompareConfig) -> dict[str, Path]:
    """Return the files asked for, by format."""
    asked = {"markdown": config.markdown, "junit": getattr(config, "junit", None)}
    return {name: path for name, path in asked.items() if path is not None}


def check_targets(config: CheckConfig | CompareConfig) -> None:
    """Raise InputOutputError for a file that cannot be written, before measuring."""
    for path in targets(config).values():
        folder = path.parent
        usable = path == STDOUT or (folder.is_dir() and os.access(folder, os.W_OK))
        if not usable or path.is_dir():
            raise InputOutputError(f"cannot write {path}: expected a writable folder")


def emit(report: "Report", config: CheckConfig | CompareConfig, output: Output) -> None:
    """Print the report and write what was asked for; raises InputOutputError."""
    if not config.json and STDOUT not in targets(config).values():
        _print(report, config, output)
    _export(report, config, output)


def emit_refusal(
    command: str,
    error: NotComparableError,
    config: CheckConfig | CompareConfig,
    output: Output,
) -> None:
    """Write a refusal for machines; a person gets the error itself, in one line."""
    _export(refusal(command, error), config, output)


def _export(
    report: "Report", config: CheckConfig | CompareConfig, output: Output
) -> None:

    if config.json:
        output.write(json.dumps(report_json(report), allow_nan=False))
    for name, path in targets(config).items():
        output.export(path, FORMATS[name](report))
    if isinstance(config, CheckConfig) and config.github_summary:
        _tell_github(report, output)


def _print(
    report: "Report", config: CheckConfig | CompareConfig, output: Output
) -> None:
    from resnet_bench.present.terminal import print_table

    console = output.console()
    for table in tables_of(report):
        print_table(table, console, wide=False)
    for line in report.explanations if config.explain else report.troubles:
        output.write(line)
    for notice in report.notices:
        output.say(notice)
    output.write(report.summary)


def _tell_github(report: "Report", output: Output) -> None:

    for line in annotations_of(report):
        # GitHub reads workflow commands from either stream; stdout is the result's.
        output.say(line)
    place = os.environ.get(SUMMARY_VARIABLE)
    if place is None:
        output.warn(f"--github-summary: {SUMMARY_VARIABLE} is not set")
        return
    try:
        with Path(place).open("a", encoding="utf-8") as summary:
            summary.write(markdown_of(report))
    except OSError as error:
        raise InputOutputError(f"cannot write {place}: {error.strerror}") from error
