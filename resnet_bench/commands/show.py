"""`resnet-bench show`: a stored run again."""

from dataclasses import dataclass

from resnet_bench.commands.table import Reader
from resnet_bench.errors import ExitCode
from resnet_bench.options import ExportOptions, ResultsOptions, option
from resnet_bench.output import Output
from resnet_bench.present.exports import show
from resnet_bench.store.folders import RUN_NAMES, find_run, names_of_all_runs
from resnet_bench.store.reading import read_run


@dataclass(frozen=True, kw_only=True)
class ShowConfig(ResultsOptions, ExportOptions):
    """`show`: one stored run."""

    run: str = option(
        "latest",
        argument=True,
        suggest=names_of_all_runs,
        metavar="[RUN]",
        help=f"The run: {RUN_NAMES}.",
    )


def show_stored(config: ShowConfig, output: Output) -> ExitCode:
    """Show a stored run again; its files are left as they are."""
    from resnet_bench.reports.stored import shown

    run = read_run(find_run(config.results, config.run))
    for problem in run.problems:
        output.warn(problem)
    if run.status != "complete":
        output.warn(f"run {run.id} is partial")
    show(shown(run), config, output)
    return ExitCode.OK


SHOW = Reader(ShowConfig, show_stored, ("show latest", "show latest --wide"))
