"""How often `history` errs, simulated: changes seen that are none, and changes missed.

    python -m benchmarks.level_changes          # the tables of docs/history.md

A simulated series has 30 commits, with no step or one of 7, 10 or 15 %, five or more
commits from either end. It is measured in one of these ways:

- runs: every commit once by itself, as `speed` runs are, with 3, 7 or 15 % noise;
- chain: every commit against its parent in 12 pairs of processes, as `check` does;
- rounds: eight pairs of each commit and an earlier one, as `history --measure` does.

Pairs have a spread of 7 or 15 %; or of 2 %, and in every tenth one of the two processes
is 6 to 21 % slower for its whole life. Exits with 1 if `history` breaks a promise.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log1p

from benchmarks.gate_power import (
    LARGEST_OUTLIER,
    OUTLIERS,
    SMALLEST_OUTLIER,
    printed,
)
from resnet_bench.gate.lineage import planned_links
from resnet_bench.statistics.levels import Line, Ratio

SERIES = 500
COMMITS = 30
FROM_THE_ENDS = 5

#: A change is placed that is seen at most so many commits away.
NEAR = 2

CHECK_PAIRS, ROUNDS = 12, 8

NAMES = [str(number) for number in range(COMMITS)]


@dataclass(frozen=True)
class Situation:
    """Series measured in one way; `step` is what they become slower by, once."""

    way: str
    spread: float
    step: float = 0.0
    outliers: float = 0.0

    def links(self) -> list[tuple[str | None, str]]:
        """Return what is measured: base and head of each measurement."""
        if self.way == "runs":
            return [(None, name) for name in NAMES]
        if self.way == "chain":
            neighbours = pairwise(NAMES)
            return [link for link in neighbours for _ in range(CHECK_PAIRS)]
        return list(planned_links(NAMES, ROUNDS))

    def series(self, draw: random.Random, place: int) -> Line:
        """Return one series whose step, if any, comes with the commit at `place`."""

        def level(name: str | None) -> float:
            return log1p(self.step) if name and int(name) >= place else 0.0

        ratios = [
            Ratio(base, head, level(head) - level(base) + self.noise(draw))
            for base, head in self.links()
        ]
        return Line(ratios, NAMES)

    def noise(self, draw: random.Random) -> float:
        """Return the error of one measurement's logarithm."""
        unlucky = draw.random() < self.outliers
        far = draw.uniform(SMALLEST_OUTLIER, LARGEST_OUTLIER) if unlucky else 0.0
        return draw.gauss(0.0, self.spread) + draw.choice((-1, 1)) * log1p(far)


@dataclass(frozen=True)
class Shares:
    """How many series show a change, just one, and one near the step's place."""

    any: float
    one: float
    placed: float


def simulated(situation: Situation, series: int = SERIES) -> Shares:
    """Return what becomes of so many series of the situation."""
    draw = random.Random(1)
    seen = one = placed = 0
    for _ in range(series):
        place = draw.randint(FROM_THE_ENDS, COMMITS - FROM_THE_ENDS)
        changes = situation.series(draw, place).changes()
        seen += bool(changes)
        one += len(changes) == 1
        placed += any(abs(change.place - place) <= NEAR for change in changes)
    return Shares(seen / series, one / series, placed / series)


MOST_FALSE = 0.05
LEAST_PLACED = 0.95

PROMISED_QUIET = (
    Situation("runs", 0.03),
    Situation("runs", 0.07),
    Situation("runs", 0.15),
    Situation("chain", 0.07),
    Situation("chain", 0.15),
    Situation("rounds", 0.07),
    Situation("rounds", 0.15),
    Situation("rounds", 0.02, outliers=OUTLIERS),
)
PROMISED_PLACED = (
    Situation("runs", 0.03, 0.10),
    Situation("rounds", 0.07, 0.10),
    Situation("rounds", 0.02, 0.10, OUTLIERS),
)

STEPS = (0.0, 0.07, 0.10, 0.15)


def kept(situation: Situation, shares: Shares) -> bool:
    """Whether what is promised of the situation, if anything, came out so."""
    if situation in PROMISED_QUIET:
        return shares.any <= MOST_FALSE
    return situation not in PROMISED_PLACED or shares.placed >= LEAST_PLACED


def lines() -> Iterator[str]:
    """Yield the lines of the table, then one for each promise that is not kept."""
    yield "| measured | spread | step | any change | one | placed within 2 commits |"
    yield "|---|---|---|---|---|---|"
    broken = []
    for quiet in PROMISED_QUIET:
        for step in STEPS:
            situation = Situation(quiet.way, quiet.spread, step, quiet.outliers)
            shares = simulated(situation)
            far = ", outliers" if quiet.outliers else ""
            row = f"| {quiet.way} | {quiet.spread:.0%}{far} | "
            row += f"{step:.0%} | " if step else "none | "
            row += f"{shares.any:.1%} | {shares.one:.1%} | "
            row += f"{shares.placed:.1%} |" if step else "— |"
            yield row
            if not kept(situation, shares):
                broken.append(row)
    for row in broken:
        yield f"promise not kept: {row}"


if __name__ == "__main__":
    raise SystemExit(printed(lines()))
