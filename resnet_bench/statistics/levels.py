"""The levels of a line of commits from ratios between them, and where they changed.

A measurement is an equation: the head's logarithm less the base's is so much. The
levels that fit all of them best come from weighted least squares, in which far values
count less (Huber, "Robust estimation of a location parameter", 1964).

A change is one more unknown, a step that all later commits share. PELT (Killick,
Fearnhead and Eckley 2012) proposes places. Of these the step that improves the fit
least is dropped, again and again, until each improves it by more than 95 of 100
simulated lines without a change allow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from resnet_bench.statistics.intervals import Interval

Array = NDArray[np.float64]

#: A residual beyond so many standard deviations counts less (Huber: 95 % efficient).
HUBER = 1.345
REWEIGHTINGS = 5

#: Neighbours among which a single measurement of a commit may be far.
NEIGHBOURHOOD = 5

#: Standard deviation of a normal sample over its median absolute deviation.
TO_DEVIATION = 1.4826

#: Half the width of a 95 % interval, in standard deviations.
DEVIATIONS = 1.96

#: How often a line without a change may show one, found from so many simulated ones.
FALSE_ALARM = 0.05
SIMULATED_LINES = 1000

#: Fewer measurements beyond the unknowns do not tell their own spread.
FEWEST_SPARE = 10

#: Among fewer commits one slow process looks like a change too often.
FEWEST_COMMITS = 6

#: A step that moves the fitted values by less than this does not count.
NOTHING = 1e-9


@dataclass(frozen=True)
class Ratio:
    """One measurement: the logarithm of the head's time over the base's.

    Without a base it is the logarithm of the head's own time.
    """

    base: str | None
    head: str
    logarithm: float


@dataclass(frozen=True)
class Change:
    """From the commit at `place` on, the time is `size` times what it was.

    A step at any place from `first` to `last` fits hardly worse.
    """

    place: int
    first: int
    last: int
    size: Interval


class Line:
    """The commits of `order` that measurements join, and their levels.

    Measurements may also be of commits beside the order; they join others.
    """

    def __init__(self, ratios: Sequence[Ratio], order: Sequence[str]) -> None:
        joined = _joined(ratios, order)
        used = [row for row in ratios if row.head in joined]
        self.order = [name for name in order if name in joined]
        self.absolute = any(row.base is None for row in used)
        nodes = [*self.order, *sorted(joined - set(self.order), key=str)]
        number = {name: i for i, name in enumerate(nodes)}
        ends = [(number[row.base], number[row.head]) for row in used]
        self.ends = np.array(ends, dtype=int).reshape(-1, 2)
        self.values = np.array([row.logarithm for row in used])
        self.spare = len(used) - (len(nodes) - 1)
        rows = np.repeat(np.arange(len(used)), 2)
        signs = np.tile([-1.0, 1.0], len(used))
        shape = (len(used), len(nodes))
        self.incidence = csr_array((signs, (rows, self.ends.ravel())), shape=shape)
        self._weigh(np.ones(len(used)))
        for _ in range(REWEIGHTINGS if self.is_spare else 1):
            self._reweigh()

    @property
    def is_spare(self) -> bool:
        """Whether residuals tell the spread of a measurement."""
        return self.spare >= max(self.incidence.shape[1], FEWEST_SPARE)

    def _weigh(self, weights: Array) -> None:
        """Set the weights, and the levels' covariance for a measurement's of 1."""
        self.weights = weights
        weighted = self.incidence.T @ (self.incidence * weights[:, None])
        self.covariance = np.linalg.pinv(weighted.toarray(), hermitian=True)

    def _reweigh(self) -> None:
        """Let far measurements count less.

        Where each commit has its own only, it is compared with its neighbours; a
        chain of single ratios has no others to compare with.
        """
        levels = self.solved(self.values)
        scale = float(self.scales(self.values[:, None])[0])
        if not self.is_spare:
            if not self.absolute or math.isinf(scale):
                return
            line = slice(len(self.order))
            levels[line] = median_filter(levels[line], NEIGHBOURHOOD, mode="nearest")
        far = np.abs(self.values - self.incidence @ levels) / (HUBER * scale or 1.0)
        self._weigh(1 / np.maximum(far, 1.0))

    def solved(self, values: Array) -> Array:
        """Return the levels that fit best, for each column of `values`."""
        levels: Array = self.covariance @ (
            self.incidence.T @ (self.weights * values.T).T
        )
        return levels

    def scales(self, values: Array) -> Array:
        """Return each column's standard deviation of a measurement, robustly.

        It is that of the residuals; without enough of these that of the moves from
        one commit to the next, few of which are changes.
        """
        levels = self.solved(values)
        if self.is_spare:
            residuals = np.abs(values - self.incidence @ levels)
            freedom = np.sqrt(len(values) / self.spare)
            spread: Array = TO_DEVIATION * freedom * np.median(residuals, axis=0)
            return spread
        if len(self.order) < FEWEST_SPARE:
            return np.full(values.shape[1], np.inf)
        moves = np.abs(np.diff(levels[: len(self.order)], axis=0))
        errors = self._errors_of_moves()[:, None]
        return np.asarray(TO_DEVIATION * np.median(moves / errors, axis=0))

    def _errors_of_moves(self) -> Array:
        """Return the standard error of each move, for a measurement's of 1."""
        count = len(self.order)
        line = self.covariance[:count, :count]
        own, beside = np.diag(line), np.diag(line, 1)
        variances: Array = own[1:] + own[:-1] - 2 * beside
        errors: Array = np.sqrt(variances.clip(NOTHING))
        return errors

    @cached_property
    def scale(self) -> float:
        """The standard deviation of one measurement, infinite where it is unknown."""
        return float(self.scales(self.values[:, None])[0])

    @cached_property
    def levels(self) -> list[Interval]:
        """The commits' logarithms, less their mean."""
        count = len(self.order)
        levels = self.solved(self.values)[:count]
        centred = np.eye(count) - 1 / count
        covariance = centred @ self.covariance[:count, :count] @ centred
        errors = np.sqrt(np.diag(covariance).clip(0))
        return self._intervals(levels - levels.mean(), errors)

    @cached_property
    def moves(self) -> list[Interval]:
        """The difference of each commit's logarithm from that of the one before it."""
        levels = self.solved(self.values)[: len(self.order)]
        return self._intervals(np.diff(levels), self._errors_of_moves())

    def _intervals(self, middles: Array, errors: Array) -> list[Interval]:
        known, count = math.isfinite(self.scale), len(self.values)
        half = (
            DEVIATIONS * self.scale * errors if known else np.full(len(errors), np.inf)
        )
        return [
            Interval(float(middle), float(middle - side), float(middle + side), count)
            for middle, side in zip(middles, half, strict=True)
        ]

    @property
    def is_enough(self) -> bool:
        """Whether there are measurements enough to tell a change from their spread."""
        least = FEWEST_COMMITS if self.is_spare else FEWEST_SPARE
        return len(self.order) >= least

    def changes(self) -> list[Change]:
        """Return where the level changed, nothing where too little was measured.

        Raises ModuleNotFoundError without ruptures.
        """
        if not self.is_enough or self.scale <= NOTHING:
            return []
        steps = Steps(self)
        return steps.described(steps.kept(steps.proposed()))


class Steps:
    """The steps that a line may hold: one before each commit but the first."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.count = len(line.order)
        #: A single process may be slow by chance; two in a row are a level.
        self.least = 2 if line.absolute else 1
        root = np.sqrt(line.weights)[:, None]
        others = line.incidence[:, self.count :].toarray()
        base, sizes, _ = np.linalg.svd(root * others, full_matrices=False)
        self._others = base[:, sizes > NOTHING]
        self._root = root
        ends = np.where(line.ends < self.count, line.ends, -1)
        reached = (ends[:, :, None] >= np.arange(1, self.count)).astype(float)
        self.columns = self._left(reached[:, 1] - reached[:, 0])
        self.target = self._left(line.values[:, None])[:, 0]

    def _left(self, columns: Array) -> Array:
        """Return weighted columns less what commits beside the line explain of them."""
        weighted = self._root * columns
        return weighted - self._others @ (self._others.T @ weighted)

    @cached_property
    def threshold(self) -> float:
        """The gain in variances that 95 of 100 lines without a change stay below.

        Gains are those of all steps, and of pairs of steps some commits apart.
        """
        line, generator = self.line, np.random.default_rng(0)
        drawn = generator.standard_normal((len(line.values), SIMULATED_LINES))
        gram = self.columns.T @ self.columns
        products = self.columns.T @ self._left(drawn)
        places = np.arange(self.least - 1, self.count - self.least)
        gains = [_gains(products[places], np.diag(gram)[places])]
        for apart in _lengths(self.least, self.count):
            up, down = (
                np.arange(self.count - 1 - apart),
                np.arange(apart, self.count - 1),
            )
            norms = np.diag(gram)[up] + np.diag(gram)[down] - 2 * gram[up, down]
            gains.append(_gains(products[up] - products[down], norms))
        variances = line.scales(drawn) ** 2
        largest = np.max(gains, axis=0) / variances
        return float(np.quantile(largest, 1 - FALSE_ALARM))

    def proposed(self) -> list[int]:
        """Return where PELT sees changes, by a penalty that lets too many pass."""
        import ruptures

        line = self.line
        levels = np.array([[level.estimate] for level in line.levels])
        variance = line.scale**2 * float(np.diag(line.covariance)[: self.count].mean())
        search = ruptures.Pelt(model="l2", min_size=self.least, jump=1).fit(levels)
        found = search.predict(pen=variance * math.log(self.count))
        return [int(place) for place in found[:-1]]

    def kept(self, places: Sequence[int]) -> list[int]:
        """Return those of the steps of which none could be chance."""
        left = list(places)
        while left:
            sizes, inverse = self._fit(left)
            gains = sizes**2 / np.diag(inverse) / self.line.scale**2
            worst = int(gains.argmin())
            if gains[worst] > self.threshold:
                break
            del left[worst]
        return left

    def _fit(self, places: Sequence[int]) -> tuple[Array, Array]:
        """Return the steps' sizes, and their covariance for a variance of 1."""
        columns = self.columns[:, np.array(places) - 1]
        inverse = np.asarray(np.linalg.pinv(columns.T @ columns, hermitian=True), float)
        sizes: Array = inverse @ (columns.T @ self.target)
        return sizes, inverse

    def _misfit(self, places: Sequence[int]) -> float:
        sizes, _ = self._fit(places)
        fitted = self.columns[:, np.array(places) - 1] @ sizes
        return float(((self.target - fitted) ** 2).sum())

    def described(self, places: list[int]) -> list[Change]:
        """Return the changes at these places, each moved to where it fits best."""
        ranges = [self._settled(places, index) for index in range(len(places))]
        if not places:
            return []
        sizes, inverse = self._fit(places)
        half = DEVIATIONS * self.line.scale * np.sqrt(np.diag(inverse))
        count = len(self.line.values)
        bounds = [np.exp(sizes), np.exp(sizes - half), np.exp(sizes + half)]
        return [
            Change(places[i], min(near), max(near), Interval(middle, low, high, count))
            for i, near in enumerate(ranges)
            for middle, low, high in [[float(bound[i]) for bound in bounds]]
        ]

    def _settled(self, places: list[int], index: int) -> list[int]:
        """Move one of the places to where it fits best; return all that do about so."""
        low = places[index - 1] if index else 0
        high = (*places, self.count)[index + 1]
        misfits = {
            place: self._misfit([*places[:index], place, *places[index + 1 :]])
            for place in range(low + self.least, high - self.least + 1)
        }
        places[index] = min(misfits, key=lambda place: misfits[place])
        allowed = misfits[places[index]] + (DEVIATIONS * self.line.scale) ** 2
        return [place for place, misfit in misfits.items() if misfit <= allowed]


def _gains(products: Array, norms: Array) -> Array:
    """Return the largest gain of any step, for each simulated line."""
    sound = norms > NOTHING
    gains = products[sound] ** 2 / norms[sound, None]
    largest: Array = gains.max(axis=0, initial=0.0)
    return largest


def _lengths(least: int, count: int) -> list[int]:
    """Return lengths of a level between two steps, each half as long again."""
    lengths = [least]
    while lengths[-1] <= count:
        lengths.append(lengths[-1] + max(1, lengths[-1] // 2))
    return [length for length in lengths if length <= count - 2]


def _joined(ratios: Sequence[Ratio], order: Sequence[str]) -> set[str | None]:
    """Return the commits that measurements join: the set with most of the order."""
    names = dict.fromkeys(name for row in ratios for name in (row.base, row.head))
    number = {name: i for i, name in enumerate(names)}
    rows = [number[row.base] for row in ratios]
    columns = [number[row.head] for row in ratios]
    shape = (len(names), len(names))
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    _, labels = connected_components(graph, directed=False)
    known = [number[name] for name in order if name in number]
    if not known:
        return set()
    most = np.bincount(labels[known]).argmax()
    return {name for name in names if labels[number[name]] == most}
