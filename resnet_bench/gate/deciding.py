"""How small a slowdown so many pairs can find, and how many a slowdown needs."""

import math
from collections.abc import Sequence
from statistics import NormalDist, stdev

from resnet_bench.gate.decide import Plan, TimingRule

#: The efficiency of the Hodges-Lehmann estimate next to the mean, for normal
#: samples: 3 / pi (Hodges and Lehmann 1963).
EFFICIENCY = 3 / math.pi

#: A detectable effect is found in this share of checks.
POWER = 0.95

#: Beyond this many pairs no one waits for a check.
MOST_PAIRS = 1000


def pair_spread(log_ratios: Sequence[float]) -> float | None:
    """Return the standard deviation of the pairs' log-ratios; None below 2 pairs."""
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

    At least those of the first look; None when 1,000 pairs would not do.
    """
    return next(
        (
            pairs
            for pairs in range(plan.looks[0], MOST_PAIRS + 1)
            if detectable_effect(spread, pairs, rule, plan, cases) <= effect
        ),
        None,
    )
