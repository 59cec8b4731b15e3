"""How a stored check is shown again."""

from typing import Any

from resnet_bench.gate.check_report import report_json, report_of
from resnet_bench.gate.check_tables import tables_of
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run


def json_object(run: Run) -> dict[str, Any]:
    """Return the check as one JSON-ready object."""
    return report_json(report_of(run))


def tables(run: Run) -> list[Table]:
    """Return the tables of times and of everything else."""
    return tables_of(report_of(run))


def notices(run: Run) -> list[str]:
    """Return the summary and what is to be known besides."""
    report = report_of(run)
    return [report.summary, *report.troubles, *report.notices]
