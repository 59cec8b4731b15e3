"""What measurements say of a claim, and the exact rules that decide it."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from scipy import stats

#: The error that a verdict may make, one-sided where seeds are counted.
ERROR = 0.05

#: Seeds below which counting decides nothing: four of four have p = 1/16.
LEAST_SEEDS = 5

#: Seeds up to which more of them are recommended.
MOST_SEEDS = 30


class Verdict(StrEnum):
    """Whether measurements support a claim, contradict it, or allow both.

    NO DIFFERENCE and AT FLOOR are said of networks that are claimed to differ; NO
    VERDICT where too few seeds were measured for any; LOSS where no gain was claimed
    and the opposite of one was found.
    """

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_DIFFERENCE = "NO DIFFERENCE"
    AT_FLOOR = "AT FLOOR"
    NO_VERDICT = "NO VERDICT"
    LOSS = "LOSS"


def most(holding: int, seeds: int) -> Verdict:
    """Return whether something holds in most seeds, by exact binomial tests.

    Each way one-sided against a share of one half, at 5 %.
    """
    if seeds < LEAST_SEEDS:
        return Verdict.NO_VERDICT
    if stats.binom.sf(holding - 1, seeds, 0.5) <= ERROR:
        return Verdict.SUPPORTED
    if stats.binom.cdf(holding, seeds, 0.5) <= ERROR:
        return Verdict.REFUTED
    return Verdict.INCONCLUSIVE


def needed(seeds: int) -> int:
    """Return of how many of at least five seeds `most` says SUPPORTED: 7 of 8."""
    counts = range(seeds + 1)
    return next(count for count in counts if most(count, seeds) is Verdict.SUPPORTED)


def power(share: float, seeds: int) -> float:
    """Return how often `most` says SUPPORTED of what holds in a share of all seeds."""
    return float(stats.binom.sf(needed(seeds) - 1, seeds, share))


def seeds_that_decide(share: float, seeds: int) -> int | None:
    """Return how many seeds would decide if the share stayed; None beyond 30."""
    for more in range(max(seeds + 1, LEAST_SEEDS), MOST_SEEDS + 1):
        if most(round(share * more), more) is not Verdict.INCONCLUSIVE:
            return more
    return None


def fisher_p(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the two-sided p of Fisher's exact test of two shares."""
    table = [[sum(side), len(side) - sum(side)] for side in (first, second)]
    return float(stats.fisher_exact(np.array(table)).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), in their order."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(order):
        highest = max(highest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, highest)
    return adjusted
