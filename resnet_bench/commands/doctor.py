"""`resnet-bench doctor`: this machine, and what disturbs measurements on it."""

import json
from dataclasses import dataclass

from resnet_bench.commands.table import Reader
from resnet_bench.errors import ExitCode
from resnet_bench.execution.base import machine_environment
from resnet_bench.options import Options, option
from resnet_bench.output import Output


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(Options):
    """`doctor`: this machine, and what disturbs measurements on it."""

    json: bool = option(False, help="Print one JSON object.")


def examine(config: DoctorConfig, output: Output) -> ExitCode:
    """Print the environment with warnings and extras, as text or as JSON."""
    from resnet_bench.reports.doctor import json_object, report

    environment = machine_environment()
    if config.json:
        output.write(json.dumps(json_object(environment)))
        return ExitCode.OK
    console = output.console()
    for line in report(environment):
        console.print(line)
    return ExitCode.OK


DOCTOR = Reader(DoctorConfig, examine, ("doctor", "doctor --json"))
