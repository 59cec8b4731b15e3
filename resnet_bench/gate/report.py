"""Reports for people, files, and a workflow's log and summary."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
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
from resnet_bench.gate.deciding import ALLOW_BOTH, Verdict, signed
from resnet_bench.gate.records import Versions
from resnet_bench.gate.rows import Row
from resnet_bench.gate.spec import CheckConfig, CompareConfig
from resnet_bench.output import Output, printable
from resnet_bench.present.exports import (
    conclude,
    export,
    for_people,
    markdown_text,
    show,
)
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table, escaped, interval_columns


@dataclass(frozen=True, kw_only=True)
class Report:
    """The rows of a check or comparison, and what else the reader must know.

    `facts` go into the JSON object; `notices` are sentences for people; `note` says
    how the intervals were made, `counted` what the samples of a time are. An
    inconclusive row counts as not comparable if `strict`, or with `too_few` samples.
    `versions` are those of two environments.
    """

    command: str
    rows: Sequence[Row]
    facts: Mapping[str, Any] = field(default_factory=dict)
    notices: Sequence[str] = ()
    note: str = "Interval: exact signed-rank over pairs of processes."
    counted: str = "pairs"
    strict: bool = False
    too_few: bool = False
    versions: Versions = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: the worst of all rows."""
        codes = [row.exit_code for row in self.rows]
        unclear = any(row.verdict is Verdict.INCONCLUSIVE for row in self.rows)
        if unclear and (self.strict or self.too_few):
            codes.append(ExitCode.NOT_COMPARABLE)
        return worst(codes)

    @property
    def explanations(self) -> list[str]:
        """A sentence per row: the rule that gave its verdict."""
        return [_explanation(row) for row in self.rows]

    @property
    def troubles(self) -> list[str]:
        """The explanations of ratios on which a reader would ask why, each once.

        The table of everything else has its own column of reasons.
        """
        plain = (
            Verdict.PASS,
            Verdict.IMPROVEMENT,
            Verdict.NOT_JUDGED,
            Verdict.REGRESSION,
        )
        alike: dict[tuple[Verdict, str], list[Row]] = {}
        for row in self.rows:
            if row.verdict not in plain and not _reason_is_in_table(row):
                alike.setdefault((row.verdict, _reason(row)), []).append(row)
        return [
            _explanation(rows[0])
            if len(rows) == 1
            else f"{len(rows)} rows are {verdict}, because {reason}."
            for (verdict, reason), rows in alike.items()
        ]

    @property
    def findings(self) -> list[str]:
        """A sentence for each network that got worse: all that did, and by how much."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.case.partition(":")[0], []).append(row)
        found = [_finding(name, rows) for name, rows in groups.items()]
        return [sentence for sentence in found if sentence]

    @property
    def summary(self) -> str:
        """One line: how many rows have which verdict."""
        counts = Counter(row.verdict for row in self.rows)
        parts = [f"{counts[verdict]} {verdict}" for verdict in Verdict]
        shown = [part for part in parts if not part.startswith("0 ")]
        return f"{self.command}: " + (", ".join(shown) or "nothing to compare")

    @property
    def json(self) -> dict[str, Any]:
        """The report as one JSON-ready object."""
        return {
            "command": self.command,
            "exit_code": int(self.exit_code),
            **self.facts,
            "rows": [row.json for row in self.rows],
            "notices": list(self.notices),
        }


def _reason_is_in_table(row: Row) -> bool:
    return row.unit != "s" and not row.ratio


def _reason(row: Row) -> str:
    """Return why, without the bounds: the table shows them beside it."""
    undecided = row.because.endswith(ALLOW_BOTH)
    return f"their bounds {ALLOW_BOTH}" if undecided else row.because


def _explanation(row: Row) -> str:
    return f"{row.case} {row.metric}: {row.verdict}, because {row.because}."


def _finding(name: str, rows: Sequence[Row]) -> str:
    """Return what got worse of a network, in one sentence; empty for nothing."""
    exact = [row for row in rows if row.is_exact]
    worse = [row for row in rows if row.verdict is Verdict.REGRESSION]
    told = ", ".join(_worsening(row) for row in worse if not row.is_exact)
    changed = ", ".join(row.metric for row in worse if row.is_exact)
    if not told:
        return changed and f"Exact quantities of {name} changed: {changed}."
    only_times = all(row.unit == "s" for row in worse if not row.is_exact)
    sentence = f"{name} {'is slower' if only_times else 'got worse'} ({told})"
    if changed:
        return f"{sentence}; its exact quantities changed too: {changed}."
    same = exact and all(row.because == "identical" for row in exact)
    return f"{sentence}; its exact quantities are the same." if same else f"{sentence}."


def _worsening(row: Row) -> str:
    if row.ratio:
        method = row.case.partition(":")[2]
        return f"{method or row.metric} {signed(row.ratio.estimate)}"
    return f"{row.metric} {row.base:.4g} → {row.head:.4g}"


def refusal(command: str, error: ResnetBenchError) -> Report:
    """Return the report of a check that could not compare anything."""
    row = Row("subject", "interface", Verdict.NOT_COMPARABLE, str(error))
    return Report(command=command, rows=[row])


def shown_of(report: Report, *, explain: bool = False) -> Shown:
    """Return what a report shows; `explain` adds every row's rule."""
    sentences = report.explanations if explain else report.troubles
    return Shown(
        json=report.json,
        tables=tables_of(report),
        notices=report.findings,
        headline=report.findings,
        conclusion=[*sentences, *report.notices, report.summary],
    )


def tables_of(report: Report) -> list[Table]:
    """Return tables of times, other ratios, everything else, and the versions."""
    times = [row for row in report.rows if row.unit == "s"]
    ratios = [row for row in report.rows if row.unit != "s" and row.ratio]
    rest = [row for row in report.rows if _reason_is_in_table(row)]
    return [
        *([_times(report, times)] if times else []),
        *([_ratios(report, ratios)] if ratios else []),
        *([_others(rest)] if rest else []),
        *versions_table(report.versions),
    ]


def versions_table(versions: Versions) -> list[Table]:
    """Return one table of two environments' libraries, or none."""
    names = dict.fromkeys(name for side in versions.values() for name in side)
    rows = [
        {"library": name, **{side: found.get(name) for side, found in versions.items()}}
        for name in names
        if any(found.get(name) for found in versions.values())
    ]
    if not rows:
        return []
    frame = pd.DataFrame(rows, dtype=object)
    return [Table("versions", "Environments", frame, narrow=list(frame.columns))]


def _times(report: Report, rows: Sequence[Row]) -> Table:
    frame = _ratio_frame(report, rows)
    frame = frame.rename(columns={"base": "base_seconds", "head": "head_seconds"})
    # A check times one thing of each case, a comparison as many as the runs did.
    if len({row.metric for row in rows}) == 1:
        frame = frame.drop(columns="metric")
    hidden = ("change_percent_low", "change_percent_high", report.counted)
    return Table(
        name="times",
        title="Seconds per call, head against base",
        frame=frame,
        narrow=[name for name in frame.columns if name not in hidden],
        notes=[report.note],
        by_bounds=True,
    )


def _ratios(report: Report, rows: Sequence[Row]) -> Table:
    return Table(
        name="ratios",
        title="Rates and peak memory, head against base",
        frame=_ratio_frame(report, rows),
        narrow=["case", "metric", "verdict", "change_percent"],
        notes=[report.note],
        by_bounds=True,
    )


def _ratio_frame(report: Report, rows: Sequence[Row]) -> pd.DataFrame:
    columns = [
        {
            "case": row.case,
            "metric": row.metric,
            "verdict": str(row.verdict),
            "base": row.base,
            "head": row.head,
            **interval_columns(
                "change_percent", row.ratio and row.ratio.change_percent
            ),
            report.counted: row.ratio and row.ratio.samples,
        }
        for row in rows
    ]
    return pd.DataFrame(columns, dtype=object)


def _others(rows: Sequence[Row]) -> Table:
    frame = pd.DataFrame(
        [
            {
                "case": row.case,
                "metric": row.metric,
                "verdict": str(row.verdict),
                "base": row.base,
                "head": row.head,
                "because": row.because,
            }
            for row in collapsed(rows)
        ],
        dtype=object,
    )
    narrow = ["case", "metric", "verdict", "because"]
    return Table(name="exact", title="Without timing", frame=frame, narrow=narrow)


def collapsed(rows: Sequence[Row]) -> list[Row]:
    """Return one row for all exact quantities of a case with the same verdict.

    Those that are identical have a row of their own.
    """
    kept: list[Row] = []
    for case in dict.fromkeys(row.case for row in rows):
        group = [row for row in rows if row.case == case]
        changed = [row for row in group if row.because != "identical"]
        for verdict in dict.fromkeys(row.verdict for row in changed):
            kept += _in_one([row for row in changed if row.verdict is verdict])
        same = [row for row in group if row not in changed]
        if len(same) > 1:
            metric = "others" if changed else "all"
            because = f"{len(same)} quantities identical"
            same = [Row(case, metric, Verdict.PASS, because)]
        kept += same
    return kept


def _in_one(rows: list[Row]) -> list[Row]:
    """Return a single row for several exact quantities that changed, else the rows."""
    if len(rows) == 1 or not all(row.is_exact for row in rows):
        return rows
    because = ", ".join(map(_change, rows))
    return [Row(rows[0].case, f"{len(rows)} quantities", rows[0].verdict, because)]


def _change(row: Row) -> str:
    values = (row.base, row.head)
    if any(isinstance(value, str) for value in values):
        return f"another {row.metric}"
    base, head = ("unknown" if value is None else f"{value:,}" for value in values)
    return f"{row.metric} {base} → {head}"


#: How JUnit names what became of a row; a pass has no element.
JUNIT_ELEMENTS = {
    Verdict.REGRESSION: "failure",
    Verdict.INCONCLUSIVE: "skipped",
    Verdict.MISSING: "error",
    Verdict.FAILED: "error",
    Verdict.NOT_COMPARABLE: "error",
}

#: The attributes of a suite that count these elements.
JUNIT_COUNTS = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def junit_of(report: Report) -> str:
    """Return the report as a JUnit file.

    A regression is a failure, inconclusive is skipped, and what could not be
    compared is an error; each with its reason.
    """
    suite = ET.Element("testsuite", name=f"resnet-bench {report.command}")
    if report.versions:
        properties = ET.SubElement(suite, "properties")
    for side, versions in report.versions.items():
        for name, version in versions.items():
            fact = {"name": f"{side} {name}", "value": version or "none"}
            ET.SubElement(properties, "property", fact)
    for row in report.rows:
        case = ET.SubElement(suite, "testcase", classname=row.case, name=row.metric)
        if element := JUNIT_ELEMENTS.get(row.verdict):
            message = f"{row.verdict}: {row.because}"
            ET.SubElement(case, element, message=message).text = message
    suite.set("tests", str(len(report.rows)))
    for name, element in JUNIT_COUNTS.items():
        suite.set(name, str(len(suite.findall(f"testcase/{element}"))))
    ET.indent(suite)
    # XML holds no control character, not even escaped.
    text = ET.tostring(suite, encoding="unicode", xml_declaration=True)
    return printable(text) + "\n"


#: How a workflow's log marks a row.
ANNOTATIONS = {
    Verdict.REGRESSION: "error",
    Verdict.MISSING: "error",
    Verdict.FAILED: "error",
    Verdict.NOT_COMPARABLE: "error",
    Verdict.INCONCLUSIVE: "warning",
    Verdict.IMPROVEMENT: "notice",
    Verdict.NOT_JUDGED: "notice",
}


def annotations_of(report: Report) -> list[str]:
    """Return a GitHub workflow command for each row that needs attention."""
    return [
        f"::{ANNOTATIONS[row.verdict]} "
        f"title={_property(f'{row.verdict}: {row.case} {row.metric}')}::"
        f"{_message(row.because)}"
        for row in report.rows
        if row.verdict in ANNOTATIONS
    ]


def _message(text: str) -> str:
    """Escape what ends a workflow command's message."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape what ends a workflow command's property as well."""
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def emit(report: Report, config: CheckConfig | CompareConfig, output: Output) -> None:
    """Print the report and write what was asked for; raises InputOutputError."""
    shown = shown_of(report, explain=config.explain)
    conclude(shown, config, output)
    _tell_machines(report, shown, config, output)


def emit_refusal(
    command: str,
    error: NotComparableError,
    config: CheckConfig | CompareConfig,
    output: Output,
) -> None:
    """Write a refusal for machines; a person gets the error itself, in one line."""
    report = refusal(command, error)
    shown = shown_of(report)
    if for_people(config):
        export(shown, config, output)
    else:
        show(shown, config, output)
    _tell_machines(report, shown, config, output)


def _tell_machines(
    report: Report,
    shown: Shown,
    config: CheckConfig | CompareConfig,
    output: Output,
) -> None:
    """Write the JUnit file, and what GitHub shows of a workflow."""
    if junit := config.exports.get("junit"):
        output.export(junit, junit_of(report))
    if isinstance(config, CheckConfig) and config.github_summary:
        _tell_github(report, shown, output)


#: GitHub names the file here that becomes the summary of a step.
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


def _tell_github(report: Report, shown: Shown, output: Output) -> None:
    for line in annotations_of(report):
        # GitHub reads workflow commands from either stream; stdout is the result's.
        output.say(line)
    place = os.environ.get(SUMMARY_VARIABLE)
    if place is None:
        output.warn(f"--github-summary: {SUMMARY_VARIABLE} is not set")
        return
    findings = "".join(f"{escaped(finding)}\n\n" for finding in report.findings)
    text = f"## {report.summary}\n\n{findings}{markdown_text(shown)}"
    try:
        with Path(place).open("a", encoding="utf-8") as summary:
            summary.write(text)
    except OSError as error:
        raise InputOutputError(f"cannot write {place}: {error.strerror}") from error
