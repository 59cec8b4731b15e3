"""A report for machines and forges: Markdown, JUnit and GitHub annotations."""

from collections.abc import Callable
from xml.etree import ElementTree as ET

from resnet_bench.gate.check_report import Report
from resnet_bench.gate.check_tables import tables_of
from resnet_bench.gate.decide import Verdict
from resnet_bench.gate.rows import Row
from resnet_bench.present.tables import markdown

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
