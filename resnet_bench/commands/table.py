"""The commands that are no experiment, one row each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resnet_bench.commands import gate
from resnet_bench.commands.doctor import DoctorConfig, examine
from resnet_bench.commands.list import ListConfig, list_runs
from resnet_bench.commands.recommend import RecommendConfig, show_recommendation
from resnet_bench.commands.report import ReportConfig, make_report
from resnet_bench.commands.show import ShowConfig, show_stored
from resnet_bench.errors import ExitCode
from resnet_bench.gate.spec import (
    BaselineConfig,
    CheckConfig,
    CompareConfig,
    NoiseConfig,
)
from resnet_bench.output import Output


@dataclass(frozen=True)
class Reader:
    """A command that is no experiment: its options and the function that does it."""

    name: str
    summary: str
    config: type[Any]
    function: Callable[[Any, Output], ExitCode]
    examples: tuple[str, str]


READERS = {
    row.name: row
    for row in (
        Reader(
            "list",
            "List the stored runs.",
            ListConfig,
            list_runs,
            ("list", "list -o results --json"),
        ),
        Reader(
            "show",
            "Show a stored run again.",
            ShowConfig,
            show_stored,
            ("show latest", "show latest --wide"),
        ),
        Reader(
            "recommend",
            "Name the most accurate ResNet within a budget, from this machine's runs.",
            RecommendConfig,
            show_recommendation,
            (
                "recommend --latency-ms 50 --device cpu",
                "recommend --images-per-second 100 --mode train --json",
            ),
        ),
        Reader(
            "report",
            "Render the stored runs as one HTML page and as Markdown.",
            ReportConfig,
            make_report,
            ("report", "report --html page.html latest"),
        ),
        Reader(
            "doctor",
            "Describe this machine and warn of what spoils measurements.",
            DoctorConfig,
            examine,
            ("doctor", "doctor --json"),
        ),
        Reader(
            "check",
            "Gate a change: an older revision and the working tree, interleaved.",
            CheckConfig,
            gate.check,
            ("check --against main", "check --against HEAD~1 --budget 120 --explain"),
        ),
        Reader(
            "compare",
            "Compare two stored runs of the same experiment.",
            CompareConfig,
            gate.compare,
            ("compare RUN RUN", "compare release latest --export-markdown -"),
        ),
        Reader(
            "noise",
            "Measure how much identical code differs here, and what can be found.",
            NoiseConfig,
            gate.noise,
            ("noise --budget 120", "noise --cases resnet18:forward --pairs 20"),
        ),
        Reader(
            "baseline",
            "Keep a checked commit under a name; only accept replaces it.",
            BaselineConfig,
            gate.baseline,
            ("baseline save release", "baseline accept release latest"),
        ),
    )
}
