"""The intervals and tests behind every number that is shown or judged.

Samples come in and an `Interval` goes out. Where there are too few samples for a
bound, the bound is infinite: a wide answer is honest, a narrow guess is not.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from resnet_bench.statistics.intervals import SAMPLES_FOR_ORDER_STATISTICS, Interval

Samples = Sequence[float] | NDArray[np.float64]

#: Samples from which an order statistic bounds a percentile from above at 95 %
#: (0.9**29 and 0.99**299 fall below 0.05).
SAMPLES_FOR_PERCENTILE = {90: 29, 99: 299}


def finite(samples: Samples) -> NDArray[np.float64]:
    """Return `samples` as an array; raises ValueError if empty or not finite."""
    values = np.asarray(samples, dtype=np.float64)
    if values.size == 0:
        raise ValueError("no samples")
    if not np.isfinite(values).all():
        raise ValueError("samples must be finite")
    return values


def _standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the mean of two or more values."""
    return float(values.std(ddof=1)) / math.sqrt(values.size)


def mean_interval(samples: Samples) -> Interval:
    """Return the mean with Student's 95 % t interval, in the unit of the samples.

    One sample has no spread to estimate: its bounds are infinite.
    """
    values = finite(samples)
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    error = _standard_error(values)
    half = float(stats.t.ppf(0.975, values.size - 1)) * error
    return Interval(mean, mean - half, mean + half, values.size)


def mean_p(samples: Samples, value: float) -> float:
    """Return the two-sided p of Student's t test that the mean is `value`.

    Samples without any spread decide by their own value: p is 0, or 1 where it is the
    one tested. Raises ValueError for fewer than two.
    """
    values = finite(samples)
    if values.size < 2:
        raise ValueError("one sample has no spread")
    distance = abs(float(values.mean()) - value)
    error = _standard_error(values)
    if error == 0:
        return float(distance == 0)
    return 2 * float(stats.t.sf(distance / error, values.size - 1))


def right_shares(packed: Sequence[str], images: int) -> NDArray[np.float64]:
    """Return the share of rows that answered each image rightly.

    A row holds a bit per image, the first one highest, in hexadecimal.
    """
    rows = [np.frombuffer(bytes.fromhex(each), np.uint8) for each in packed]
    bits = np.array([np.unpackbits(row)[:images] for row in rows], np.float64)
    shares: NDArray[np.float64] = bits.mean(axis=0)
    return shares


def points_over_images(shares: Samples) -> float:
    """Return half of the 95 % interval over images of a mean of shares, in points."""
    values = finite(shares)
    error = _standard_error(values)
    return 100 * float(stats.norm.ppf(0.975)) * error


def paired(left: Samples, right: Samples) -> NDArray[np.float64]:
    """Return `left` minus `right` pair by pair; ValueError if lengths differ."""
    first, second = finite(left), finite(right)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} samples cannot be paired with {second.size}")
    return first - second


def paired_difference_interval(left: Samples, right: Samples) -> Interval:
    """Return the mean of `left` minus `right` with a t interval over the pairs."""
    return mean_interval(paired(left, right))


def logarithms(samples: Samples) -> NDArray[np.float64]:
    """Return natural logarithms; raises ValueError unless all are positive."""
    values = finite(samples)
    if (values <= 0).any():
        raise ValueError("only positive samples have a ratio")
    return np.log(values)


def exponential(interval: Interval) -> Interval:
    """Return an interval of log-ratios as one of ratios."""
    return Interval(
        math.exp(interval.estimate),
        math.exp(interval.low),
        math.exp(interval.high),
        interval.samples,
    )


def geometric_mean(samples: Samples) -> float:
    """Return the geometric mean of positive samples."""
    return float(np.exp(logarithms(samples).mean()))


def geometric_interval(samples: Samples) -> Interval:
    """Return the geometric mean of positive samples with a t interval on logarithms."""
    return exponential(mean_interval(logarithms(samples)))


def ratio_of_means(numerators: Samples, denominators: Samples) -> Interval:
    """Return the ratio of two independent means with its 95 % interval.

    By the delta method on the logarithm, with Welch's degrees of freedom; from 0 to
    infinity where a mean is of one sample.
    """
    sides = [finite(numerators), finite(denominators)]
    ratio = float(sides[0].mean() / sides[1].mean())
    fewest = min(side.size for side in sides)
    if fewest == 1:
        return Interval(ratio, 0.0, math.inf, fewest)
    errors = np.array(
        [side.var(ddof=1) / side.size / side.mean() ** 2 for side in sides]
    )
    if not errors.any():
        return Interval(ratio, ratio, ratio, fewest)
    sizes = np.array([side.size for side in sides])
    freedom = errors.sum() ** 2 / (errors**2 / (sizes - 1)).sum()
    half = stats.t.ppf(0.975, freedom) * math.sqrt(errors.sum())
    low, high = ratio * math.exp(-half), ratio * math.exp(half)
    return Interval(ratio, low, high, fewest)


def ratio_by_key(
    numerators: Mapping[int, float], denominators: Mapping[int, float]
) -> Interval | None:
    """Return the ratio paired by round, as `ratio_of_visits`; None without a pair.

    Rounds that only one side has are paired too, the latest with the latest: each side
    leaves out others, and pairs that differ in time are better than few (of two rows
    with six visits and one in ten left out, most would have no bounds).
    """
    common = numerators.keys() & denominators.keys()
    rounds = [
        [*common, *sorted(side.keys() - common, reverse=True)]
        for side in (numerators, denominators)
    ]
    pairs = list(zip(*rounds, strict=False))
    if not pairs:
        return None
    above = [numerators[own] for own, _ in pairs]
    return ratio_of_visits(above, [denominators[other] for _, other in pairs])


@functools.cache
def signed_rank_bound(samples: int, confidence: float = 0.95) -> int:
    """Return the 1-based rank of the Walsh average that bounds the interval.

    It is the largest r with 2 P(W < r) <= 1 - confidence, where W is Wilcoxon's
    signed-rank statistic under the null hypothesis (Hollander, Wolfe and Chicken,
    Nonparametric Statistical Methods, 3rd edition, section 3.3); 0 when not even
    r = 1 holds, which is so below 6 samples at 95 %.
    """
    counts = np.zeros(samples * (samples + 1) // 2 + 1)
    counts[0] = 1.0
    for rank in range(1, samples + 1):
        shifted = np.zeros_like(counts)
        shifted[rank:] = counts[:-rank]
        # Halving at each step keeps the counts probabilities, without overflow.
        counts = (counts + shifted) / 2
    # The smallest bound is often met exactly (2/2**n); sums must not lose it.
    allowed = (1 - confidence) / 2 * (1 + 1e-12)
    return int(np.searchsorted(np.cumsum(counts), allowed, side="right"))


#: Each sample with itself and every later one, as two rows of indices.
_pairs_of = functools.cache(np.triu_indices)


def hodges_lehmann(
    differences: Samples, confidence: float = 0.95, of_high: float | None = None
) -> Interval:
    """Return the Hodges-Lehmann estimate with the exact signed-rank interval.

    The estimate is the median of the averages of all pairs, each sample paired
    with itself too (Hodges and Lehmann 1963). Bounds are infinite below the
    number of samples that can carry the confidence (6 at 95 %). With `of_high` the
    high bound is that of another confidence.
    """
    values = finite(differences)
    rows, columns = _pairs_of(values.size)
    averages = np.sort((values[rows] + values[columns]) / 2)
    estimate = float(np.median(averages))
    below = signed_rank_bound(values.size, confidence)
    above = signed_rank_bound(values.size, of_high or confidence)
    low = float(averages[below - 1]) if below else -math.inf
    high = float(averages[-above]) if above else math.inf
    return Interval(estimate, low, high, values.size)


def time_interval(visits: Samples) -> Interval:
    """Return the Hodges-Lehmann estimate of a time from one value per visit.

    On logarithms, with the exact signed-rank interval; below six visits without bounds
    (infinite ones). Calls within a visit are not independent, so they are no samples.
    """
    found = hodges_lehmann(logarithms(visits))
    if found.bounded:
        return exponential(found)
    return replace(found, estimate=math.exp(found.estimate))


def ratio_of_visits(numerators: Samples, denominators: Samples) -> Interval:
    """Return the ratio of two times from visits of the same rounds, as `time_interval`.

    A slow minute of the machine divides out. Raises ValueError if lengths differ.
    """
    return time_interval(
        np.exp(paired(logarithms(numerators), logarithms(denominators)))
    )


#: A series has a trend when Kendall's test says so with this error and its first third
#: differs from the rest by more than this fraction.
TREND_ERROR = 0.01
TREND_FRACTION = 0.03


def trend_of(values: Samples) -> float:
    """Return by which fraction the first third lies above the rest (below: negative).

    0 where Kendall's test finds no trend (p < 0.01) or the difference is at most 3 %.
    """
    if len(values) < SAMPLES_FOR_ORDER_STATISTICS:
        return 0.0  # no order of five values is unlikely enough
    series = finite(values)
    third = series.size // 3
    test = stats.kendalltau(np.arange(series.size), series)
    excess = float(np.median(series[:third]) / np.median(series[third:])) - 1
    found = test.pvalue < TREND_ERROR and abs(excess) > TREND_FRACTION
    return excess if found else 0.0


def roughness(curve: Samples) -> float | None:
    """Return how rough a curve of evenly spaced samples is, relative to its range.

    The root mean square of its second differences over its range: about
    8 / (n - 1)^2 of a parabola, and above a half of white noise. None for fewer than
    three samples, for a sample that is not finite, and for a constant.
    """
    values = np.asarray(curve, dtype=np.float64)
    if values.size < 3 or not np.isfinite(values).all() or not np.ptp(values):
        return None
    return float(np.sqrt(np.mean(np.diff(values, 2) ** 2)) / np.ptp(values))


def percentile(samples: Samples, percent: int) -> float | None:
    """Return a percentile, or None when there are too few samples to carry it.

    `percent` is a key of SAMPLES_FOR_PERCENTILE.
    """
    values = finite(samples)
    if values.size < SAMPLES_FOR_PERCENTILE[percent]:
        return None
    return float(np.percentile(values, percent))


def wilson_interval(errors: int, total: int) -> Interval:
    """Return a proportion with Wilson's 95 % score interval (Wilson 1927).

    This is the sampling error of a test set of `total` examples; multiply by 100
    for percent.
    """
    if not 0 <= errors <= total or total == 0:
        raise ValueError(f"{errors} of {total} is not a proportion")
    bounds = stats.binomtest(errors, total).proportion_ci(method="wilson")
    return Interval(errors / total, float(bounds.low), float(bounds.high), total)
