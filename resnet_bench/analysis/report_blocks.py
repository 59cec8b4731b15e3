"""Blocks of hand-written pages that are rendered from runs.

A page marks them with comments. The results block shows a table and figures of the
newest runs; a measured block shows what one experiment, or some claims of
`degradation`, came to.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resnet_bench.analysis.report_markdown import image, relative
from resnet_bench.analysis.tables import markdown
from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.store.folders import find_run, run_folders
from resnet_bench.store.reading import Run, read_run

BEGIN = "<!-- results begin"
END = "<!-- results end -->"
HINT = ": rendered by `resnet-bench report --readme`, not by hand -->"

#: What the README shows of an experiment: how many tables, and which figure.
README_PARTS = {
    "speed": (1, "phases"),
    "degradation": (0, "training-curves"),
    "finetune": (0, "accuracy-against-time"),
}

#: A measured block: what it shows stands in its first mark.
MEASURED = re.compile(
    r"<!-- measured begin: (?P<names>[^>]+?) -->\n.*?<!-- measured end -->", re.DOTALL
)
CLAIMS_OF = "degradation"


def page_filled(page: Path, results: Path) -> str:
    """Return a page with all its blocks rendered from the newest complete runs.

    Raises InputOutputError when it cannot be read, UsageError without any block.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise InputOutputError(
            f"cannot read {page}: {error.strerror or error}"
        ) from error
    if BEGIN not in text and not MEASURED.search(text):
        raise UsageError(f"--readme {page}: expected a file with '{BEGIN} -->'")
    runs = newest_runs(results)
    return filled(text, runs, page.parent)


def filled(text: str, runs: dict[str, Run], base: Path) -> str:
    """Return a page's text with its blocks rendered from these runs."""
    before, begin, rest = text.partition(BEGIN)
    if begin and END in rest:
        shown = [run for name, run in runs.items() if name in README_PARTS]
        after = rest.partition(END)[2]
        text = f"{before}{BEGIN}{HINT}\n{block(shown, base)}\n{END}{after}"
    return MEASURED.sub(lambda found: measured_block(found["names"], runs, base), text)


def measured_block(names: str, runs: dict[str, Run], base: Path) -> str:
    """Return a measured block: an experiment's first table, or claims by name."""
    name = names.strip()
    lines = _table_lines(runs[name]) if name in runs else _claim_lines(name, runs)
    run = runs.get(name) or runs.get(CLAIMS_OF)
    body = list(lines) or ["Not measured in the runs that are kept here."]
    if run is not None and lines:
        body.append(f"From run [`{run.id}`]({relative(run.folder, base)}/).")
    inner = "\n\n".join(body)
    return f"<!-- measured begin: {name} -->\n{inner}\n<!-- measured end -->"


def _table_lines(run: Run) -> list[str]:
    table = next(iter(EXPERIMENTS[run.experiment].view.tables(run)), None)
    return [markdown(table).strip()] if table else []


def _claim_lines(names: str, runs: dict[str, Run]) -> list[str]:
    run = runs.get(CLAIMS_OF)
    if run is None:
        return []
    claims = EXPERIMENTS[CLAIMS_OF].view.json_object(run)["claims"]
    wanted = [name.strip() for name in names.split(",")]
    found = [row for name in wanted for row in claims if row["name"] == name]
    return ["\n".join(_claim_line(row) for row in found)] if found else []


def _claim_line(row: dict[str, Any]) -> str:
    seeds = f"{row['seeds']} seed{'' if row['seeds'] == 1 else 's'}"
    text = f"**{row['verdict']}**: {row['claim']} Measured: {row['why']} ({seeds})."
    return "- " + text.replace("<", "&lt;")


def newest_runs(results: Path) -> dict[str, Run]:
    """Return the newest complete run of each experiment, by its name."""
    found: dict[str, Run] = {}
    for name in EXPERIMENTS:
        newest = next(_complete_runs(results, name), None)
        found |= {name: newest} if newest else {}
    return found


def _complete_runs(results: Path, name: str) -> Iterator[Run]:
    """Return the complete runs of an experiment, newest first; skip damaged ones."""
    for folder in reversed(run_folders(results, name)):
        try:
            run = read_run(folder)
        except InputOutputError:
            continue
        if run.status == "complete":
            yield run


def block(runs: list[Run], base: Path) -> str:
    """Return what stands between the marks of a README, for these runs."""
    return "\n\n".join(part for run in runs for part in _block_parts(run, base))


def _block_parts(run: Run, base: Path) -> list[str]:
    view = EXPERIMENTS[run.experiment].view
    tables, figure = README_PARTS[run.experiment]
    folder = relative(run.folder, base)
    parts = [markdown(table) for table in view.tables(run)[:tables]]
    parts.append(image(run, figure, figure.replace("-", " "), base))
    parts.append(f"From run [`{run.id}`]({folder}/) of `{run.experiment}`.")
    return [part.strip() for part in parts if part]


def runs_named(text: str) -> list[str]:
    """Return the run ids that the blocks of a page name, each once."""
    return list(dict.fromkeys(re.findall(r"From run \[`([^`]+)`\]", text)))


def page_as_named(page: Path, results: Path) -> str:
    """Return a page with its blocks rendered from the runs that it names."""
    text = page.read_text(encoding="utf-8")
    found = [read_run(find_run(results, name)) for name in runs_named(text)]
    runs = {run.experiment: run for run in found}
    ordered = {name: runs[name] for name in EXPERIMENTS if name in runs}
    return filled(text, ordered, page.parent)
