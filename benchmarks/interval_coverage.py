"""How often the interval of a time covers the truth: simulated and stored visits.

`python -m benchmarks.interval_coverage [RUN.jsonl …]` prints one line per case. A
simulated visit's calls share a part of their noise (correlation 0.15 within a visit)
and 5 % of all calls take 1.2 to 2 times as long; its value is the median of its calls.
The truth is the centre of the distribution of such values (its Hodges-Lehmann estimate
over many visits). From stored runs, whole visits are drawn with replacement, and the
truth is the estimate from all of them. Neighbouring visits may be correlated: the
correlation is printed, and its effect on the coverage of simulated visits.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_bench.experiments.speed.cells import SpeedSamples
from resnet_bench.statistics.estimates import exponential, hodges_lehmann
from resnet_bench.store.reading import read_run

Values = NDArray[np.float64]

TRIALS = 2_000
MANY_VISITS = 100_000
NOISE = 0.05
WITHIN_VISITS = 0.15
OUTLIERS = 0.05
PHASES = ("forward", "backward", "step", "inference")


def visits(random: np.random.Generator, count: int, calls: int, carry: float) -> Values:
    """Return the values of simulated visits; `carry` correlates each with the last."""
    shared = random.normal(size=count) * np.sqrt(WITHIN_VISITS)
    for each in range(1, count if carry else 1):
        fresh = np.sqrt(1 - carry**2)
        shared[each] = carry * shared[each - 1] + fresh * shared[each]
    own = random.normal(size=(count, calls)) * np.sqrt(1 - WITHIN_VISITS)
    seconds = np.exp(NOISE * (shared[:, None] + own))
    slow = random.random((count, calls)) < OUTLIERS
    seconds[slow] *= random.uniform(1.2, 2.0, int(slow.sum()))
    middle: Values = np.median(seconds, axis=1)
    return middle


def covered(draw: Callable[[], Values], truth: float) -> float:
    """Return the share of trials whose interval holds the truth."""
    hits = 0
    for _ in range(TRIALS):
        interval = exponential(hodges_lehmann(np.log(draw())))
        hits += interval.low <= truth <= interval.high
    return hits / TRIALS


def made_up(random: np.random.Generator) -> Iterator[str]:
    """Yield a line per number of visits, calls in each, and correlation between."""
    for calls in (1, 3, 10):
        many = np.log(visits(random, MANY_VISITS, calls, 0.0))
        # The median of averages of pairs, over pairs drawn at random.
        pairs = (random.permutation(many) + random.permutation(many)) / 2
        truth = float(np.exp(np.median(pairs)))
        for count in (6, 10, 20, 40):
            for carry in (0.0, 0.3):
                draw = partial(visits, random, count, calls, carry)
                yield (
                    f"{count:3} visits of {calls:2} calls, correlation of neighbours "
                    f"{carry:.1f}: {covered(draw, truth):.1%}"
                )


def stored(paths: Sequence[Path], random: np.random.Generator) -> Iterator[str]:
    """Yield a line per number of visits, over all phases of all rows."""
    series = [each for path in paths for each in _series(path)]
    for count in (6, 10, 15):
        enough = [values for values in series if len(values) >= count]
        shares = []
        for values in enough:
            truth = float(np.exp(hodges_lehmann(np.log(values)).estimate))
            hits = 0
            for _ in range(200):
                drawn = random.choice(values, count)
                interval = exponential(hodges_lehmann(np.log(drawn)))
                hits += interval.low <= truth <= interval.high
            shares.append(hits / 200)
        if shares:
            drawn_from = f"{count:3} visits drawn from {len(enough)} stored series"
            yield f"{drawn_from}: {np.mean(shares):.1%}"
    neighbours = [np.corrcoef(v[:-1], v[1:])[0, 1] for v in series if len(v) >= 10]
    if neighbours:
        yield (
            "correlation of neighbouring visits, median of "
            f"{len(neighbours)} series: {np.nanmedian(neighbours):.2f}"
        )


def _series(path: Path) -> Iterator[Values]:
    rows = read_run(path if path.is_dir() else path.parent).rows(SpeedSamples)
    cells = dict.fromkeys(row["cell"] for row in rows)
    for cell in cells:
        for phase in PHASES:
            values = [
                float(np.median(row[f"{phase}_seconds"]))
                for row in rows
                if row["cell"] == cell and row[f"{phase}_seconds"]
            ]
            if len(values) >= 6:
                yield np.array(values)


def main() -> None:
    """Print both tables."""
    random = np.random.default_rng(0)
    for line in (*made_up(random), *stored([Path(p) for p in sys.argv[1:]], random)):
        print(line)


if __name__ == "__main__":
    main()
