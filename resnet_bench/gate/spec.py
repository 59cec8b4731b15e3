"""What `check`, `compare`, `noise` and `baseline` can be asked."""

import re
from dataclasses import dataclass
from pathlib import Path

from resnet_bench.commands.readers import ResultsConfig
from resnet_bench.errors import UsageError
from resnet_bench.gate.cases import Case, parse_case
from resnet_bench.gate.thresholds import parse_threshold
from resnet_bench.options import check, option

DEFAULT_SUBJECT = "resnet_bench.gate.default_subject:subject"

METRICS = ("time", "exact", "accuracy")

#: Fewer pairs cannot carry the exact interval at one look's share of the error.
FEWEST_PAIRS = 12


@dataclass(frozen=True, kw_only=True)
class SubjectConfig(ResultsConfig):
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
class CompareConfig(ResultsConfig):
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
class BaselineConfig(ResultsConfig):
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
