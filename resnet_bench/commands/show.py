"""Showing a run: tables on the terminal, JSON, CSV and Markdown."""

import importlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnet_bench.errors import ExitCode
from resnet_bench.experiments.base import Experiment
from resnet_bench.options import ExportOptions, ResultsOptions, option
from resnet_bench.output import STDOUT, Output
from resnet_bench.present.shown import Shown
from resnet_bench.store.folders import find_run
from resnet_bench.store.reading import read_run
from resnet_bench.store.recording import Recorder

if TYPE_CHECKING:
    from rich.console import RenderableType

    from resnet_bench.present.tables import Table


def import_what_shows() -> None:
    """Import pandas and matplotlib: while another process imports torch, it is free.

    At the end of a run it would take 3 s (two cores).
    """
    importlib.import_module("resnet_bench.reports.runs")


def live_table(
    experiment: Experiment[Any, Any], recorder: Recorder
) -> "Callable[[], RenderableType | None]":
    """Return what makes the table that fills while cells run."""

    def table() -> "RenderableType | None":
        from resnet_bench.present.terminal import rich_table

        made = experiment.live_table(recorder.live)
        return rich_table(made, made.narrow) if made else None

    return table


def show(shown: Shown, options: ExportOptions, output: Output) -> None:
    """Print a run as asked, and write its exports.

    Raises InputOutputError when an export cannot be written.
    """
    if _for_people(options):
        for notice in shown.notices:
            output.say(notice)
    present(finite(shown.json), shown.tables, options, output)


def _for_people(options: ExportOptions) -> bool:
    return not options.json and STDOUT not in options.exports.values()


def present(
    content: dict[str, Any],
    tables: Sequence["Table"],
    options: ExportOptions,
    output: Output,
) -> None:
    """Print a result as JSON or as tables, and write its exports.

    Raises InputOutputError when an export cannot be written.
    """
    from resnet_bench.present.tables import csv_text, markdown

    if options.json:
        output.write(json.dumps(content, allow_nan=False))
    elif _for_people(options):
        _print(tables, options, output)
    texts: dict[str, Callable[[], str]] = {
        "json": lambda: json.dumps(content, allow_nan=False) + "\n",
        "csv": lambda: csv_text(tables[0]) if tables else "",
        "markdown": lambda: "\n".join(
            markdown(table, wide=options.wide) for table in tables
        ),
    }
    for name, path in options.exports.items():
        output.export(path, texts[name]())


def finite(value: Any) -> Any:
    """Return `value` with null for the numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _print(tables: Sequence["Table"], options: ExportOptions, output: Output) -> None:
    from resnet_bench.present.terminal import print_table

    console = output.console()
    for table in tables:
        print_table(table, console, wide=options.wide)


@dataclass(frozen=True, kw_only=True)
class ShowConfig(ResultsOptions, ExportOptions):
    """`show`: one stored run."""

    run: str = option(
        "latest",
        argument=True,
        metavar="[RUN]",
        help="A run id, its beginning, a folder, or latest.",
    )


def show_stored(config: ShowConfig, output: Output) -> ExitCode:
    """Show a stored run again; its files are left as they are."""
    from resnet_bench.reports.shown import shown

    run = read_run(find_run(config.results, config.run))
    for problem in run.problems:
        output.warn(problem)
    if run.status != "complete":
        output.warn(f"run {run.id} is partial")
    show(shown(run), config, output)
    return ExitCode.OK
