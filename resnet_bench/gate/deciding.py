"""Deciding on times: the rule, looks in turn over several cases, and their power."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import NormalDist, median, stdev

from resnet_bench.statistics.estimates import exponential, hodges_lehmann
from resnet_bench.statistics.intervals import Interval


class Verdict(StrEnum):
    """The verdict of a row."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not judged"
    MISSING = "missing"
    FAILED = "failed"
    NOT_COMPARABLE = "not comparable"

    @property
    def decided(self) -> bool:
        """Whether more pairs could not change it."""
        return self is not Verdict.INCONCLUSIVE


@dataclass(frozen=True, kw_only=True)
class TimingRule:
    """When a ratio of times counts; ratios are fractions, so 0.03 is +3 %.

    A regression needs a lower bound above `significant` and an estimate of at
    least `regression`; a pass needs an upper bound below `tolerated`. A difference
    below `smallest_seconds` never counts.
    """

    significant: float = 0.03
    regression: float = 0.05
    tolerated: float = 0.10
    smallest_seconds: float = 50e-6


@dataclass(frozen=True, kw_only=True)
class Plan:
    """After how many pairs a check looks, and how often it may err in all.

    `false_alarm` bounds the chance that any unchanged case is called a regression,
    `false_pass` the chance that a case slower than tolerated passes; both are split
    evenly over the looks, so they hold wherever the check stops.
    """

    looks: tuple[int, ...] = (12, 16, 20)
    false_alarm: float = 0.05
    false_pass: float = 0.05

    @property
    def alarm_level(self) -> float:
        """One look's share of the chance of a false alarm."""
        return self.false_alarm / len(self.looks)

    @property
    def pass_level(self) -> float:
        """One look's share of the chance of a false pass."""
        return self.false_pass / len(self.looks)

    def reached(self, measured: int) -> tuple[int, ...]:
        """Return the looks that `measured` pairs have reached."""
        return tuple(look for look in self.looks if look <= measured)

    def final(self, measured: int) -> tuple[int, ...]:
        """Return the looks of a check that ends after `measured` pairs.

        Pairs beyond the last look reached get one more, paid for by a planned look
        that the budget did not allow.
        """
        reached = self.reached(measured)
        ends_on_a_look = reached[-1:] == (measured,)
        if ends_on_a_look or not measured or len(reached) == len(self.looks):
            return reached
        return (*reached, measured)


#: Beyond so many cases a check looks once more, after the last of these.
FEW_CASES = 13
LOOKS, LOOKS_OF_MANY = (12, 16, 20), (12, 16, 20, 24)


def looks_of(cases: int) -> tuple[int, ...]:
    """Return the default numbers of pairs after which a check looks."""
    return LOOKS if cases <= FEW_CASES else LOOKS_OF_MANY


def most_pairs(cases: int) -> int:
    """Return after how many pairs a check of so many cases ends by default."""
    return looks_of(cases)[-1]


def first_look(cases: int) -> int:
    """Return the fewest pairs that can show a case to be slower.

    The least probability of a signed-rank test of n pairs is 2**-n; it has to reach
    one case's share of one look's share of the false alarms.
    """
    looks = looks_of(cases)
    shares = len(looks) * max(1, cases) / Plan.false_alarm
    return max(looks[0], math.ceil(math.log2(shares)))


def plan_for(pairs: int, cases: int = 1) -> Plan:
    """Return the plan of a check of `cases` cases that measures at most `pairs` pairs.

    The last look is after the last pair.
    """
    first = first_look(cases)
    planned = (first, *(look for look in looks_of(cases) if look > first))
    return Plan(looks=(*(look for look in planned if look < pairs), pairs))


@dataclass(frozen=True)
class PairedSeconds:
    """Seconds per call of one case, one value per process pair and side."""

    base: Sequence[float]
    head: Sequence[float]

    @property
    def log_ratios(self) -> list[float]:
        """The logarithm of head over base, pair by pair."""
        return [
            math.log(head / base)
            for base, head in zip(self.base, self.head, strict=True)
        ]

    def first(self, count: int) -> "PairedSeconds":
        """Return the first `count` pairs."""
        return PairedSeconds(self.base[:count], self.head[:count])


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict with the ratio it rests on and the rule that gave it.

    `ratio` is head over base; its low bound is corrected for the number of cases,
    its high bound is not.
    """

    verdict: Verdict
    ratio: Interval
    base_seconds: float
    rule: TimingRule = field(default_factory=TimingRule)
    because: str = ""


#: What bounds do that decide nothing.
ALLOW_BOTH = "allow both a regression and a pass"


def judge(ratio: Interval, base_seconds: float, rule: TimingRule) -> Decision:
    """Apply the rule to one case's ratio; `base_seconds` is the time of a call."""
    verdict, because = _verdict(ratio, base_seconds, rule)
    return Decision(
        verdict=verdict,
        ratio=ratio,
        base_seconds=base_seconds,
        rule=rule,
        because=because,
    )


def _verdict(
    ratio: Interval, base_seconds: float, rule: TimingRule
) -> tuple[Verdict, str]:
    low, high = signed(ratio.low), signed(ratio.high)
    significant, tolerated = 1 + rule.significant, 1 + rule.tolerated
    counts = abs(ratio.estimate - 1) * base_seconds >= rule.smallest_seconds
    worse = ratio.low > significant and ratio.estimate >= 1 + rule.regression
    if counts and worse:
        return Verdict.REGRESSION, (
            f"low bound {low} is above {signed(significant)} and the estimate "
            f"{signed(ratio.estimate)} reaches {signed(1 + rule.regression)}"
        )
    if counts and ratio.high < 1 - rule.significant:
        return Verdict.IMPROVEMENT, (
            f"high bound {high} is below {signed(1 - rule.significant)}"
        )
    if ratio.high < tolerated:
        return Verdict.PASS, (
            f"high bound {high} is below the tolerated {signed(tolerated)}"
        )
    if (ratio.high - 1) * base_seconds < rule.smallest_seconds:
        microseconds = rule.smallest_seconds * 1e6
        return Verdict.PASS, (
            f"the difference is below {microseconds:g} µs, which never counts"
        )
    return Verdict.INCONCLUSIVE, f"bounds {low} to {high} {ALLOW_BOTH}"


def signed(ratio: float) -> str:
    """Write a ratio as a signed change: 1.05 is +5.0 %, and 0 or infinity unknown."""
    if not 0 < ratio < math.inf:
        return "unknown"
    return f"{100 * (ratio - 1):+.1f} %"


def ratio_of(pairs: PairedSeconds, alarm_level: float, pass_level: float) -> Interval:
    """Return the Hodges-Lehmann ratio with one-sided exact signed-rank bounds.

    The low bound fails with probability `alarm_level`, the high with `pass_level`.
    """
    levels = (1 - 2 * alarm_level, 1 - 2 * pass_level)
    return exponential(hodges_lehmann(pairs.log_ratios, *levels))


def control_moved(pairs: PairedSeconds, plan: Plan, rule: TimingRule) -> bool:
    """Whether a frozen job ran at another speed on one side.

    Then the machine, not the code, differed, and no timing of the run is judged.
    """
    ratio = ratio_of(pairs, plan.pass_level, plan.pass_level)
    return ratio.low > 1 + rule.significant or ratio.high < 1 - rule.significant


def decide(
    cases: Mapping[str, PairedSeconds],
    rules: Mapping[str, TimingRule],
    plan: Plan,
    regressions_before: int = 0,
) -> dict[str, Decision]:
    """Judge every open case of one look, with Holm's step-down over the cases.

    `cases` holds the cases that no earlier look has decided; `rules` has one entry
    per case of the whole check; `regressions_before` counts the hypotheses that
    earlier looks rejected. As long as a step rejects cases, the remaining ones are
    judged again with the error shared among fewer (Holm 1979).
    """
    rejected: dict[str, Decision] = {}
    while True:
        alive = max(1, len(rules) - regressions_before - len(rejected))
        decisions = {
            name: judge(
                ratio_of(pairs, plan.alarm_level / alive, plan.pass_level),
                median(pairs.base),
                rules[name],
            )
            for name, pairs in cases.items()
            if name not in rejected
        }
        found = _regressions(decisions)
        if not found:
            return {name: (rejected | decisions)[name] for name in cases}
        rejected.update(found)


def _regressions(decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    return {
        name: decision
        for name, decision in decisions.items()
        if decision.verdict is Verdict.REGRESSION
    }


def decide_in_turn(
    pairs: Mapping[str, PairedSeconds],
    rules: Mapping[str, TimingRule],
    plan: Plan,
    looks: Sequence[int],
) -> dict[str, Decision]:
    """Replay the looks over all pairs; a case that one look decides stays so.

    The same pairs give the same decisions, whether a check ran through or was
    resumed. A case without a pair is left out.
    """
    decided: dict[str, Decision] = {}
    for look in looks:
        still_open = {
            name: series.first(look)
            for name, series in pairs.items()
            if series.base and not _is_decided(decided, name)
        }
        decided.update(decide(still_open, rules, plan, len(_regressions(decided))))
    return decided


def open_cases(
    pairs: Mapping[str, PairedSeconds],
    rules: Mapping[str, TimingRule],
    plan: Plan,
    measured: int,
) -> list[str]:
    """Return the cases that the next pair must measure."""
    decided = decide_in_turn(pairs, rules, plan, plan.reached(measured))
    return [name for name in rules if not _is_decided(decided, name)]


def _is_decided(decided: Mapping[str, Decision], name: str) -> bool:
    return name in decided and decided[name].verdict.decided


#: The efficiency of the Hodges-Lehmann estimate next to the mean, for normal
#: samples: 3 / pi (Hodges and Lehmann 1963).
EFFICIENCY = 3 / math.pi

#: A detectable effect is found in this share of checks.
POWER = 0.95

#: Beyond this many pairs no one waits for a check.
MOST_PAIRS = 1000


def pair_spread(log_ratios: Sequence[float]) -> float | None:
    """Return the standard deviation of the pairs' log-ratios; None below two pairs."""
    return stdev(log_ratios) if len(log_ratios) > 1 else None


def detectable_effect(
    spread: float, pairs: int, rule: TimingRule, plan: Plan, cases: int = 1
) -> float:
    """Return the slowdown that `pairs` pairs find in 95 of 100 checks, as a fraction.

    A normal approximation; `cases` is the number that shares the error (Holm).
    """
    error = spread / math.sqrt(EFFICIENCY * pairs)
    sure = NormalDist().inv_cdf(1 - plan.alarm_level / cases)
    often = NormalDist().inv_cdf(POWER)
    for_the_bound = math.log1p(rule.significant) + (sure + often) * error
    for_the_estimate = math.log1p(rule.regression) + often * error
    return math.expm1(max(for_the_bound, for_the_estimate))


def pairs_needed(
    effect: float, spread: float, rule: TimingRule, plan: Plan, cases: int = 1
) -> int | None:
    """Return the pairs that find a slowdown in 95 of 100 checks.

    At least those of the first look; None when 1,000 pairs are not enough.
    """
    return next(
        (
            pairs
            for pairs in range(plan.looks[0], MOST_PAIRS + 1)
            if detectable_effect(spread, pairs, rule, plan, cases) <= effect
        ),
        None,
    )
