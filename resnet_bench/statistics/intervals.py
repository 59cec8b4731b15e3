"""An estimate with its bounds, and the distribution-free interval of a median."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its confidence interval.

    All three are in the unit of the samples; `samples` counts them.
    """

    estimate: float
    low: float
    high: float
    samples: int

    @property
    def relative_spread(self) -> float:
        """The wider side of the interval over the estimate; infinite when that is 0."""
        if self.estimate == 0:
            return math.inf
        side = max(self.high - self.estimate, self.estimate - self.low)
        return side / abs(self.estimate)

    def times(self, factor: float) -> "Interval":
        """Return the interval in another unit; `factor` is positive."""
        bounds = (factor * self.low, factor * self.high)
        return Interval(factor * self.estimate, *bounds, self.samples)

    @property
    def inverse(self) -> "Interval":
        """The interval of 1 / x of a positive quantity x."""
        low = 1 / self.high
        high = 1 / self.low if self.low > 0 else math.inf
        return Interval(1 / self.estimate, low, high, self.samples)

    @property
    def change_percent(self) -> "Interval":
        """The interval of a ratio as a change: 1.05 is 5 %."""
        ends = (100 * (self.low - 1), 100 * (self.high - 1))
        return Interval(100 * (self.estimate - 1), *ends, self.samples)

    @property
    def bounded(self) -> bool:
        """Whether there were enough samples for bounds."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def json(self) -> dict[str, float | int | None]:
        """The interval as every JSON object holds one.

        What is not finite is null; where one bound cannot be told, neither is.
        """
        return {
            "estimate": self.estimate if math.isfinite(self.estimate) else None,
            "low": self.low if self.bounded else None,
            "high": self.high if self.bounded else None,
            "n": self.samples,
        }


#: Below this many samples no order statistics reach 95 % coverage
#: (1 - 2 / 2**n >= 0.95 needs n >= 6), so the extremes are shown instead.
SAMPLES_FOR_ORDER_STATISTICS = 6


def lower_rank(samples: int, confidence: float = 0.95) -> int:
    """Return the 1-based rank of the median interval's lower order statistic.

    The interval from rank r to rank n + 1 - r covers the median with probability
    1 - 2 P(Binomial(n, 1/2) < r) whatever the distribution (David and Nagaraja,
    Order Statistics, 3rd edition, section 7.1). Returns 1 when even the extremes
    cover less than `confidence`.
    """
    # A count below half of n - 1 in exact integers: no float loses the tail.
    allowed = (1 - confidence) / 2 * 2.0**samples if samples <= 1000 else None
    if allowed is None:
        # Normal approximation; the exact rank differs by at most one here.
        deviation = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
        return max(1, math.floor((samples - deviation * math.sqrt(samples)) / 2))
    below = 0
    rank = 0
    while rank < samples:
        below += math.comb(samples, rank)
        if below > allowed:
            break
        rank += 1
    return max(1, rank)


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the median of `samples` with its order-statistic interval.

    Raises ValueError for an empty sequence.
    """
    if not samples:
        raise ValueError("the median of no samples is undefined")
    ordered = sorted(samples)
    rank = 1
    if len(ordered) >= SAMPLES_FOR_ORDER_STATISTICS:
        rank = lower_rank(len(ordered), confidence)
    return Interval(
        estimate=statistics.median(ordered),
        low=ordered[rank - 1],
        high=ordered[-rank],
        samples=len(ordered),
    )
