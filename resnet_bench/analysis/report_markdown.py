"""The report as Markdown: results/README.md, and the block of the project's README."""

import os
import re
from pathlib import Path

from resnet_bench.analysis.publish import FIGURES_FOLDER
from resnet_bench.analysis.report_parts import Page, RunPart, Section
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


def results_page(page: Page, results: Path) -> str:
    """Return the page that stands in the results folder."""
    head = [
        "# Results",
        "Rendered by `resnet-bench report` from the run files in this folder; not "
        "edited by hand. The same with figures to sort, filter and highlight: "
        "[report.html](report.html).",
    ]
    problems = [f"- not readable: `{problem}`" for problem in page.problems]
    budgets = [markdown(table) for table in page.budgets]
    sections = [_section(section, results) for section in page.sections]
    closing = ["## Environments", markdown(page.environments)]
    closing += ["## All runs", markdown(page.listing)]
    return (
        "\n\n".join([*head, *problems, *budgets, *sections, *closing]).rstrip() + "\n"
    )


def _section(section: Section, results: Path) -> str:
    parts = [f"## {section.name}", section.summary]
    for part in section.parts:
        parts.append(_run(part, results))
    parts += [markdown(table) for table in section.published]
    return "\n\n".join(parts)


def _run(part: RunPart, results: Path) -> str:
    status = "" if part.run.status == "complete" else f" ({part.run.status})"
    lines = [f"Run `{part.run.id}`{status}: `{part.command}`"]
    lines += [f"- {notice}" for notice in part.notices]
    lines += [markdown(table) for table in part.tables]
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
    words = title.replace("[", "(").replace("]", ")")
    return f"![{words}]({relative(path, base)})"


def relative(path: Path, base: Path) -> str:
    """Return a path as a link from a file in `base`."""
    return Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()


def blocks_filled(readme: Path, results: Path) -> str:
    """Return a README with its generated block rendered from the newest runs.

    Raises InputOutputError when it cannot be read, UsageError without a block.
    """
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise InputOutputError(
            f"cannot read {readme}: {error.strerror or error}"
        ) from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"--readme {readme}: expected a file with '{BEGIN} -->'")
    body = block(newest_runs(results), readme.parent)
    return f"{before}{BEGIN}{HINT}\n{body}\n{END}{after}"


def newest_runs(results: Path) -> list[Run]:
    """Return the newest complete run of each experiment that the README shows."""
    found = []
    for name in README_PARTS:
        runs = (read_run(folder) for folder in reversed(run_folders(results, name)))
        newest = next((run for run in runs if run.status == "complete"), None)
        found += [newest] if newest else []
    return found


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


def runs_of_block(text: str) -> list[str]:
    """Return the run ids that a README's block names, in order."""
    body = text.partition(BEGIN)[2].partition(END)[0]
    return re.findall(r"From run \[`([^`]+)`\]", body)


def block_of(readme: Path, results: Path) -> str:
    """Return the block as it should stand for the runs that it names."""
    names = runs_of_block(readme.read_text(encoding="utf-8"))
    runs = [read_run(find_run(results, name)) for name in names]
    return block(runs, readme.parent)
