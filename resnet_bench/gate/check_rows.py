"""The rows of a check, from its run file: one per case and metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_bench.gate.accuracy_rule import accuracy_row
from resnet_bench.gate.decide import (
    Decision,
    PairedSeconds,
    Plan,
    TimingRule,
    Verdict,
    control_moved,
)
from resnet_bench.gate.deciding import detectable_effect, pair_spread, pairs_needed
from resnet_bench.gate.exact_rule import exact_rows
from resnet_bench.gate.observations import PairTiming
from resnet_bench.gate.pairs import CONTROL, Pairs
from resnet_bench.gate.rows import Row, problem_verdict
from resnet_bench.gate.sequential import decide_in_turn, final_looks, open_cases
from resnet_bench.gate.thresholds import settings_for
from resnet_bench.store.reading import Run

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
