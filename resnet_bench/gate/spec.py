"""The options of `check`, `compare`, `noise` and `baseline`."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_bench.configuration import read_configuration
from resnet_bench.errors import UsageError
from resnet_bench.options import (
    MEASURED,
    OUTPUT,
    Bounds,
    ExportOptions,
    Options,
    ResultsOptions,
    check,
    flag_name,
    inherited,
    option,
    option_fields,
)
from resnet_bench.store.folders import RUN_NAMES, names_of_all_runs, names_of_own_runs

#: What can be done with the object that `subject(name)` returns.
METHODS = ("forward", "step", "exact", "accuracy")


@dataclass(frozen=True, order=True)
class Case:
    """The name given to the subject's function, and what is measured."""

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
        raise UsageError(f"--cases {text}: the name {name} is reserved")
    return Case(name, method)


#: What a time can be of: the methods of a case, the phases of a speed run, a training.
TIMES = ("forward", "loss", "backward", "optimizer", "step", "inference", "training")

#: Quantities without noise; the last two are no numbers, so they change or do not.
NUMBERS = ("parameters", "flops", "forward_operations", "backward_operations")
SPEED_NUMBERS = ("multiply_adds", "activations", "elements_moved")
EXACT = (*NUMBERS, *SPEED_NUMBERS, "state_dict_keys", "output_checksum")

#: What a limit can be set for; without one of them it is for every time of the case.
LIMITED = (*TIMES, "memory", "accuracy", "exact", *EXACT)

#: Of these, what only stored runs have: `compare` judges it, `check` cannot.
STORED_ONLY = {*TIMES, "memory", *SPEED_NUMBERS} - {"forward", "step"}

#: Matches every case.
ANY_CASE = "*"

#: The least difference of times that counts is written in one of these.
SECONDS_IN = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}

#: A limit is what makes a regression. The low bound must be above this much of it (at
#: most 3 %), and a pass needs a high bound below the limit and this margin: 5 % gives
#: the rule of a case without a limit.
SIGNIFICANT_SHARE = 0.6
MOST_SIGNIFICANT = 0.03
PASS_MARGIN = 0.05

#: The field of the rule that a limit changes, by what it is for, its sign and unit.
OF_TIMES = {
    "=%": "regression",
    **{f"={unit}": "smallest_seconds" for unit in SECONDS_IN},
}
CHANGED = {
    **dict.fromkeys((*TIMES, ""), OF_TIMES),
    "memory": {"=%": "regression"},
    "accuracy": {"=pp": "margin", ">=%": "floor"},
    **{name: {"=%": "tolerated"} for name in (*NUMBERS, *SPEED_NUMBERS, "exact")},
}

FORM = re.compile(r"(?P<case>.*[^>=])(?P<sign>>?=)(?P<limit>[^=]+)")
LIMIT = re.compile(r"(?P<number>\d+(\.\d+)?) ?(?P<unit>%|pp|us|µs|ms|s)")
OLD_FORM = re.compile(
    rf"(?P<case>.+)/(?P<metric>seconds|accuracy|{'|'.join(EXACT)})/"
    r"(?P<name>significant|regression|tolerated|smallest_seconds|margin|floor|gate)"
    r"=(?P<value>\d+(\.\d+)?([eE]-?\d+)?)"
)

EXPECTED = (
    "CASE:METHOD=8% (slower by 8% or more fails), =50us (smaller differences never "
    "count), CASE:flops=2% or =any, CASE:accuracy=1pp or >=80%"
)


@dataclass(frozen=True)
class Threshold:
    """A limit for one case, or `*`; `what` is None for all times of the case.

    `settings` are the fields of the rule that it changes.
    """

    text: str
    case: str
    what: str | None
    settings: Mapping[str, float]

    def applies(self, case: str, what: str) -> bool:
        """Whether the limit is for this quantity of this case.

        Rows of a speed run are `ResNet-50 batch 4`: `resnet50` means all of them.
        """
        groups = (what, "exact" if what in EXACT else what)
        named = what in TIMES if self.what is None else self.what in groups
        model, _, _ = case.partition(" ")
        plain = model.replace("ResNet-", "resnet")
        return named and self.case in (ANY_CASE, case, model, plain)

    @property
    def narrowness(self) -> tuple[bool, bool]:
        """The precedence among limits that apply: the largest wins."""
        return self.case != ANY_CASE, self.what not in (None, "exact")


def parse_threshold(text: str) -> Threshold:
    """Read a limit such as `resnet50:step=8%`; raises UsageError."""
    text = text.strip()
    if old := OLD_FORM.fullmatch(text):
        raise UsageError(f"--threshold {text}: this is now written {_renewed(old)}")
    found = FORM.fullmatch(text)
    if found is None:
        raise UsageError.for_option("--threshold", text, EXPECTED)
    case, separator, what = found["case"].rpartition(":")
    what = what.removesuffix("_seconds")  # as tables call a time
    if not separator or what not in LIMITED:
        case, what = found["case"], ""
    settings = _settings(what, found["sign"], found["limit"])
    if not settings:
        raise UsageError.for_option("--threshold", text, EXPECTED)
    return Threshold(text, case, what or None, settings)


def _settings(what: str, sign: str, limit: str) -> dict[str, float]:
    """Return the fields that a limit changes; empty if it is meaningless."""
    if sign + limit == "=any":
        return {"gate": 0.0} if what in (*EXACT, "exact") else {}
    found = LIMIT.fullmatch(limit)
    if found is None:
        return {}
    number, unit = float(found["number"]), found["unit"]
    name = CHANGED.get(what, {}).get(sign + unit)
    if name == "smallest_seconds":
        return {name: number * SECONDS_IN[unit]}
    if name == "regression":
        return _slower_by(number / 100) if number else {}
    return {name: number / 100} if name else {}


def _slower_by(limit: float) -> dict[str, float]:
    return {
        "significant": min(SIGNIFICANT_SHARE * limit, MOST_SIGNIFICANT),
        "regression": limit,
        "tolerated": limit + PASS_MARGIN,
    }


def _renewed(old: re.Match[str]) -> str:
    """Return a limit of the form CASE/METRIC/NAME=VALUE as it is written now."""
    metric, name, value = old["metric"], old["name"], float(old["value"])
    case, _, _ = old["case"].partition(":")
    percent = f"{100 * value:g}%"
    if metric == "seconds":
        limit = {
            "significant": f"{100 * value / SIGNIFICANT_SHARE:g}%",
            "tolerated": f"{max(1.0, 100 * (value - PASS_MARGIN)):g}%",
            "smallest_seconds": f"{1e6 * value:g}us",
        }.get(name, percent)
        return f"{old['case']}={limit}"
    limit = {
        "margin": f"={100 * value:g}pp",
        "floor": f">={percent}",
        "gate": "=0%" if value else "=any",
    }.get(name, f"={percent}")
    return f"{case}:{metric}{limit}"


def settings_for(case: str, what: str, thresholds: Iterable[str]) -> dict[str, float]:
    """Return the rule's changed fields for one quantity of one case.

    A named case beats `*`, and a named quantity all of them.
    """
    limits = [parse_threshold(text) for text in thresholds]
    merged: dict[str, float] = {}
    for limit in sorted(limits, key=lambda limit: limit.narrowness):
        if limit.applies(case, what):
            merged.update(limit.settings)
    return merged


def thresholds_in(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the limits of a `[tool.resnet-bench.check]` table: its list `threshold`.

    Raises UsageError for tables below it, with what to write where they held limits.
    """
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    if thresholds := tables.pop("thresholds", None):
        renewed = json.dumps(_renewed_table(thresholds), ensure_ascii=False)
        raise UsageError(f"[check.thresholds] is now written threshold = {renewed}")
    if tables:
        raise UsageError(f"[check.{min(tables)}]: expected keys, not a table")
    limits = table.get("threshold", ())
    texts = limits.split(",") if isinstance(limits, str) else limits
    return tuple(parse_threshold(str(text)).text for text in texts)


def _renewed_table(table: Mapping[str, Any]) -> list[str]:
    """Return nested tables CASE, METRIC, NAME = VALUE as a list of limits."""
    texts = [f"{path}={float(value)}" for path, value in _leaves(table)]
    found = [OLD_FORM.fullmatch(text) for text in texts]
    return list(dict.fromkeys(_renewed(old) for old in found if old))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, (int, float)):
        yield path.removeprefix("/"), value
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        yield from _leaves(inner, f"{path}/{key}")


@dataclass(frozen=True, kw_only=True)
class RuleOptions(Options):
    """How rows are judged; the same of `check` and `compare`."""

    threshold: tuple[str, ...] = option(
        (),
        help="Limits such as resnet50:step=8%, *:flops=2%, blobs:accuracy>=80% (* is "
        "every case).",
        parse=lambda text: parse_threshold(text).text,
        metavar="LIMIT,…",
    )
    strict: bool = option(
        False, help="Exit with code 5 if any row is inconclusive or otherwise not ok."
    )
    explain: bool = option(
        False, help="Print the rule behind each verdict.", heading=OUTPUT
    )

    @property
    def thresholds(self) -> tuple[str, ...]:
        """The limits of the configuration file, then those of the option."""
        table = read_configuration(Path.cwd()).table("check")
        return tuple(dict.fromkeys([*thresholds_in(table), *self.threshold]))


DEFAULT_SUBJECT = "resnet_bench.gate.default_subject:subject"

#: Where a newcomer reads how to write a subject.
INSTRUCTIONS = 'docs/continuous-integration.md, "A network of your own"'

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
        help="The function that builds your network and runs it, as "
        "package.module:function.",
        metavar="MODULE:FUNCTION",
    )
    source: str = option(
        ".",
        help="Folder of the tree from which the subject is imported.",
        metavar="DIR",
    )
    against_python: Path | None = option(
        None,
        help="Measure the same tree under this Python too: an interpreter, or the "
        "folder of a virtual environment.",
        metavar="PATH",
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
        heading=MEASURED,
        metavar="SECONDS",
        above=0,
    )
    pairs: int | None = option(
        None,
        help=f"Pairs of processes to measure at most, {FEWEST_PAIRS} or more [default: "
        "20, with more than 13 cases 24].",
        heading=MEASURED,
        minimum=FEWEST_PAIRS,
    )
    threads: int = option(
        1, help="Threads of each worker process.", heading=MEASURED, minimum=1
    )
    seed: int = option(
        0,
        help="Seed of the models and of the order of measurements.",
        heading=MEASURED,
        minimum=0,
    )
    resume: str | None = option(
        None,
        bare="latest",
        suggest=names_of_own_runs,
        metavar="[RUN]",
        heading=MEASURED,
        help="Resume an interrupted run with its own options; without RUN, the latest.",
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
class BaseOptions(Options):
    """The commit that a tree is measured against."""

    against: str | None = option(
        None,
        help="Revision to measure against (a branch, tag or commit).",
        metavar="REV",
    )
    baseline: str | None = option(
        None, help="Saved baseline to measure against.", metavar="NAME"
    )


@dataclass(frozen=True, kw_only=True)
class CheckConfig(RuleOptions, SubjectConfig, BaseOptions):
    """`check`: the working tree against an older revision, or another Python."""

    metrics: tuple[str, ...] = option(METRICS, help="What to check.", choices=METRICS)
    seeds: int = option(
        5,
        help="Paired training seeds of an accuracy case.",
        heading=MEASURED,
        minimum=FEWEST_SEEDS,
    )
    junit: Path | None = option(
        None, help="Write a JUnit file.", heading=OUTPUT, metavar="FILE"
    )
    github_summary: bool = option(
        False,
        help="Append to $GITHUB_STEP_SUMMARY and print ::error:: annotations.",
        heading=OUTPUT,
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        bases = ("against", "baseline", "against_python")
        given = [flag_name(name) for name in bases if getattr(self, name)]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)}: expected one of them")

    @property
    def exports(self) -> dict[str, Path]:
        """The exports asked for, the JUnit file among them."""
        return {**super().exports, **({"junit": self.junit} if self.junit else {})}


@dataclass(frozen=True, kw_only=True)
class NoiseConfig(SubjectConfig):
    """`noise`: the working tree against itself, or under two Pythons."""

    effects: tuple[float, ...] = option(
        (0.05, 0.10, 0.15, 0.25),
        help="Slowdowns, as fractions; the table shows how many pairs find each.",
        above=0,
    )


@dataclass(frozen=True, kw_only=True)
class HistoryConfig(SubjectConfig):
    """`history`: how long cases take, commit after commit."""

    measure: int | None = option(
        None,
        help="First measure the last N commits against each other.",
        metavar="N",
        minimum=2,
    )
    cases: tuple[str, ...] = inherited(
        SubjectConfig,
        "cases",
        (),
        help="Only these cases, by the name in the table; with --measure as "
        "NAME:forward or NAME:step.",
        parse=str,
    )
    pairs: int = inherited(
        SubjectConfig,
        "pairs",
        8,
        help="With --measure: pairs of processes for each commit and an earlier one.",
        bounds=Bounds(minimum=1),
    )
    budget: float = inherited(SubjectConfig, "budget", 1800.0)
    machine: str | None = option(
        None,
        help="Key of the machine whose runs are shown [default: that of the newest "
        "run].",
        metavar="KEY",
    )
    #: Commits are all measured under this Python; it is no option.
    against_python: Path | None = None
    file: tuple[str, ...] = option(
        (),
        help="Also show the entries of a file, or of a file on a branch.",
        metavar="FILE|BRANCH:FILE,…",
    )
    append_to: Path | None = option(
        None,
        help="Append entries of the stored runs that a file lacks, and show the whole "
        "file.",
        metavar="FILE",
    )
    export_figure: Path | None = option(
        None,
        help="Write the figure as .svg or .png.",
        heading=OUTPUT,
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        if self.measure is None and self.resume:
            raise UsageError("--resume: expected only with --measure")
        if figure := self.export_figure:
            known = figure.suffix in (".svg", ".png")
            check(known, "--export-figure", figure, "a name that ends in .svg or .png")


#: Options that may differ when a run is resumed: they change no measurement.
FREE_TO_CHANGE = frozenset(
    [
        "append_to",
        "budget",
        "explain",
        "export_figure",
        "file",
        "github_summary",
        "junit",
        "machine",
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
        help=f"Two runs, the base first; each: {RUN_NAMES}, or a baseline's name.",
        argument=True,
        suggest=names_of_all_runs,
        metavar="RUN RUN",
    )
    across: bool = option(
        False, help="Show ratios even if settings differ, without judging them."
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        if len(self.runs) != 2:
            given = " ".join(("compare", *self.runs))
            raise UsageError(f"{given}: expected two runs")


BASELINE_ACTIONS = ("save", "list", "accept")


@dataclass(frozen=True, kw_only=True)
class BaselineConfig(ResultsOptions):
    """`baseline save NAME [RUN]`, `baseline list`, `baseline accept NAME [RUN]`."""

    request: tuple[str, ...] = option(
        (),
        help="save NAME [RUN], list, or accept NAME [RUN]; "
        "RUN defaults to the latest check.",
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
        """The action."""
        return self.request[0] if self.request else ""

    @property
    def name(self) -> str:
        """The name of the baseline."""
        return self.request[1]

    @property
    def run(self) -> str:
        """The run to keep."""
        return self.request[2] if len(self.request) > 2 else "latest"
