"""`resnet-bench report`: the stored runs as one page, and the same as Markdown."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_bench.commands.table import Reader
from resnet_bench.errors import ExitCode, InputOutputError, UsageError
from resnet_bench.options import ResultsOptions, option
from resnet_bench.output import Output
from resnet_bench.store.folders import RUN_NAMES, names_of_all_runs

if TYPE_CHECKING:
    from resnet_bench.reports.runs import Chosen

PAGE_NAME = "report.html"
MARKDOWN_NAME = "README.md"


@dataclass(frozen=True, kw_only=True)
class ReportConfig(ResultsOptions):
    """`report`: stored runs as one page."""

    runs: tuple[str, ...] = option(
        (),
        argument=True,
        suggest=names_of_all_runs,
        metavar="[RUN…]",
        help="Runs to show; without any, the newest of each machine and question. "
        f"Each: {RUN_NAMES}.",
    )
    html: Path | None = option(
        None,
        metavar="FILE",
        help="Where the page goes [default: report.html in the results folder, with "
        "a README.md beside it].",
    )
    readme: tuple[Path, ...] = option(
        (),
        metavar="FILE,…",
        help="Render the marked blocks of these pages too.",
    )
    refresh: bool = option(
        False, help="Rewrite the tables and figures of the complete runs too."
    )


def make_report(config: ReportConfig, output: Output) -> ExitCode:
    """Render the runs into one HTML file and one Markdown file, and name them.

    A damaged run is named in a warning, the rest is rendered, and the exit code is
    INCOMPLETE. Raises UsageError when there is no run to show, InputOutputError
    when a file cannot be written.
    """
    from resnet_bench.reports.runs import choose_runs, write
    from resnet_bench.reports.stored import StoredRuns
    from resnet_bench.store.checking import OddContentError

    stored = StoredRuns(config.results)
    odd: dict[Path, str] = {}
    while True:
        chosen = choose_runs(stored, config.runs, odd)
        _refuse_nothing(config, chosen, output)
        try:
            texts = _rendered(config, chosen)
            break
        except OddContentError as error:
            # It fails only when it is drawn with others: the rest is shown without it.
            odd[error.folder] = str(error)
    for problem in chosen.problems:
        output.warn(problem)
    if config.refresh:
        for view in chosen.complete:
            output.say(f"wrote tables and figures in {view.run.folder}")
    for path, text in texts.items():
        output.say(f"wrote {write(path, text)}")
    return ExitCode.INCOMPLETE if chosen.problems else ExitCode.OK


def _rendered(config: ReportConfig, chosen: "Chosen") -> dict[Path, str]:
    """Return the text of each page; with `refresh`, write the runs' own files.

    Raises OddContentError for a run that cannot be shown after all.
    """
    from resnet_bench.reports.blocks import page_filled, results_page
    from resnet_bench.reports.page import documents_from, html_page, page_of
    from resnet_bench.reports.runs import publish

    if config.refresh:
        for view in chosen.complete:
            publish(view)
    page = page_of(chosen)
    target = config.html or config.results / PAGE_NAME
    texts = {target: html_page(page, documents_from(target))}
    if config.html is None:
        texts[config.results / MARKDOWN_NAME] = results_page(page, config.results)
    for path in config.readme:
        texts[path] = page_filled(path, chosen.complete)
    return texts


def _refuse_nothing(config: ReportConfig, chosen: "Chosen", output: Output) -> None:
    if not chosen.listed and chosen.problems:
        for problem in chosen.problems:
            output.warn(problem)
        raise InputOutputError(f"no run in {config.results} can be read")
    if not chosen.listed:
        raise UsageError(
            f"no runs in {config.results} yet: run 'resnet-bench speed' first"
        )


REPORT = Reader(ReportConfig, make_report, ("report", "report --html page.html latest"))
