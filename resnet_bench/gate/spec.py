"""What `check`, `compare`, `noise` and `baseline` can be asked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_bench.configuration import read_configuration
from resnet_bench.errors import UsageError
from resnet_bench.options import (
    ExportOptions,
    Options,
    ResultsOptions,
    check,
    option,
    option_fields,
)

#: What can be done with the object that `subject(name)` returns.
METHODS = ("forward", "step", "exact", "accuracy")


@dataclass(frozen=True, order=True)
class Case:
    """The name that the subject's function gets, and what is measured of it."""

    name: str
    method: str

    @property
    def text(self) -> str:
        """The case as it is written on the command line."""
        return f"{self.name}:{self.method}"

    @property
    def is_timed(self) -> bool:
        """Whether process pairs measure it."""
        return self.method in ("forward", "step")


#: The frozen matrix product that every pair measures along.
CONTROL = Case("control", "forward")


def parse_case(text: str) -> Case:
    """Read `NAME:METHOD`; a name alone means its forward pass.

    Raises UsageError for an unknown method and for the name that is taken.
    """
    name, separator, method = text.strip().partition(":")
    method = method if separator else "forward"
    if not name or method not in METHODS:
        accepted = " or ".join(f"NAME:{method}" for method in METHODS)
        raise UsageError.for_option("--cases", text, accepted)
    if name == CONTROL.name:
        raise UsageError(f"--cases {text}: the name {name} is the gate's own")
    return Case(name, method)


#: The names that can be set, by metric.
SETTINGS = {
    "seconds": ("significant", "regression", "tolerated", "smallest_seconds"),
    "accuracy": ("margin", "floor"),
    "parameters": ("tolerated", "gate"),
    "flops": ("tolerated", "gate"),
    "forward_operations": ("tolerated", "gate"),
    "backward_operations": ("tolerated", "gate"),
    "state_dict_keys": ("gate",),
    "output_checksum": ("gate",),
}

#: Matches every case.
ANY_CASE = "*"


@dataclass(frozen=True)
class Threshold:
    """One changed setting of one rule; `gate` is 0 (report only) or 1."""

    case: str
    metric: str
    name: str
    value: float

    @property
    def text(self) -> str:
        """The threshold as it is written in a configuration."""
        return f"{self.case}/{self.metric}/{self.name}={self.value!r}"


def parse_threshold(text: str) -> Threshold:
    """Read `CASE/METRIC/NAME=VALUE`; raises UsageError."""
    path, separator, number = text.strip().partition("=")
    parts = path.rsplit("/", 2)
    if not separator or len(parts) != 3:
        raise UsageError(
            f"--threshold {text}: expected CASE/METRIC/NAME=VALUE, "
            "such as resnet18:forward/seconds/tolerated=0.2"
        )
    case, metric, name = parts
    if metric not in SETTINGS:
        raise UsageError(f"--threshold {text}: expected one of {', '.join(SETTINGS)}")
    if name not in SETTINGS[metric]:
        accepted = ", ".join(SETTINGS[metric])
        raise UsageError(f"--threshold {text}: {metric} has {accepted}")
    return Threshold(case, metric, name, _number(text, number))


def _number(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"--threshold {text}: expected a number of 0 or more")
    return value


def settings_for(case: str, metric: str, thresholds: Iterable[str]) -> dict[str, float]:
    """Return what was set for one case and metric; a named case beats `*`."""
    parsed = [parse_threshold(text) for text in thresholds]
    matching = [row for row in parsed if row.metric == metric]
    general = {row.name: row.value for row in matching if row.case == ANY_CASE}
    own = {row.name: row.value for row in matching if row.case == case}
    return general | own


def thresholds_in(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the thresholds of a `[tool.resnet-bench.check]` table.

    They stand below it as `[….thresholds."CASE".METRIC]` with `NAME = VALUE`.
    Raises UsageError for any other table, and for unknown names.
    """
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    thresholds = tables.pop("thresholds", {})
    if tables:
        raise UsageError(f"[check.{min(tables)}]: expected [check.thresholds]")
    return tuple(
        parse_threshold(f"{case}/{metric}/{name}={_as_number(value)}").text
        for case, metrics in thresholds.items()
        for metric, settings in _table(f'thresholds."{case}"', metrics).items()
        for name, value in _table(f'thresholds."{case}".{metric}', settings).items()
    )


def _table(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"[check.{name}]: expected a table")
    return value


def _as_number(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


@dataclass(frozen=True, kw_only=True)
class RuleOptions(Options):
    """How rows are judged; the same of `check` and `compare`."""

    threshold: tuple[str, ...] = option(
        (),
        help="Change a rule, as CASE/METRIC/NAME=VALUE (CASE may be *).",
        parse=lambda text: parse_threshold(text).text,
        metavar="RULE,…",
    )
    strict: bool = option(
        False, help="Exit with 5 if any row is inconclusive or otherwise not ok."
    )
    explain: bool = option(False, help="Print the rule that gave each verdict.")

    @property
    def thresholds(self) -> tuple[str, ...]:
        """The thresholds of the configuration file, then those of the option."""
        table = read_configuration(Path.cwd()).table("check")
        return (*thresholds_in(table), *self.threshold)


DEFAULT_SUBJECT = "resnet_bench.gate.default_subject:subject"

METRICS = ("time", "exact", "accuracy")

#: Fewer pairs cannot carry the exact interval at one look's share of the error.
FEWEST_PAIRS = 12

#: Fewer paired seeds decide nothing, unless the predictions are the same.
FEWEST_SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class SubjectConfig(ResultsOptions, ExportOptions):
    """What is measured and how long; shared by `check` and `noise`."""

    subject: str = option(
        DEFAULT_SUBJECT,
        help="The function that builds a case, as package.module:function.",
        metavar="MODULE:FUNCTION",
    )
    source: str = option(
        ".",
        help="Folder of the tree that the subject is imported from.",
        metavar="DIR",
    )
    cases: tuple[str, ...] = option(
        (),
        help="Cases as NAME:forward, NAME:step, NAME:exact or NAME:accuracy; "
        "by default those of the subject.",
        parse=lambda text: parse_case(text).text,
        metavar="CASE,…",
    )
    budget: float = option(
        300.0,
        help="Seconds after which measuring stops.",
        metavar="SECONDS",
        above=0,
    )
    pairs: int = option(
        20,
        help=f"Most process pairs to measure (at least {FEWEST_PAIRS}).",
        minimum=FEWEST_PAIRS,
    )
    threads: int = option(1, help="Threads of each worker process.", minimum=1)
    seed: int = option(
        0, help="Seed of the order of the legs and of the models.", minimum=0
    )
    resume: str | None = option(
        None,
        bare="latest",
        metavar="[RUN]",
        help="Go on with an interrupted run (the latest), options as they were.",
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        module, separator, function = self.subject.partition(":")
        named = bool(separator and module and function)
        check(named, "--subject", self.subject, "package.module:function")

    @property
    def parsed_cases(self) -> tuple[Case, ...]:
        """The cases asked for; none means those that the subject's module names."""
        return tuple(parse_case(text) for text in self.cases)


@dataclass(frozen=True, kw_only=True)
class CheckConfig(RuleOptions, SubjectConfig):
    """`check`: the working tree against an older revision."""

    against: str | None = option(
        None,
        help="Revision to measure against (a branch, tag or commit).",
        metavar="REV",
    )
    baseline: str | None = option(
        None, help="Saved baseline to measure against.", metavar="NAME"
    )
    metrics: tuple[str, ...] = option(METRICS, help="What is checked.", choices=METRICS)
    seeds: int = option(
        5, help="Paired training seeds of an accuracy case.", minimum=FEWEST_SEEDS
    )
    junit: Path | None = option(None, help="Write a JUnit file.", metavar="FILE")
    github_summary: bool = option(
        False,
        help="Append to $GITHUB_STEP_SUMMARY and print ::error:: annotations.",
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        if self.against and self.baseline:
            raise UsageError("--against and --baseline: expected one of the two")

    @property
    def exports(self) -> dict[str, Path]:
        """The exports asked for, the JUnit file among them."""
        return {**super().exports, **({"junit": self.junit} if self.junit else {})}


@dataclass(frozen=True, kw_only=True)
class NoiseConfig(SubjectConfig):
    """`noise`: the working tree against itself."""

    effects: tuple[float, ...] = option(
        (0.05, 0.10, 0.15, 0.25),
        help="Slowdowns to find out the number of pairs for, as fractions.",
        above=0,
    )


#: Options that may differ when a run is resumed: they change no measurement.
FREE_TO_CHANGE = frozenset(
    [
        "budget",
        "explain",
        "github_summary",
        "junit",
        "resume",
        "strict",
        *option_fields(ExportOptions),
        *option_fields(ResultsOptions),
    ]
)


@dataclass(frozen=True, kw_only=True)
class CompareConfig(RuleOptions, ResultsOptions, ExportOptions):
    """`compare`: two stored runs of the same experiment."""

    runs: tuple[str, ...] = option(
        (),
        help="Two runs: ids, folders, or names of baselines; the first is the base.",
        argument=True,
        metavar="RUN RUN",
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        if len(self.runs) != 2:
            shown = " ".join(self.runs) or "(none)"
            raise UsageError.for_option("RUN RUN", shown, "exactly two runs")


BASELINE_ACTIONS = ("save", "list", "accept")


@dataclass(frozen=True, kw_only=True)
class BaselineConfig(ResultsOptions):
    """`baseline save NAME [RUN]`, `baseline list`, `baseline accept NAME [RUN]`."""

    request: tuple[str, ...] = option(
        (),
        help="save NAME [RUN], list, or accept NAME [RUN]; "
        "the run is by default the latest check.",
        argument=True,
        metavar="save|list|accept [NAME [RUN]]",
    )
    json: bool = option(False, help="Print the result as one JSON object.")

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        shown = " ".join(self.request) or "(nothing)"
        expected = "save NAME [RUN], list, or accept NAME [RUN]"
        check(self.action in BASELINE_ACTIONS, "baseline", shown, expected)
        words = (1,) if self.action == "list" else (2, 3)
        check(len(self.request) in words, "baseline", shown, expected)
        if self.action != "list":
            check(
                re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name) is not None,
                "NAME",
                self.name,
                "letters, digits, dot, dash and underscore",
            )

    @property
    def action(self) -> str:
        """What is to be done."""
        return self.request[0] if self.request else ""

    @property
    def name(self) -> str:
        """The name of the baseline."""
        return self.request[1]

    @property
    def run(self) -> str:
        """The run to keep."""
        return self.request[2] if len(self.request) > 2 else "latest"
