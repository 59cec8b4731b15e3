"""`resnet-bench list`: the stored runs, one line each."""

import json
from dataclasses import asdict, dataclass

from resnet_bench.commands.table import Reader
from resnet_bench.errors import ExitCode
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.options import ResultsOptions, option
from resnet_bench.output import Output


@dataclass(frozen=True, kw_only=True)
class ListConfig(ResultsOptions):
    """`list`: the stored runs."""

    experiment: str | None = option(
        None,
        argument=True,
        choices=(*EXPERIMENTS, "check", "noise", "history"),
        metavar="[EXPERIMENT]",
        help="Show only the runs of this command.",
    )

    json: bool = option(False, help="Print one JSON object.")
    wide: bool = option(False, help="Show every column.")


def list_runs(config: ListConfig, output: Output) -> ExitCode:
    """Carry out `list`; damaged runs are named in warnings and do not stop it."""
    from resnet_bench.present.terminal import print_table
    from resnet_bench.reports.listing import list_of_runs, listing_table

    rows = list_of_runs(config.results, config.experiment)
    if config.json:
        output.write(json.dumps({"runs": [asdict(row) for row in rows]}))
        return ExitCode.OK
    if not rows:
        of = f" of {config.experiment}" if config.experiment else ""
        first = config.experiment or "speed"
        output.say(
            f"no runs{of} in {config.results} yet: 'resnet-bench {first}' creates the "
            "first"
        )
        return ExitCode.OK
    print_table(listing_table(rows), output.console(), wide=config.wide)
    for row in rows:
        if row.problem:
            output.warn(row.problem)
    return ExitCode.OK


LIST = Reader(ListConfig, list_runs, ("list", "list speed --json"))
