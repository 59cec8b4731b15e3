"""`resnet-bench report`: one page that shows everything, and the same as Markdown."""

from collections.abc import Iterator
from pathlib import Path

import jinja2

from resnet_bench.catalogue import VARIANTS
from resnet_bench.commands.readers import ReportConfig
from resnet_bench.errors import ExitCode, InputOutputError, UsageError
from resnet_bench.output import Output
from resnet_bench.present.tables import Table
from resnet_bench.present.theme import ARM_COLOURS, VARIANT_COLOURS
from resnet_bench.reports.blocks import page_filled, relative, results_page
from resnet_bench.reports.page import Page, PageTable, page_of, page_table
from resnet_bench.reports.runs import Chosen, choose_runs, publish

PAGE_NAME = "report.html"
MARKDOWN_NAME = "README.md"

#: What the page sends its readers to.
DOCUMENTS = {
    "tutorial.md": "goes through the tutorial's lessons, each with its sentence, the "
    "command that shows it and what was measured.",
    "method.md": "says in detail how each number is taken,",
    "claims.md": "how a verdict comes about.",
}


def make_report(config: ReportConfig, output: Output) -> ExitCode:
    """Render the runs into one HTML file and one Markdown file, and name them.

    A damaged run is named in a warning, the rest is rendered, and the exit code is
    INCOMPLETE. Raises UsageError when there is no run to show, InputOutputError
    when a file cannot be written.
    """
    chosen = choose_runs(config.results, config.runs)
    for problem in chosen.problems:
        output.warn(problem)
    _refuse_nothing(config, chosen)
    if config.refresh:
        for view in chosen.complete:
            publish(view)
            output.say(f"wrote tables and figures in {view.run.folder}")
    page = page_of(chosen)
    target = config.html or config.results / PAGE_NAME
    written = {target: html_page(page, documents_from(target))}
    if config.html is None:
        written[config.results / MARKDOWN_NAME] = results_page(page, config.results)
    for path in config.readme:
        written[path] = page_filled(path, chosen.complete)
    for path, text in written.items():
        _write(path, text)
        output.say(f"wrote {path}")
    return ExitCode.INCOMPLETE if chosen.problems else ExitCode.OK


def _refuse_nothing(config: ReportConfig, chosen: Chosen) -> None:
    if not chosen.listed and chosen.problems:
        raise InputOutputError(f"no run in {config.results} can be read")
    if not chosen.listed:
        raise UsageError(
            f"no runs in {config.results} yet: run 'resnet-bench speed' first"
        )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputOutputError(
            f"cannot write {path}: {error.strerror or error}"
        ) from error


def documents_from(target: Path) -> str:
    """Return the documents' folder as a link from a page inside of the project.

    Nothing for a page elsewhere, which may be sent to people without the project.
    """
    project = Path(__file__).resolve().parents[2]
    documents = project / "docs"
    inside = target.resolve().is_relative_to(project) and documents.is_dir()
    return relative(documents, target.parent) if inside else ""


def html_page(page: Page, home: str = "") -> str:
    """Return the report as one HTML file that asks for nothing from outside.

    `home` is where a reader finds the documents; without it they are only named.
    """
    keys = _keys()

    def prepared(table: Table) -> PageTable:
        return page_table(table, next(keys))

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("resnet_bench.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        page=page,
        prepared=prepared,
        series=series_of_page(page),
        home=home,
        documents=DOCUMENTS,
    )


def _keys() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"table-{number}"


def series_of_page(page: Page) -> dict[str, tuple[str, str]]:
    """Return the series that can be highlighted: key to name and colour."""
    drawn = "".join(drawing.svg for drawing in page.drawings)
    named = {
        str(depth): (VARIANTS[depth].title, colour)
        for depth, colour in VARIANT_COLOURS.items()
    }
    named |= {arm: (arm, colour) for arm, colour in ARM_COLOURS.items()}
    return {
        key: value for key, value in named.items() if f'data-series="{key}"' in drawn
    }
