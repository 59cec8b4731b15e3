"""Runs as Markdown: the page of the results folder, and blocks of hand-written pages.

A page marks a block with two comments, `<!-- rendered begin: WHAT -->` and
`<!-- rendered end -->`. WHAT is an experiment, whose first table is shown, as
EXPERIMENT/FIGURE one of its figures, names of claims, or `claims`, which explains all.
After an experiment or a figure, `cpu` or `cuda` names the device that the run was taken
on, and options name what its command line must hold: `speed/ladder cuda --ladder`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_bench.errors import UsageError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.degradation.claims.page import rendered
from resnet_bench.present.tables import code, escaped, markdown
from resnet_bench.reports.page import Page, Section
from resnet_bench.reports.runs import FIGURES_FOLDER, plainest, relative
from resnet_bench.reports.stored import ShownRun
from resnet_bench.store.checking import naming
from resnet_bench.store.reading import Run, read_text


def results_page(page: Page, results: Path) -> str:
    """Return the page that stands in the results folder."""
    head = [
        "# Results",
        "Rendered by `resnet-bench report` from the run files in this folder; not "
        "edited by hand. The same with figures to sort, filter and highlight: "
        "[report.html](report.html).",
    ]
    problems = [f"- not readable: {code(problem)}" for problem in page.problems]
    budgets = [markdown(table) for table in page.budgets]
    budgets += [markdown(front.table) for front in page.fronts]
    sections = [_section(section, results) for section in page.sections]
    closing = ["## Environments", markdown(page.environments)]
    closing += ["## All runs", markdown(page.listing)]
    return (
        "\n\n".join([*head, *problems, *budgets, *sections, *closing]).rstrip() + "\n"
    )


def _section(section: Section, results: Path) -> str:
    parts = [f"## {section.experiment.title}", section.summary]
    parts += [_run(view, results) for view in section.views]
    parts += [markdown(table) for table in section.published]
    return "\n\n".join(parts)


def _run(view: ShownRun, results: Path) -> str:
    lines = [f"Run `{view.run.id}`{view.status_mark}: {code(view.run.command)}"]
    lines += [f"- {escaped(notice)}" for notice in view.shown.sentences]
    with naming(view.run):
        lines += [markdown(table) for table in view.shown.tables]
    lines += [
        image(view.run, drawing.name, drawing.title, results)
        for drawing in view.drawings
    ]
    return "\n\n".join(line for line in lines if line)


def image(run: Run, name: str, title: str, base: Path) -> str:
    """Return a figure of a run as a Markdown image; nothing if it is not stored."""
    path = run.folder / FIGURES_FOLDER / f"{name}.png"
    if not path.is_file():
        return ""
    words = escaped(title.replace("[", "(").replace("]", ")"))
    return f"![{words}]({relative(path, base)})"


#: A block of a page; its first mark says what it shows.
BLOCK = re.compile(
    r"<!-- rendered begin: (?P<what>[^>]+?) -->\n.*?<!-- rendered end -->", re.DOTALL
)

#: The block that explains every claim, whatever runs there are.
CLAIMS = "claims"
CLAIMS_OF = "degradation"


def page_filled(page: Path, views: Sequence[ShownRun]) -> str:
    """Return a page with all its blocks rendered from complete runs.

    Raises InputOutputError when it cannot be read, UsageError without any block.
    """
    text = read_text(page)
    if not BLOCK.search(text):
        raise UsageError(
            f"--readme {page}: expected a file with '<!-- rendered begin: … -->'"
        )
    return filled(text, views, page.parent)


def filled(text: str, views: Sequence[ShownRun], base: Path) -> str:
    """Return a page's text with its blocks rendered from these runs."""

    def block(found: re.Match[str]) -> str:
        what = found["what"]
        parts = _parts(what, views, base)
        inner = "\n\n".join(parts or ["Not measured in the runs that are kept here."])
        return f"<!-- rendered begin: {what} -->\n{inner}\n<!-- rendered end -->"

    return BLOCK.sub(block, text)


def _parts(what: str, views: Sequence[ShownRun], base: Path) -> list[str]:
    """Return what a block holds: a table, a figure, some claims, or all explained."""
    if what == CLAIMS:
        return [rendered()]
    first, *wanted = what.split()
    name, _, figure = first.partition("/")
    if name not in EXPERIMENTS:
        return _claim_lines(what, views, base)
    view = plainest([each for each in views if _meets(each.run, wanted)], name)
    if view is None:
        return []
    if figure:
        shown = image(view.run, figure, figure.replace("-", " "), base)
    else:
        with naming(view.run):
            shown = "".join(markdown(each).strip() for each in view.shown.tables[:1])
    return [shown, _origin(view, base)] if shown else []


def _meets(run: Run, wanted: Sequence[str]) -> bool:
    """Return whether a run has the device and the options that a block asks for."""
    known = {run.device.partition(":")[0], *run.words}
    return known.issuperset(wanted)


def _claim_lines(names: str, views: Sequence[ShownRun], base: Path) -> list[str]:
    """Return a line per claim, from the largest run that judges any of them."""
    wanted = [name.strip() for name in names.split(",")]
    own = [view for view in views if view.run.experiment == CLAIMS_OF]
    largest = sorted(own, key=lambda view: (len(view.run.grid), view.run.id))
    for view in reversed(largest):
        with naming(view.run):
            claims = view.shown.json["claims"]
            found = [row for name in wanted for row in claims if row["name"] == name]
        if found:
            return ["\n".join(map(_claim_line, found)), _origin(view, base)]
    return []


def _claim_line(row: dict[str, Any]) -> str:
    seeds = f"{row['seeds']} seed{'' if row['seeds'] == 1 else 's'}"
    said = escaped(f"{row['claim']} Measured: {row['why']} ({seeds}).")
    return f"- **{row['verdict']}**: {said}"


def _origin(view: ShownRun, base: Path) -> str:
    return f"From run [`{view.run.id}`]({relative(view.run.folder, base)}/)."
