"""The commands that are not experiments, one row each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resnet_bench.errors import ExitCode
from resnet_bench.output import Output
from resnet_bench.registry import Row, Rows

HOME = "resnet_bench.commands"


@dataclass(frozen=True)
class Reader:
    """A command's options, its function, and two examples."""

    config: type[Any]
    function: Callable[[Any, Output], ExitCode]
    examples: tuple[str, str]


READERS: Rows[Reader] = Rows(
    Row("list", "List the stored runs.", f"{HOME}.list:LIST"),
    Row("show", "Show a stored run again.", f"{HOME}.show:SHOW"),
    Row(
        "recommend",
        "Name the most accurate ResNet that fits a time budget here.",
        f"{HOME}.recommend:RECOMMEND",
    ),
    Row(
        "report",
        "Render the stored runs as one HTML page and as Markdown.",
        f"{HOME}.report:REPORT",
    ),
    Row(
        "doctor",
        "Describe this machine and warn of what disturbs measurements.",
        f"{HOME}.doctor:DOCTOR",
    ),
    Row(
        "check",
        "Check if the working tree is slower or worse than a commit.",
        f"{HOME}.gate:CHECK",
    ),
    Row(
        "compare",
        "Compare two stored runs of the same experiment.",
        f"{HOME}.gate:COMPARE",
    ),
    Row(
        "noise",
        "Measure the spread of times here, and which slowdowns it hides.",
        f"{HOME}.gate:NOISE",
    ),
    Row(
        "history",
        "Show times over the commits, and which commit changed them.",
        f"{HOME}.gate:HISTORY",
    ),
    Row(
        "baseline",
        "Save a checked commit under a name, to check against later.",
        f"{HOME}.gate:BASELINE",
    ),
)
