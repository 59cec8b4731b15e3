"""The commands that are no experiment, one row each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reader:
    """A command that is no experiment: its options and the function that does it.

    Both are `module:name`, imported when the command is used. The function takes
    the config and the Output and returns an exit code.
    """

    name: str
    summary: str
    config: str
    function: str
    examples: tuple[str, str]


READERS = {
    row.name: row
    for row in (
        Reader(
            "list",
            "List the stored runs.",
            "resnet_bench.commands.readers:ListConfig",
            "resnet_bench.reports.runs:list_runs",
            ("list", "list -o results --json"),
        ),
        Reader(
            "show",
            "Show a stored run again.",
            "resnet_bench.commands.readers:ShowConfig",
            "resnet_bench.commands.show:show_stored",
            ("show latest", "show latest --wide"),
        ),
        Reader(
            "recommend",
            "Name the most accurate ResNet within a budget, from this machine's runs.",
            "resnet_bench.commands.readers:RecommendConfig",
            "resnet_bench.commands.show:show_recommendation",
            (
                "recommend --latency-ms 50 --device cpu",
                "recommend --images-per-second 100 --mode train --json",
            ),
        ),
        Reader(
            "report",
            "Render the stored runs as one HTML page and as Markdown.",
            "resnet_bench.commands.readers:ReportConfig",
            "resnet_bench.reports.report:make_report",
            ("report", "report --html page.html latest"),
        ),
        Reader(
            "doctor",
            "Describe this machine and warn of what spoils measurements.",
            "resnet_bench.commands.readers:DoctorConfig",
            "resnet_bench.reports.doctor:examine",
            ("doctor", "doctor --json"),
        ),
        Reader(
            "check",
            "Gate a change: an older revision and the working tree, interleaved.",
            "resnet_bench.gate.spec:CheckConfig",
            "resnet_bench.gate.check:run_check",
            ("check --against main", "check --against HEAD~1 --budget 120 --explain"),
        ),
        Reader(
            "compare",
            "Compare two stored runs of the same experiment.",
            "resnet_bench.gate.spec:CompareConfig",
            "resnet_bench.gate.compare:run_compare",
            ("compare RUN RUN", "compare release latest --markdown -"),
        ),
        Reader(
            "noise",
            "Measure how much identical code differs here, and what can be found.",
            "resnet_bench.gate.spec:NoiseConfig",
            "resnet_bench.gate.noise:run_noise",
            ("noise --budget 120", "noise --cases resnet18:forward --pairs 20"),
        ),
        Reader(
            "baseline",
            "Keep a checked commit under a name; only accept replaces it.",
            "resnet_bench.gate.spec:BaselineConfig",
            "resnet_bench.gate.baselines:keep_baseline",
            ("baseline save release", "baseline accept release latest"),
        ),
    )
}
