"""Where a step's time goes by part of the network, and what explains it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from resnet_bench.analysis.statistics import ratio_interval
from resnet_bench.analysis.tables import Table
from resnet_bench.experiments.speed.cells import BREAKDOWNS, title_of
from resnet_bench.experiments.speed.records import BreakdownSamples
from resnet_bench.experiments.speed.view_tables import bounded
from resnet_bench.intervals import Interval, median_interval
from resnet_bench.store.reading import Run

DIRECTIONS = ("forward", "backward")

#: The interval of the parts' sum over the whole meets this range, or the table says
#: that it does not.
CLOSURE_RANGE = (0.95, 1.05)


@dataclass(frozen=True)
class Breakdown:
    """The parts of one model, with the visits that timed them."""

    parameters: Mapping[str, Any]
    visits: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """What tables call the model."""
        variant = self.parameters["variant"]
        if variant is None:
            return str(self.parameters["model"])
        return title_of(int(variant), self.parameters["architecture"])

    @property
    def parts(self) -> list[str]:
        """The parts in the order of the forward pass."""
        return list(self.visits[0]["parts"])

    def interval(self, part: str, direction: str) -> Interval:
        """Return the median seconds of a part in one direction."""
        field = f"{direction}_seconds"
        samples = chain.from_iterable(visit[field][part] for visit in self.visits)
        return median_interval(list(samples))

    def seconds(self, part: str) -> float:
        """Return a part's forward and backward seconds together."""
        return sum(self.interval(part, each).estimate for each in DIRECTIONS)

    def work(self, part: str, name: str) -> int:
        """Return a part's multiply-adds or activations per image."""
        return int(self.visits[0][name][part])

    def closure(self, direction: str) -> Interval:
        """Return the parts' sum over the whole, paired by round."""
        sums = [
            sum(median(samples) for samples in visit[f"{direction}_seconds"].values())
            for visit in self.visits
        ]
        wholes = [median(visit[f"whole_{direction}_seconds"]) for visit in self.visits]
        return ratio_interval(sums, wholes)

    @cached_property
    def explanation(self) -> "Explanation":
        """How far multiply-adds and activations explain the parts' times."""
        return explained(self)


@dataclass(frozen=True)
class Explanation:
    """A fit of time = a x multiply-adds + b x activations, both at least 0.

    `seconds_per_gmac` and `seconds_per_million_activations` are per batch; `r_squared`
    is the share of the parts' variance that the fit explains.
    """

    seconds_per_gmac: float
    seconds_per_million_activations: float
    r_squared: float


def explained(breakdown: Breakdown) -> Explanation:
    """Fit the parts' times by non-negative least squares."""
    times = np.array([breakdown.seconds(part) for part in breakdown.parts])
    work = np.array(
        [
            [
                breakdown.work(part, "multiply_adds") / 1e9,
                breakdown.work(part, "activations") / 1e6,
            ]
            for part in breakdown.parts
        ]
    )
    factors, residual = nnls(work, times)
    spread = float(((times - times.mean()) ** 2).sum())
    share = 1 - float(residual) ** 2 / spread if spread else 1.0
    return Explanation(float(factors[0]), float(factors[1]), share)


def breakdowns_of(run: Run) -> list[Breakdown]:
    """Return the breakdowns that the run holds, in grid order."""
    visits: dict[str, list[Mapping[str, Any]]] = {}
    for row in run.rows(BreakdownSamples):
        visits.setdefault(row["cell"], []).append(row)
    return [
        Breakdown(parameters, visits[key])
        for key, parameters in run.grid.items()
        if parameters["measure"] in BREAKDOWNS.values() and key in visits
    ]


def breakdown_table(run: Run) -> Table | None:
    """Return the table of parts; None for a run that did not look at them."""
    found = breakdowns_of(run)
    if not found:
        return None
    lines = [_line(breakdown, part) for breakdown in found for part in breakdown.parts]
    frame = pd.DataFrame(lines, dtype=object)
    return Table(
        name="breakdown",
        title="Where the time goes, by part of the network",
        frame=frame,
        narrow=[
            "model",
            "part",
            "forward_seconds",
            "backward_seconds",
            "share_fraction",
            "gmac",
            "million_activations",
        ],
        notes=[note for breakdown in found for note in notes_of(breakdown)],
        headers={"million_activations": "activations\n1e6", "gmac": "work"},
    )


def _line(breakdown: Breakdown, part: str) -> dict[str, Any]:
    total = sum(breakdown.seconds(each) for each in breakdown.parts)
    columns: dict[str, Any] = {
        "model": breakdown.name,
        "batch_size": breakdown.parameters["batch_size"],
        "part": part,
    }
    for direction in DIRECTIONS:
        columns |= bounded(f"{direction}_seconds", breakdown.interval(part, direction))
    columns["share_fraction"] = breakdown.seconds(part) / total
    columns["gmac"] = breakdown.work(part, "multiply_adds") / 1e9
    columns["million_activations"] = breakdown.work(part, "activations") / 1e6
    return columns


def notes_of(breakdown: Breakdown) -> list[str]:
    """Return whether the parts add up, and what explains their times."""
    low, high = CLOSURE_RANGE
    notes = []
    for direction in DIRECTIONS:
        closure = breakdown.closure(direction)
        outside = closure.high < low or closure.low > high
        verdict = ", which is not the whole" if outside else ""
        notes.append(
            f"{breakdown.name}, {direction}: the parts' sum is "
            f"{closure.estimate:.3f} [{closure.low:.3f}, {closure.high:.3f}] "
            f"of the whole{verdict}."
        )
    fit = breakdown.explanation
    notes.append(
        f"{breakdown.name}: {fit.seconds_per_gmac * 1e3:.2f} ms per GMAC and "
        f"{fit.seconds_per_million_activations * 1e3:.2f} ms per million activations "
        f"explain {fit.r_squared:.0%} of the parts' differences."
    )
    return notes


def breakdown_json(run: Run) -> list[dict[str, Any]]:
    """Return the parts of each model for machines, in seconds."""
    return [
        {
            "variant": breakdown.parameters["variant"],
            "model": breakdown.parameters["model"],
            "architecture": breakdown.parameters["architecture"],
            "batch_size": breakdown.parameters["batch_size"],
            "part": part,
            **{
                direction: breakdown.interval(part, direction).estimate
                for direction in DIRECTIONS
            },
            "multiply_adds": breakdown.work(part, "multiply_adds"),
            "activations": breakdown.work(part, "activations"),
        }
        for breakdown in breakdowns_of(run)
        for part in breakdown.parts
    ]
