"""What `check`, `compare`, `noise` and `baseline` can be asked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_bench.errors import UsageError
from resnet_bench.options import ResultsOptions, check, option

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


#: What can be done with the object that `subject(name)` returns.
METHODS = ("forward", "step", "exact", "accuracy")

ACCEPTED = " or ".join(f"NAME:{method}" for method in METHODS)

#: The frozen matrix product that runs along has this name.
RESERVED = "control"

#: The methods that are timed.
TIMED = ("forward", "step")


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
        return self.method in TIMED


def parse_case(text: str) -> Case:
    """Read `NAME:METHOD`; a name alone means its forward pass.

    Raises UsageError for an unknown method and for the name that is taken.
    """
    name, separator, method = text.strip().partition(":")
    method = method if separator else "forward"
    if not name or method not in METHODS:
        raise UsageError.for_option("--cases", text, ACCEPTED)
    if name == RESERVED:
        raise UsageError(f"--cases {text}: the name {RESERVED} is the gate's own")
    return Case(name, method)


DEFAULT_SUBJECT = "resnet_bench.gate.default_subject:subject"

METRICS = ("time", "exact", "accuracy")

#: Fewer pairs cannot carry the exact interval at one look's share of the error.
FEWEST_PAIRS = 12


@dataclass(frozen=True, kw_only=True)
class SubjectConfig(ResultsOptions):
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
        300.0, help="Seconds after which measuring stops.", metavar="SECONDS"
    )
    pairs: int = option(20, help="Most process pairs to measure (at least 12).")
    threads: int = option(1, help="Threads of each worker process.")
    seed: int = option(0, help="Seed of the order of the legs and of the models.")
    resume: str | None = option(
        None,
        bare="latest",
        metavar="[RUN]",
        help="Go on with an interrupted run (the latest), options as they were.",
    )
    json: bool = option(False, help="Print the result as one JSON object.")
    markdown: Path | None = option(
        None, help="Write a Markdown table; - is stdout.", metavar="FILE|-"
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        module, separator, function = self.subject.partition(":")
        check(
            bool(separator and module and function),
            "--subject",
            self.subject,
            "package.module:function",
        )
        check(self.budget > 0, "--budget", self.budget, "a positive number of seconds")
        check(
            self.pairs >= FEWEST_PAIRS,
            "--pairs",
            self.pairs,
            f"at least {FEWEST_PAIRS} (fewer cannot decide anything)",
        )
        check(self.threads >= 1, "--threads", self.threads, "at least 1")
        check(self.seed >= 0, "--seed", self.seed, "0 or more")

    @property
    def parsed_cases(self) -> tuple[Case, ...]:
        """The cases asked for; none means those that the subject's module names."""
        return tuple(parse_case(text) for text in self.cases)


@dataclass(frozen=True, kw_only=True)
class CheckConfig(SubjectConfig):
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
    seeds: int = option(5, help="Paired training seeds of an accuracy case.")
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
    junit: Path | None = option(None, help="Write a JUnit file.", metavar="FILE")
    github_summary: bool = option(
        False,
        help="Append to $GITHUB_STEP_SUMMARY and print ::error:: annotations.",
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        check(self.seeds >= 5, "--seeds", self.seeds, "at least 5")
        if self.against and self.baseline:
            raise UsageError("--against and --baseline: expected one of the two")


@dataclass(frozen=True, kw_only=True)
class NoiseConfig(SubjectConfig):
    """`noise`: the working tree against itself."""

    effects: tuple[float, ...] = option(
        (0.05, 0.10, 0.15, 0.25),
        help="Slowdowns to find out the number of pairs for, as fractions.",
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        for effect in self.effects:
            check(effect > 0, "--effects", effect, "positive fractions such as 0.10")


@dataclass(frozen=True, kw_only=True)
class CompareConfig(ResultsOptions):
    """`compare`: two stored runs of the same experiment."""

    runs: tuple[str, ...] = option(
        (),
        help="Two runs: ids, folders, or names of baselines; the first is the base.",
        argument=True,
        metavar="RUN RUN",
    )
    strict: bool = option(False, help="Exit with 5 if any row is inconclusive.")
    explain: bool = option(False, help="Print the rule that gave each verdict.")
    threshold: tuple[str, ...] = option(
        (),
        help="Change a rule, as CASE/METRIC/NAME=VALUE (CASE may be *).",
        parse=lambda text: parse_threshold(text).text,
        metavar="RULE,…",
    )

    json: bool = option(False, help="Print the result as one JSON object.")
    markdown: Path | None = option(
        None, help="Write a Markdown table; - is stdout.", metavar="FILE|-"
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
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
