"""Accuracies and their differences, with intervals over seeds and test images.

Both are samples: other seeds or other images would give other answers. The input is
which test images the classifier of each seed got right, the output an `Interval` of a
share, 0 to 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from resnet_bench.statistics.intervals import Interval

Shares = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Right answers by seed, each of N test images as 0 to 1 (a mean over networks).

    `renderings` counts how many images in a row show the same original: these err
    together and are one cluster. Without it each image is its own.
    """

    by_seed: Mapping[int, Shares]
    renderings: Sequence[int] | None = None

    def minus(self, other: "Answers") -> "Answers | None":
        """Return the differences of the seeds that both have; None without any.

        None too where the two were not tested on the same number of images.
        """
        common = sorted(self.by_seed.keys() & other.by_seed.keys())
        sizes = {len(each) for side in (self, other) for each in side.by_seed.values()}
        if not common or len(sizes) != 1:
            return None
        found = {seed: self.by_seed[seed] - other.by_seed[seed] for seed in common}
        return Answers(by_seed=found, renderings=self.renderings)


def mean_of(answers: Sequence[Answers]) -> Answers | None:
    """Return the mean of several networks' answers, or differences, seed by seed.

    None where they have no seed in common.
    """
    if not answers:
        return None
    first, *_ = answers
    found = {
        seed: np.mean([each.by_seed[seed] for each in answers], axis=0)
        for seed in first.by_seed
        if all(seed in each.by_seed for each in answers)
    }
    return Answers(by_seed=found, renderings=first.renderings) if found else None


@dataclass(frozen=True)
class Spread:
    """A mean over seeds and images, its variance and the degrees of freedom of that.

    Var = s²(seed means) / S + s²(cluster sums) C / N², where cluster sums are of
    deviations from the mean over the images of one original: of equal clusters
    s²(cluster means) / C. Degrees of freedom are Satterthwaite's. One seed has no
    spread to add, and the interval is over images alone.
    """

    mean: float
    variance: float
    freedom: float
    clusters: int

    @property
    def standard_error(self) -> float:
        """The root of the variance."""
        return math.sqrt(self.variance)

    @property
    def half_width(self) -> float:
        """Half of the 95 % t interval.

        Without any variance, what Wilson's interval of none among the originals leaves
        open.
        """
        if self.variance == 0:
            z2 = float(stats.norm.ppf(0.975)) ** 2
            return z2 / (self.clusters + z2)
        return float(stats.t.ppf(0.975, self.freedom)) * self.standard_error


def spread_of(answers: Answers) -> Spread:
    """Return the mean of the answers, and its variance."""
    values = np.array(list(answers.by_seed.values()), dtype=np.float64)
    seeds, images = values.shape
    mean = float(values.mean())
    starts = np.cumsum([0, *(answers.renderings or [1] * images)])[:-1]
    sums = np.add.reduceat(values.mean(axis=0) - mean, starts)
    clusters = len(sums)
    parts = []  # variance of the mean and its degrees of freedom
    if clusters > 1:
        variance = float((sums**2).sum()) / (clusters - 1) * clusters / images**2
        parts.append((variance, clusters - 1))
    if seeds > 1:
        parts.append((float(values.mean(axis=1).var(ddof=1)) / seeds, seeds - 1))
    total = sum(variance for variance, _ in parts)
    shares = sum(variance**2 / freedom for variance, freedom in parts)
    freedom = total**2 / shares if shares else float(max(1, clusters - 1))
    return Spread(mean, total, freedom, clusters)


def accuracy_interval(answers: Answers) -> Interval:
    """Return the share of right answers with its 95 % interval, within 0 and 1.

    Student's t on the logit scale, by the delta method; where every answer or none is
    right, Wilson's interval of as many images as there are originals.
    """
    found = spread_of(answers)
    if found.variance == 0:
        return _wilson(found, float(found.clusters), len(answers.by_seed))
    inner = found.mean * (1 - found.mean)
    logit = math.log(found.mean / (1 - found.mean))
    half = found.half_width / inner
    low, high = (float(expit(logit + side)) for side in (-half, half))
    return Interval(found.mean, low, high, len(answers.by_seed))


def fixed_accuracy_interval(answers: Answers) -> Interval:
    """Return Wilson's 95 % interval of a classifier that no seed changes.

    Images count as many as give the variance seen: fewer where renderings of one
    original are answered alike (the design effect; Kish 1965, section 5.4).
    """
    found = spread_of(answers)
    effective = float(found.clusters)
    if found.variance > 0:
        effective = found.mean * (1 - found.mean) / found.variance
    return _wilson(found, effective, len(answers.by_seed))


def _wilson(found: Spread, images: float, seeds: int) -> Interval:
    """Return Wilson's interval (Wilson 1927) of a share of so many images."""
    z = float(stats.norm.ppf(0.975))
    scale = 1 + z**2 / images
    centre = (found.mean + z**2 / (2 * images)) / scale
    inner = found.mean * (1 - found.mean) / images + z**2 / (4 * images**2)
    half = z * math.sqrt(inner) / scale
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(found.mean, min(low, found.mean), max(high, found.mean), seeds)


def difference_interval(difference: Answers) -> Interval:
    """Return the mean difference of two shares with its 95 % interval in -1 to 1.

    Where all images differ alike, as where none does, the bounds are what Wilson's
    interval of none among the originals leaves open.
    """
    found = spread_of(difference)
    half = found.half_width
    low, high = max(-1.0, found.mean - half), min(1.0, found.mean + half)
    return Interval(found.mean, low, high, len(difference.by_seed))


def p_values(difference: Answers, margin: float) -> tuple[float, float]:
    """Return the two-sided p of "no difference" and of "as large as the margin".

    The second is that of two one-sided tests (Schuirmann 1987), doubled, so that it is
    at most 0.05 just where the 95 % interval lies within the margin.
    """
    found = spread_of(difference)
    error = found.standard_error or found.half_width / 2
    t = stats.t(found.freedom)
    differs = 2 * float(t.sf(abs(found.mean) / error))
    within = 2 * float(t.sf((margin - abs(found.mean)) / error))
    return min(1.0, differs), min(1.0, within)
