"""The report as Markdown, which stands beside the runs."""

import os
from pathlib import Path

from resnet_bench.present.tables import code, escaped, markdown
from resnet_bench.reports.publish import FIGURES_FOLDER
from resnet_bench.reports.report_parts import Page, RunPart, Section
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
    parts = [f"## {section.title}", section.summary]
    for part in section.parts:
        parts.append(_run(part, results))
    parts += [markdown(table) for table in section.published]
    return "\n\n".join(parts)


def _run(part: RunPart, results: Path) -> str:
    status = "" if part.run.status == "complete" else f" ({part.run.status})"
    lines = [f"Run `{part.run.id}`{status}: {code(part.command)}"]
    lines += [f"- {escaped(notice)}" for notice in part.view.notices]
    lines += [markdown(table) for table in part.view.tables]
    lines += [
        image(part.run, drawing.name, drawing.title, results)
        for drawing in part.drawings
    ]
    return "\n\n".join(line for line in lines if line)


def image(run: Run, name: str, title: str, base: Path) -> str:
    """Return a figure of a run as a Markdown image; nothing if it is not stored."""
    path = run.folder / FIGURES_FOLDER / f"{name}.png"
    if not path.is_file():
        return ""
    words = escaped(title.replace("[", "(").replace("]", ")"))
    return f"![{words}]({relative(path, base)})"


def relative(path: Path, base: Path) -> str:
    """Return a path as a link from a file in `base`."""
    return Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()
