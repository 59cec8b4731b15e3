"""Several runs of one setting as one time, and what another process may take."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from scipy import stats

from resnet_bench.catalogue import TORCH
from resnet_bench.experiments.speed.view.rows import SWITCHES
from resnet_bench.gate.compare import DEVIATIONS
from resnet_bench.gate.spreads import ASSUMED_PROCESS_SPREAD
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.checking import naming
from resnet_bench.store.reading import Run

#: A row of a speed run, as its JSON holds it.
Row = Mapping[str, Any]

#: More runs of one setting than these are not pooled; the newest count.
MOST_RUNS = 5

#: How many degrees of freedom the spread known beforehand is worth.
PRIOR_FREEDOM = 4

#: Flags of times that something disturbed; they count where nothing else is known.
DISTURBED = frozenset(
    {"not-warmed-up", "drifting", "stopped", "throttled", "oversubscribed", "noisy"}
)

#: Times of runs are pooled where all of this is equal, beside Python and variables.
LIBRARIES = (
    *("torch", "torchvision", "cuda", "hip", "cudnn"),
    *("blas", "mkl", "onednn", "openmp", "triton"),
)
SETTINGS = ("variant", "device", "batch_size", "image_size", "dtype", "threads")


@dataclass(frozen=True)
class Observed:
    """A row, and the run that it is of; equal software has equal `software`."""

    row: Row
    run: str
    commit: str | None = None
    software: str = ""

    @property
    def day(self) -> str:
        """The day of the run (UTC) as `2026-11-27`."""
        return f"{self.run[:4]}-{self.run[4:6]}-{self.run[6:8]}"


def observed_in(run: Run, rows: Iterable[Row]) -> list[Observed]:
    """Return the rows of a run with what decides whether they may be pooled.

    Raises OddContentError.
    """
    with naming(run):
        return _observed_in(run, rows)


def _observed_in(run: Run, rows: Iterable[Row]) -> list[Observed]:
    known = run.environment
    libraries = known.get("libraries") or {}
    software = {
        "python": known.get("python"),
        "variables": known.get("variables") or {},
        **{name: libraries.get(name) for name in LIBRARIES},
    }

    def software_of(row: Row) -> str:
        runtime = row.get("runtime") or TORCH
        own = {runtime: libraries.get(runtime)}
        return json.dumps({**software, **own}, sort_keys=True)

    commit = run.header.get("commit")
    return [Observed(row, run.id, commit, software_of(row)) for row in rows]


@dataclass(frozen=True)
class Timed:
    """An observed row with its seconds."""

    observed: Observed
    seconds: Interval

    @property
    def flaws(self) -> list[str]:
        """Why it counts only where there is nothing better."""
        few = [] if self.seconds.bounded else ["fewer than six visits"]
        return [*_disturbed(self.observed.row), *few]

    @property
    def logarithm(self) -> float:
        """The logarithm of its seconds."""
        return math.log(self.seconds.estimate)

    @property
    def variance(self) -> float:
        """The variance of the logarithm within the run, 0 where it is not known."""
        if not self.seconds.bounded or self.seconds.low <= 0:
            return 0.0
        width = math.log(self.seconds.high / self.seconds.low)
        return (width / (2 * DEVIATIONS)) ** 2


@dataclass(frozen=True)
class Pool:
    """The rows that count for one setting, the newest run first; never empty.

    `newer` are those of the setting that are newer than these and do not count.
    """

    timed: Sequence[Timed]
    newer: Sequence[Timed] = ()

    @property
    def row(self) -> Row:
        """The newest row, whose setting all share."""
        return self.timed[0].observed.row

    @property
    def bounded(self) -> bool:
        """Whether the rows had visits enough for bounds (six)."""
        return all(each.seconds.bounded for each in self.timed)

    @property
    def visits(self) -> int:
        """How many visits all rows had."""
        return sum(each.seconds.samples for each in self.timed)

    @property
    def runs(self) -> list[str]:
        """The runs of the rows."""
        return [each.observed.run for each in self.timed]

    @property
    def verdict(self) -> str | None:
        """The verdict that most of the rows have."""
        verdicts = [each.observed.row.get("verdict") for each in self.timed]
        return max(verdicts, key=verdicts.count)

    @property
    def squares(self) -> float:
        """The squared differences of the logarithms from their mean, added up."""
        logarithms = [each.logarithm for each in self.timed]
        middle = fmean(logarithms)
        return sum((each - middle) ** 2 for each in logarithms)

    def slowest_tenth(self, call: str) -> float | None:
        """Return p90 of a call over its time, where a row knows it, else None."""
        known = [
            math.log(p90) - each.logarithm
            for each in self.timed
            if (p90 := _p90(each.observed.row, call))
        ]
        return math.exp(fmean(known)) if known else None


def _p90(row: Row, call: str) -> float | None:
    found = (row.get("percentiles") or {}).get(call) or {}
    return found.get("p90_seconds")


def pools_of(
    observed: Iterable[Observed], seconds_of: Callable[[Row], Interval | None]
) -> list[Pool]:
    """Return a pool for each setting that has a time."""
    settings: dict[tuple[Any, ...], dict[str, Timed]] = {}
    for each in sorted(observed, key=lambda each: each.run, reverse=True):
        seconds = seconds_of(each.row)
        if seconds is not None:
            timed = Timed(each, seconds)
            settings.setdefault(_setting(each.row), {}).setdefault(each.run, timed)
    return [_pool(list(timed.values())) for timed in settings.values()]


def _setting(row: Row) -> tuple[Any, ...]:
    """Return what rows of one pool share; a switch that is not known is off.

    What older runs switched on by a variable is told apart by their software.
    """
    known = (row.get(name) for name in SETTINGS)
    switches = (bool(row.get(name)) for name in SWITCHES)
    return (*known, row.get("runtime") or TORCH, *switches)


def _pool(timed: Sequence[Timed]) -> Pool:
    """Return the times that count for a setting, newest first, of one software.

    Those disturbed or without bounds count only where there are no others; the newest
    of what is left decides the software.
    """
    calm = [each for each in timed if not _disturbed(each.observed.row)] or timed
    good = [each for each in calm if each.seconds.bounded] or calm
    software = good[0].observed.software
    same = [each for each in good if each.observed.software == software]
    return Pool(same[:MOST_RUNS], newer=timed[: timed.index(same[0])])


def _disturbed(row: Row) -> list[str]:
    return sorted(DISTURBED.intersection(row.get("flags") or ()))


@dataclass(frozen=True)
class Spread:
    """How much a time's logarithm differs from one process to the next.

    `repeats` counts the degrees of freedom that repeated runs gave; `by_noise` says
    whether `noise` measured what was known beforehand.
    """

    variance: float
    repeats: int
    by_noise: bool

    @property
    def freedom(self) -> int:
        """The degrees of freedom of the variance."""
        return PRIOR_FREEDOM + self.repeats

    @property
    def deviation(self) -> float:
        """The standard deviation of the logarithm."""
        return math.sqrt(self.variance)

    @property
    def sentence(self) -> str:
        """How much processes differ, and how that is known."""
        sources = ["the newest noise run"] if self.by_noise else []
        if self.repeats:
            sources.append("the differences between runs of equal settings")
        known = f"known from {' and '.join(sources)}"
        assumed = "assumed; 'resnet-bench noise' or more runs measure it"
        return (
            "From one process to the next, times differ by "
            f"{100 * self.deviation:.1f} % (standard deviation), "
            f"{known if sources else assumed}."
        )


def spread_between(pools: Sequence[Pool], pair_spread: float | None) -> Spread:
    """Return the spread between processes, from what was known and from the pools.

    `pair_spread` is the standard deviation of the log-ratio of two processes that
    `noise` measured, None where it never ran; a process has half of its variance.
    Pools without bounds are not used.
    """
    told = [pool for pool in pools if pool.bounded]
    repeats = sum(len(pool.timed) - 1 for pool in told)
    prior = PRIOR_FREEDOM * (pair_spread or ASSUMED_PROCESS_SPREAD) ** 2 / 2
    squares = sum(pool.squares for pool in told)
    variance = (prior + squares) / (PRIOR_FREEDOM + repeats)
    return Spread(variance, repeats, by_noise=bool(pair_spread))


@dataclass(frozen=True)
class Expected:
    """The time that another process takes: Student's t on its logarithm."""

    seconds: float
    deviation: float
    freedom: int
    visits: int
    bounded: bool

    @property
    def interval(self) -> Interval:
        """The time with the bounds that 95 % of processes keep, infinite if unknown."""
        if not self.bounded:
            return Interval(self.seconds, -math.inf, math.inf, self.visits)
        factor = math.exp(float(stats.t.ppf(0.975, self.freedom)) * self.deviation)
        bounds = self.seconds / factor, self.seconds * factor
        return Interval(self.seconds, *bounds, self.visits)

    def chance(self, seconds: float) -> float:
        """Return how probable it is that another process takes no longer."""
        distance = math.log(seconds / self.seconds) / self.deviation
        return float(stats.t.cdf(distance, self.freedom))


def expected(pool: Pool, spread: Spread) -> Expected:
    """Return what a pool says of another process.

    Runs are weighed by their own variance and the spread between processes together.
    """
    weights = [1 / (each.variance + spread.variance) for each in pool.timed]
    total = sum(weights)
    weighed = (w * each.logarithm for w, each in zip(weights, pool.timed, strict=True))
    return Expected(
        seconds=math.exp(sum(weighed) / total),
        deviation=math.sqrt(spread.variance + 1 / total),
        freedom=spread.freedom,
        visits=pool.visits,
        bounded=pool.bounded,
    )
