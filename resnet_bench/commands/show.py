"""`show`: a stored run again; and the table that fills while a run goes on."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnet_bench.errors import ExitCode
from resnet_bench.experiments.base import Experiment
from resnet_bench.options import ExportOptions, ResultsOptions, option
from resnet_bench.output import Output
from resnet_bench.present.printing import show
from resnet_bench.store.folders import find_run
from resnet_bench.store.reading import read_run
from resnet_bench.store.recording import Recorder

if TYPE_CHECKING:
    from rich.console import RenderableType


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
