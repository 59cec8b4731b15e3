"""The rows of a check: one verdict for each case and metric."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_bench.errors import ExitCode
from resnet_bench.gate.deciding import (
    Decision,
    PairedSeconds,
    Plan,
    TimingRule,
    Verdict,
    control_moved,
    decide_in_turn,
    detectable_effect,
    open_cases,
    pair_spread,
    pairs_needed,
    plan_for,
)
from resnet_bench.gate.records import ExactMetrics, Pairs, versions_of
from resnet_bench.gate.spec import CONTROL, FEWEST_SEEDS, parse_case, settings_for
from resnet_bench.present.numbers import percent
from resnet_bench.records import Measure, measures
from resnet_bench.statistics.estimates import paired_difference_interval
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: The exit code that a verdict alone leads to.
EXIT_CODES = {
    Verdict.REGRESSION: ExitCode.REGRESSION,
    Verdict.MISSING: ExitCode.INCOMPLETE,
    Verdict.FAILED: ExitCode.INCOMPLETE,
    Verdict.NOT_COMPARABLE: ExitCode.NOT_COMPARABLE,
}


@dataclass(frozen=True)
class Row:
    """A verdict on one metric of one case.

    `base` and `head` are in `unit`; `ratio` is head over base. What is unknown is
    None. `because` is the rule that applied, as a sentence.
    """

    case: str
    metric: str
    verdict: Verdict
    because: str = ""
    base: float | str | None = None
    head: float | str | None = None
    ratio: Interval | None = None
    unit: str = "1"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that this row alone would give."""
        return EXIT_CODES.get(self.verdict, ExitCode.OK)

    @property
    def is_exact(self) -> bool:
        """Whether it is of a quantity without noise: a count, a hash, or unknown."""
        values = (self.base, self.head)
        return self.unit == "1" and not any(isinstance(v, float) for v in values)

    @property
    def json(self) -> dict[str, Any]:
        """The row as JSON-ready values."""
        return {
            "case": self.case,
            "metric": self.metric,
            "verdict": self.verdict.value,
            "unit": self.unit,
            "base": self.base,
            "head": self.head,
            "ratio": self.ratio and self.ratio.json,
            "because": self.because,
        }


def problem_verdict(problems: Mapping[str, str]) -> tuple[Verdict, str]:
    """Return the verdict on a case that one side or both could not carry out.

    `problems` maps the side to its error.
    """
    if not problems:
        return Verdict.INCONCLUSIVE, "the budget ran out before the first pair"
    text = "; ".join(f"{side}: {problem}" for side, problem in problems.items())
    if len(problems) == 1:
        return Verdict.MISSING, f"on one side only, {text}"
    return Verdict.FAILED, text


def problems_of(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the error of each side that could not carry out a case."""
    return {row["side"]: row["problem"] for row in records if row["problem"]}


def exact_verdict(
    measure: Measure, base: Any, head: Any, settings: Mapping[str, float]
) -> tuple[Verdict, str]:
    """Return the verdict on one quantity and the rule that gave it.

    `settings` may hold `tolerated`, a relative increase that passes, and `gate`,
    where 0 means that a change is reported and never fails.
    """
    if base == head:
        return Verdict.PASS, "identical"
    if settings.get("gate", 1.0) == 0:
        return Verdict.PASS, "changed, but reported only (=any)"
    if measure.better == "neither" or base is None or head is None:
        return Verdict.REGRESSION, "changed, and must not change"
    sign = 1 if measure.better == "lower" else -1
    if sign * (head - base) < 0:
        return Verdict.IMPROVEMENT, f"changed by {head - base:+,}"
    tolerated = settings.get("tolerated", 0.0)
    allowed = percent(tolerated, 1)
    if sign * (head - base) <= tolerated * abs(base):
        return Verdict.PASS, f"changed by {head - base:+,}, within {allowed}"
    return Verdict.REGRESSION, f"changed by {head - base:+,}; tolerated {allowed}"


def exact_rows(
    records: Sequence[Mapping[str, Any]],
    thresholds: Sequence[str],
    *,
    two_environments: bool = False,
) -> list[Row]:
    """Return a row per case and quantity, from the records of both sides.

    Differences between `two_environments` are shown, and judged only by a limit.
    """
    judge = told_verdict if two_environments else exact_verdict
    cases = dict.fromkeys(row["case"] for row in records)
    return [
        row for case in cases for row in _case_rows(case, records, thresholds, judge)
    ]


def told_verdict(
    measure: Measure, base: Any, head: Any, settings: Mapping[str, float]
) -> tuple[Verdict, str]:
    """Return the verdict on a quantity of the same code under other libraries."""
    if settings or base == head:
        return exact_verdict(measure, base, head, settings)
    numbers = measure.better != "neither" and None not in (base, head)
    change = f" by {head - base:+,}" if numbers else ""
    return Verdict.NOT_JUDGED, f"differs{change} between the libraries"


def _case_rows(
    case: str,
    records: Sequence[Mapping[str, Any]],
    thresholds: Sequence[str],
    judge: Callable[..., tuple[Verdict, str]],
) -> list[Row]:
    sides = {row["side"]: row for row in records if row["case"] == case}
    name = f"{case}:exact"
    if problems := problems_of([*sides.values()]):
        return [Row(name, "exact", *problem_verdict(problems))]
    rows = []
    for metric, measure in measures(ExactMetrics).items():
        base, head = sides["base"][metric], sides["head"][metric]
        settings = settings_for(case, metric, thresholds)
        judged = judge(measure, base, head, settings)
        rows.append(Row(name, metric, *judged, base=base, head=head))
    return rows


@dataclass(frozen=True, kw_only=True)
class AccuracyRule:
    """When a difference counts; both are fractions of the test set.

    `margin` is how much worse still passes; below `floor` head always fails.
    """

    margin: float = 0.01
    floor: float = 0.0


@dataclass(frozen=True)
class PairedAccuracies:
    """Accuracies of both sides, one value per training seed."""

    base: Sequence[float]
    head: Sequence[float]
    identical: bool


def judge_accuracy(pairs: PairedAccuracies, rule: AccuracyRule) -> tuple[Verdict, str]:
    """Return the verdict and the rule that gave it."""
    mean = sum(pairs.head) / len(pairs.head)
    if mean < rule.floor:
        return Verdict.REGRESSION, (
            f"mean accuracy {percent(mean, 2)} is below the floor of "
            f"{percent(rule.floor, 2)}"
        )
    if pairs.identical:
        return Verdict.PASS, "identical predictions"
    diverged = sum(
        not math.isfinite(a + b) for a, b in zip(pairs.base, pairs.head, strict=True)
    )
    if diverged:
        return Verdict.INCONCLUSIVE, (
            f"the value is not finite in {diverged} of {len(pairs.head)} seeds"
        )
    if len(pairs.head) < FEWEST_SEEDS:
        return Verdict.INCONCLUSIVE, (
            f"paired seeds: {len(pairs.head)}; at least {FEWEST_SEEDS} are needed"
        )
    return _by_difference(pairs, rule)


def _by_difference(pairs: PairedAccuracies, rule: AccuracyRule) -> tuple[Verdict, str]:
    difference = paired_difference_interval(pairs.head, pairs.base)
    low, high = 100 * difference.low, 100 * difference.high
    margin = 100 * rule.margin
    shown = (
        f"difference {100 * difference.estimate:+.2f} pp, "
        f"interval {low:+.2f} to {high:+.2f} pp"
    )
    if difference.low > -rule.margin:
        return Verdict.PASS, f"{shown}: above -{margin:g} pp"
    if difference.high < 0 and difference.estimate <= -rule.margin:
        return Verdict.REGRESSION, f"{shown}: below 0, and by {margin:g} pp or more"
    return Verdict.INCONCLUSIVE, f"{shown}: allows both"


def accuracy_row(
    case: str, records: Sequence[Mapping[str, Any]], settings: Mapping[str, float]
) -> Row:
    """Return the row of one accuracy case from its records, two per seed."""
    name = f"{case}:accuracy"
    if problems := problems_of(records):
        return Row(name, "accuracy", *problem_verdict(problems))
    base, head = _by_seed(records, "base"), _by_seed(records, "head")
    pairs = PairedAccuracies(
        [row["accuracy"] for row in base],
        [row["accuracy"] for row in head],
        [row["fingerprint"] for row in base] == [row["fingerprint"] for row in head],
    )
    judged = judge_accuracy(pairs, AccuracyRule(**settings))
    count = len(pairs.base)
    return Row(
        name,
        "accuracy",
        *judged,
        base=sum(pairs.base) / count,
        head=sum(pairs.head) / count,
    )


def _by_seed(records: Sequence[Mapping[str, Any]], side: str) -> list[Any]:
    rows = [row for row in records if row["side"] == side]
    return sorted(rows, key=lambda row: int(row["training_seed"]))


SECONDS = "seconds"


@dataclass(frozen=True)
class Timings:
    """All pairs of a run, with the rules and the plan they are judged by."""

    pairs: Pairs
    rules: Mapping[str, TimingRule]
    plan: Plan

    @property
    def series(self) -> dict[str, PairedSeconds]:
        """Each judged case's pairs."""
        return {case: self.pairs.paired(case) for case in self.rules}

    @property
    def control(self) -> PairedSeconds:
        """The pairs of the frozen matrix product."""
        return self.pairs.paired(CONTROL.text)

    @property
    def open_cases(self) -> list[str]:
        """The cases that the next pair must measure."""
        return open_cases(self.series, self.rules, self.plan, len(self.pairs))

    @property
    def decisions(self) -> dict[str, Decision]:
        """Each case's decision when no more pairs come."""
        looks = self.plan.final(len(self.pairs))
        return decide_in_turn(self.series, self.rules, self.plan, looks)

    @property
    def control_moved(self) -> bool:
        """Whether the machine favoured one side."""
        control = self.control
        return bool(control.base) and control_moved(control, self.plan, TimingRule())

    @property
    def too_few(self) -> bool:
        """Whether measuring ended before the first look."""
        return bool(self.rules) and len(self.pairs) < self.plan.looks[0]

    def rows(self) -> list[Row]:
        """Return a row per judged case that has pairs."""
        return [self._row(case, row) for case, row in self.decisions.items()]

    def _row(self, case: str, decision: Decision) -> Row:
        verdict, because = decision.verdict, decision.because
        if self.control_moved:
            verdict = Verdict.INCONCLUSIVE
            because = (
                "the control, the same matrix product on both sides, ran faster on one "
                "of them"
            )
        elif verdict is Verdict.INCONCLUSIVE:
            because += self._what_it_would_take(case, decision)
        base, ratio = decision.base_seconds, decision.ratio
        head = base * ratio.estimate
        return Row(case, SECONDS, verdict, because, base, head, ratio, unit="s")

    def _what_it_would_take(self, case: str, decision: Decision) -> str:
        ratios = self.series[case].log_ratios
        spread = pair_spread(ratios)
        fewest = self.plan.looks[0]
        if spread is None or len(ratios) < fewest:
            return f"; {len(ratios)} pairs measured, the first look is after {fewest}"
        rule, family = decision.rule, len(self.rules)
        least = detectable_effect(spread, len(ratios), rule, self.plan, family)
        needed = pairs_needed(rule.tolerated, spread, rule, self.plan, family)
        take = f"; {needed} pairs would be enough" if needed else ""
        return (
            f"; with a spread of {100 * math.expm1(spread):.0f} %, {len(ratios)} pairs "
            f"find {100 * least:.0f} % or more, not {100 * rule.tolerated:.0f} %{take}"
        )


def timings_of(run: Run, pairs: Pairs) -> Timings:
    """Return pairs with the rules and plan in the run's header."""
    thresholds = run.header["thresholds"]
    rules = {
        case.text: TimingRule(**settings_for(case.name, case.method, thresholds))
        for case in map(parse_case, run.header["timed"])
    }
    return Timings(pairs, rules, plan_for(run.config["pairs"], len(rules)))


def check_rows(run: Run, timings: Timings) -> list[Row]:
    """Return every row of a check, the timed ones first."""
    thresholds: list[str] = run.header["thresholds"]
    rows = timings.rows()
    known = {row.case for row in rows}
    lost = [case for case in run.header["timed"] if case not in known]
    rows += [not_measured(case, run.rows("trial")) for case in lost]
    if "exact" in run.config["metrics"]:
        rows += exact_rows(
            run.rows(ExactMetrics),
            thresholds,
            two_environments=bool(versions_of(run)),
        )
    return rows + accuracy_rows(run, thresholds)


def not_measured(case: str, trials: Sequence[Mapping[str, Any]]) -> Row:
    """Return the row of a timed case without a pair, with the reason."""
    problems = problems_of([row for row in trials if row["case"] == case])
    return Row(case, SECONDS, *problem_verdict(problems), unit="s")


def accuracy_rows(run: Run, thresholds: Sequence[str]) -> list[Row]:
    """Return the rows of the accuracy cases, in the order of the run."""
    by_case: dict[str, list[dict[str, Any]]] = {}
    for row in run.rows("accuracy"):
        by_case.setdefault(row["case"], []).append(row)
    return [
        accuracy_row(case, rows, settings_for(case, "accuracy", thresholds))
        for case, rows in by_case.items()
    ]
