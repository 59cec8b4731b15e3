"""From a run to the files that stand beside it: tables and figures."""

from pathlib import Path

from resnet_bench.errors import InputOutputError
from resnet_bench.present.tables import csv_text, escaped, markdown
from resnet_bench.present.theme import save
from resnet_bench.reports.shown import RunView

FIGURES_FOLDER = "figures"

#: The table of verdicts, kept apart from the measurements that they rest on.
CLAIMS = "claims"


def publish(shown: RunView) -> list[Path]:
    """Write table.md, a CSV per table and the figures; return their paths.

    The first table of measurements is `table.csv`; others, and claims, go by their
    name. The files follow from the run file alone and are written again on every
    call. Raises InputOutputError when the folder cannot be written.
    """
    run, tables = shown.run, shown.tables
    written = []
    if tables:
        written.append(_write(run.folder / "table.md", markdown_page(shown)))
    measured = [table.name for table in tables if table.name != CLAIMS]
    for table in tables:
        name = "table" if table.name in measured[:1] else table.name
        written.append(_write(run.folder / f"{name}.csv", csv_text(table)))
    for name, figure in shown.figures.items():
        written.extend(save(figure, run.folder / FIGURES_FOLDER, name))
    return written


def markdown_page(shown: RunView) -> str:
    """Return what must be known of a run, and its tables, as one Markdown page."""
    run = shown.run
    status = "" if run.status == "complete" else f" ({run.status})"
    head = f"## {run.experiment}: `{run.id}`{status}\n"
    notices = [f"- {escaped(notice)}" for notice in shown.notices]
    blank = [""] if notices else []
    tables = map(markdown, shown.tables)
    return "\n".join([head, *notices, *blank, *tables])


def _write(path: Path, text: str) -> Path:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputOutputError(
            f"cannot write {path}: {error.strerror or error}"
        ) from error
    return path
