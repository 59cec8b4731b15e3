"""Blocks of hand-written pages that are rendered from runs.

A page marks them with comments. The results block shows a table and figures of each
experiment's plainest run; a measured block shows what one experiment, or some claims of
`degradation`, came to; the claims block explains every claim.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.degradation.claims.page import rendered
from resnet_bench.present.tables import code, escaped, markdown
from resnet_bench.reports.page import Page, Section
from resnet_bench.reports.runs import FIGURES_FOLDER, plainest, relative
from resnet_bench.reports.shown import ShownRun
from resnet_bench.store.reading import Run


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
    parts = [f"## {section.experiment.title}", section.experiment.summary]
    parts += [_run(view, results) for view in section.views]
    parts += [markdown(table) for table in section.published]
    return "\n\n".join(parts)


def _run(view: ShownRun, results: Path) -> str:
    lines = [f"Run `{view.run.id}`{view.status_mark}: {code(view.command)}"]
    lines += [f"- {escaped(notice)}" for notice in view.shown.sentences]
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


BEGIN = "<!-- results begin"
END = "<!-- results end -->"
HINT = ": rendered by `resnet-bench report --readme`, not by hand -->"

#: What the README shows of an experiment: how many tables, and which figure.
README_PARTS = {
    "speed": (1, "phases"),
    "degradation": (0, "training-curves"),
}

#: A measured block: what it shows stands in its first mark.
MEASURED = re.compile(
    r"<!-- measured begin: (?P<names>[^>]+?) -->\n.*?<!-- measured end -->", re.DOTALL
)
CLAIMS_OF = "degradation"

#: The block that explains every claim, whatever runs there are.
CLAIMS = re.compile(r"<!-- claims begin -->\n.*?<!-- claims end -->", re.DOTALL)


def page_filled(page: Path, views: Sequence[ShownRun]) -> str:
    """Return a page with all its blocks rendered from complete runs.

    Raises InputOutputError when it cannot be read, UsageError without any block.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise InputOutputError(
            f"cannot read {page}: {error.strerror or error}"
        ) from error
    if BEGIN not in text and not MEASURED.search(text) and not CLAIMS.search(text):
        raise UsageError(f"--readme {page}: expected a file with '{BEGIN} -->'")
    return filled(text, views, page.parent)


def filled(text: str, views: Sequence[ShownRun], base: Path) -> str:
    """Return a page's text with its blocks rendered from these runs."""
    before, begin, rest = text.partition(BEGIN)
    if begin and END in rest:
        after = rest.partition(END)[2]
        text = f"{before}{BEGIN}{HINT}\n{block(views, base)}\n{END}{after}"
    claims = f"<!-- claims begin -->\n\n{rendered()}\n\n<!-- claims end -->"
    text = CLAIMS.sub(lambda _: claims, text)
    return MEASURED.sub(lambda found: measured_block(found["names"], views, base), text)


def measured_block(names: str, views: Sequence[ShownRun], base: Path) -> str:
    """Return a measured block: an experiment's first table, or claims by name."""
    name = names.strip()
    body = (
        _table_lines(name, views, base)
        if name in EXPERIMENTS
        else _claim_lines(name, views, base)
    )
    inner = "\n\n".join(body or ["Not measured in the runs that are kept here."])
    return f"<!-- measured begin: {name} -->\n{inner}\n<!-- measured end -->"


def _table_lines(name: str, views: Sequence[ShownRun], base: Path) -> list[str]:
    view = plainest(views, name)
    if view is None or not view.shown.tables:
        return []
    return [markdown(view.shown.tables[0]).strip(), _origin(view, base)]


def _claim_lines(names: str, views: Sequence[ShownRun], base: Path) -> list[str]:
    """Return a line per claim, from the largest run that judges any of them."""
    wanted = [name.strip() for name in names.split(",")]
    own = [view for view in views if view.run.experiment == CLAIMS_OF]
    largest = sorted(own, key=lambda view: (len(view.run.grid), view.run.id))
    for view in reversed(largest):
        claims = view.shown.json["claims"]
        found = [row for name in wanted for row in claims if row["name"] == name]
        if found:
            return ["\n".join(map(_claim_line, found)), _origin(view, base)]
    return []


def _origin(view: ShownRun, base: Path) -> str:
    return f"From run [`{view.run.id}`]({relative(view.run.folder, base)}/)."


def _claim_line(row: dict[str, Any]) -> str:
    seeds = f"{row['seeds']} seed{'' if row['seeds'] == 1 else 's'}"
    said = escaped(f"{row['claim']} Measured: {row['why']} ({seeds}).")
    return f"- **{row['verdict']}**: {said}"


def block(views: Sequence[ShownRun], base: Path) -> str:
    """Return what stands between the marks of a README, from the plainest runs."""
    chosen = [plainest(views, name) for name in README_PARTS]
    shown = [view for view in chosen if view is not None]
    return "\n\n".join(part for view in shown for part in _block_parts(view, base))


def _block_parts(view: ShownRun, base: Path) -> list[str]:
    name = view.run.experiment
    tables, figure = README_PARTS[name]
    parts = [markdown(table) for table in view.shown.tables[:tables]]
    parts.append(image(view.run, figure, figure.replace("-", " "), base))
    parts.append(f"{_origin(view, base).removesuffix('.')} of `{name}`.")
    return [part.strip() for part in parts if part]
