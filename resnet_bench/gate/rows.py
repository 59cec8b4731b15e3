"""The rows of a check, from its run file: one per case and metric."""

import math
from collections.abc import Mapping, Sequence
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
    final_looks,
    open_cases,
    pair_spread,
    pairs_needed,
)
from resnet_bench.gate.pairs import CONTROL, Pairs
from resnet_bench.gate.records import ExactMetrics, PairTiming
from resnet_bench.gate.spec import settings_for
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


@dataclass(frozen=True, kw_only=True)
class Row:
    """A verdict on one metric of one case.

    `base` and `head` are in `unit`; `ratio` is head over base. What is unknown is
    None. `because` is the rule that applied, as a sentence.
    """

    case: str
    metric: str
    verdict: Verdict
    base: float | str | None = None
    head: float | str | None = None
    ratio: Interval | None = None
    unit: str = "1"
    because: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """What the row alone would make the command end with."""
        return EXIT_CODES.get(self.verdict, ExitCode.OK)


def problem_verdict(problems: Mapping[str, str]) -> tuple[Verdict, str]:
    """Return the verdict on a case that one side or both could not carry out.

    `problems` maps the side to its error.
    """
    if not problems:
        return Verdict.FAILED, "the budget ended before the first pair"
    text = "; ".join(f"{side}: {problem}" for side, problem in problems.items())
    if len(problems) == 1:
        return Verdict.MISSING, f"on one side only, {text}"
    return Verdict.FAILED, text


def row_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON-ready values; infinite bounds become None."""
    ratio = row.ratio
    return {
        "case": row.case,
        "metric": row.metric,
        "verdict": row.verdict.value,
        "unit": row.unit,
        "base": row.base,
        "head": row.head,
        "ratio": ratio and ratio.estimate,
        "ratio_low": ratio and _finite(ratio.low),
        "ratio_high": ratio and _finite(ratio.high),
        "samples": ratio and ratio.samples,
        "because": row.because,
    }


def _finite(value: float) -> float | None:
    return value if 0 < value < float("inf") else None


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
        return Verdict.PASS, "changed, but reported only (gate=0)"
    if measure.better == "neither" or base is None or head is None:
        return Verdict.REGRESSION, "changed, and must not"
    sign = 1 if measure.better == "lower" else -1
    if sign * (head - base) < 0:
        return Verdict.IMPROVEMENT, f"changed by {head - base:+,}"
    tolerated = settings.get("tolerated", 0.0)
    if sign * (head - base) <= tolerated * abs(base):
        return Verdict.PASS, f"changed by {head - base:+,}, within {tolerated:.1%}"
    return Verdict.REGRESSION, f"changed by {head - base:+,}; tolerated {tolerated:.1%}"


def exact_rows(
    records: Sequence[Mapping[str, Any]], thresholds: Sequence[str]
) -> list[Row]:
    """Return a row per case and quantity, from the records of both sides."""
    cases = dict.fromkeys(row["case"] for row in records)
    return [row for case in cases for row in _case_rows(case, records, thresholds)]


def _case_rows(
    case: str, records: Sequence[Mapping[str, Any]], thresholds: Sequence[str]
) -> list[Row]:
    sides = {row["side"]: row for row in records if row["case"] == case}
    name = f"{case}:exact"
    problems = {side: row["problem"] for side, row in sides.items() if row["problem"]}
    if problems:
        verdict, because = problem_verdict(problems)
        return [Row(case=name, metric="exact", verdict=verdict, because=because)]
    rows = []
    for metric, measure in measures(ExactMetrics).items():
        base, head = sides["base"][metric], sides["head"][metric]
        settings = settings_for(case, metric, thresholds)
        settings |= settings_for(name, metric, thresholds)
        verdict, because = exact_verdict(measure, base, head, settings)
        rows.append(
            Row(
                case=name,
                metric=metric,
                verdict=verdict,
                base=base,
                head=head,
                because=because,
            )
        )
    return rows


#: Fewer paired seeds decide nothing, unless the predictions are the same.
FEWEST_SEEDS = 5


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
            f"mean accuracy {mean:.2%} is below the floor of {rule.floor:.2%}"
        )
    if pairs.identical:
        return Verdict.PASS, "identical predictions"
    if len(pairs.head) < FEWEST_SEEDS:
        return Verdict.INCONCLUSIVE, (
            f"{len(pairs.head)} paired seeds; {FEWEST_SEEDS} are the fewest that decide"
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
    problems = {row["side"]: row["problem"] for row in records if row["problem"]}
    if problems:
        verdict, because = problem_verdict(problems)
        return Row(case=name, metric="accuracy", verdict=verdict, because=because)
    base, head = _by_seed(records, "base"), _by_seed(records, "head")
    pairs = PairedAccuracies(
        [row["accuracy"] for row in base],
        [row["accuracy"] for row in head],
        [row["fingerprint"] for row in base] == [row["fingerprint"] for row in head],
    )
    verdict, because = judge_accuracy(pairs, AccuracyRule(**settings))
    return Row(
        case=name,
        metric="accuracy",
        verdict=verdict,
        base=sum(pairs.base) / len(pairs.base),
        head=sum(pairs.head) / len(pairs.head),
        because=because,
    )


def _by_seed(records: Sequence[Mapping[str, Any]], side: str) -> list[Any]:
    rows = [row for row in records if row["side"] == side]
    return sorted(rows, key=lambda row: int(row["training_seed"]))


SECONDS = "seconds"


def plan_for(pairs: int) -> Plan:
    """Return the plan of a check that measures at most `pairs` pairs.

    The last look is after the last pair.
    """
    planned = tuple(look for look in Plan().looks if look < pairs)
    return Plan(looks=(*planned, pairs))


def rules_for(cases: Sequence[str], thresholds: Sequence[str]) -> dict[str, TimingRule]:
    """Return the rule of each case's time, as the project may have changed it."""
    return {
        case: TimingRule(**settings_for(case, SECONDS, thresholds)) for case in cases
    }


def paired_seconds(pairs: Pairs, case: str) -> PairedSeconds:
    """Return the case's seconds per call, one value per pair and side."""
    return PairedSeconds(pairs.series(case, "base"), pairs.series(case, "head"))


@dataclass(frozen=True)
class Timings:
    """All pairs of a run, with the rules and the plan they are judged by."""

    pairs: Pairs
    rules: Mapping[str, TimingRule]
    plan: Plan

    @property
    def series(self) -> dict[str, PairedSeconds]:
        """Each judged case's pairs."""
        return {case: paired_seconds(self.pairs, case) for case in self.rules}

    @property
    def control(self) -> PairedSeconds:
        """The pairs of the frozen matrix product."""
        return paired_seconds(self.pairs, CONTROL.text)

    @property
    def open_cases(self) -> list[str]:
        """The cases that the next pair must measure."""
        return open_cases(self.series, self.rules, self.plan, len(self.pairs))

    @property
    def decisions(self) -> dict[str, Decision]:
        """Each case's decision when no more pairs come."""
        looks = final_looks(self.plan, len(self.pairs))
        return decide_in_turn(self.series, self.rules, self.plan, looks)

    @property
    def control_moved(self) -> bool:
        """Whether the machine favoured one side."""
        control = self.control
        return bool(control.base) and control_moved(control, self.plan, TimingRule())

    def rows(self) -> list[Row]:
        """Return a row per judged case that has pairs."""
        return [self._row(case, row) for case, row in self.decisions.items()]

    def _row(self, case: str, decision: Decision) -> Row:
        verdict, because = decision.verdict, decision.because
        if self.control_moved:
            verdict = Verdict.INCONCLUSIVE
            because = "a frozen matrix product ran at another pace on one side"
        elif verdict is Verdict.INCONCLUSIVE:
            because += self._what_it_would_take(case, decision)
        return Row(
            case=case,
            metric=SECONDS,
            verdict=verdict,
            base=decision.base_seconds,
            head=decision.base_seconds * decision.ratio.estimate,
            ratio=decision.ratio,
            unit="s",
            because=because,
        )

    def _what_it_would_take(self, case: str, decision: Decision) -> str:
        ratios = self.series[case].log_ratios
        spread = pair_spread(ratios)
        fewest = self.plan.looks[0]
        if spread is None or len(ratios) < fewest:
            return f"; {len(ratios)} pairs were measured, {fewest} are planned at least"
        rule, family = decision.rule, len(self.rules)
        least = detectable_effect(spread, len(ratios), rule, self.plan, family)
        needed = pairs_needed(rule.tolerated, spread, rule, self.plan, family)
        take = f"; {needed} pairs would do" if needed else ""
        return (
            f"; {len(ratios)} pairs that spread {100 * math.expm1(spread):.0f} % find "
            f"{100 * least:.0f} % or more, not {100 * rule.tolerated:.0f} %{take}"
        )


def pairs_of(run: Run) -> Pairs:
    """Return the committed pairs of a run, in order."""
    by_number: dict[int, list[PairTiming]] = {}
    names = ("case", "method", "loops", "base_seconds", "head_seconds")
    for row in run.rows(PairTiming):
        timing = PairTiming(**{name: row[name] for name in names})
        by_number.setdefault(row["pair"], []).append(timing)
    return Pairs([by_number[number] for number in sorted(by_number)])


def timings_of(run: Run, pairs: Pairs) -> Timings:
    """Return pairs with what the run's header says they are judged by."""
    thresholds = run.header["thresholds"]
    return Timings(
        pairs,
        rules_for(run.header["timed"], thresholds),
        plan_for(run.config["pairs"]),
    )


def check_rows(run: Run) -> list[Row]:
    """Return every row of a check, the timed ones first."""
    thresholds: list[str] = run.header["thresholds"]
    exact: list[dict[str, Any]] = run.rows("exact_metrics")
    rows = timings_of(run, pairs_of(run)).rows()
    known = {row.case for row in rows}
    lost = [case for case in run.header["timed"] if case not in known]
    rows += [not_measured(case, run.rows("trial")) for case in lost]
    if "exact" in run.config["metrics"]:
        rows += exact_rows(exact, thresholds)
    return rows + accuracy_rows(run, thresholds)


def accuracy_rows(run: Run, thresholds: Sequence[str]) -> list[Row]:
    """Return the rows of the accuracy cases, in the order of the run."""
    by_case: dict[str, list[dict[str, Any]]] = {}
    for row in run.rows("accuracy"):
        by_case.setdefault(row["case"], []).append(row)
    return [
        accuracy_row(
            case, rows, settings_for(f"{case}:accuracy", "accuracy", thresholds)
        )
        for case, rows in by_case.items()
    ]


def not_measured(case: str, trials: Sequence[Mapping[str, Any]]) -> Row:
    """Return the row of a timed case without a pair, with what stood in its way."""
    problems = {
        row["side"]: row["problem"]
        for row in trials
        if row["case"] == case and row["problem"]
    }
    verdict, because = problem_verdict(problems)
    return Row(case=case, metric=SECONDS, verdict=verdict, unit="s", because=because)
