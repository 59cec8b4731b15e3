"""The parts of a network: where the time goes, and what work explains it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import nnls

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.speed.cells import (
    BREAKDOWNS,
    BreakdownSamples,
)
from resnet_bench.experiments.speed.view.drawing import (
    MILLISECONDS,
    legend_below,
    name_bars,
    sample,
    shades,
    stacked_bar,
    whisker,
)
from resnet_bench.experiments.speed.view.rows import (
    Measured,
    described,
    machine_of,
    name_columns,
    shared,
    varying,
)
from resnet_bench.experiments.speed.view.tables import bounded, named
from resnet_bench.experiments.speed.view.verdicts import (
    CLOSURE_RANGE,
    EXPLANATIONS,
    contradicts,
    worst_first,
)
from resnet_bench.present import theme
from resnet_bench.present.numbers import bracketed
from resnet_bench.present.tables import Table
from resnet_bench.statistics.estimates import ratio_of_visits, time_interval
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

DIRECTIONS = ("forward", "backward")

#: What a part's time is explained by: a quantity of its work, and the unit of it that
#: one coefficient is told for.
WORK_UNITS = {"multiply_adds": 1e9, "activations": 1e6}
UNIT_NAMES = {"multiply_adds": "GMAC", "activations": "million activations"}


@dataclass(frozen=True)
class Breakdown(Measured):
    """The parts of one model, with the visits that timed them."""

    visits: Sequence[Mapping[str, Any]]

    @property
    def parts(self) -> list[str]:
        """The parts in the order of the forward pass."""
        return list(self.visits[0]["parts"])

    def blocks(self, part: str) -> int | None:
        """Return how many residual blocks a part has; None for one without any."""
        variant, stage = self.parameters["variant"], part.removeprefix("layer")
        if variant is None or stage == part:
            return None
        return 1 if "." in stage else VARIANTS[variant].blocks[int(stage) - 1]

    def interval(self, part: str, direction: str) -> Interval:
        """Return the seconds of a part in one direction, over visits."""
        field = f"{direction}_seconds"
        return time_interval([median(visit[field][part]) for visit in self.visits])

    def seconds(self, part: str) -> float:
        """Return a part's forward and backward seconds together."""
        return sum(self.interval(part, each).estimate for each in DIRECTIONS)

    def block_seconds(self, part: str) -> float | None:
        """Return forward and backward seconds of each of a part's residual blocks."""
        blocks = self.blocks(part)
        return self.seconds(part) / blocks if blocks else None

    def work(self, part: str, name: str) -> int:
        """Return a part's multiply-adds or activations per image."""
        return int(self.visits[0][name][part])

    def units(self, part: str, name: str) -> float:
        """Return a part's work in the units that one coefficient is told for."""
        return self.work(part, name) / WORK_UNITS[name]

    def closure(self, direction: str) -> Interval:
        """Return the parts' sum over the whole, paired by round."""
        sums = [
            sum(median(samples) for samples in visit[f"{direction}_seconds"].values())
            for visit in self.visits
        ]
        wholes = [median(visit[f"whole_{direction}_seconds"]) for visit in self.visits]
        return ratio_of_visits(sums, wholes)

    @property
    def verdict(self) -> str:
        """The worst flag: the parts are certainly not the whole, or a visit's own."""
        flags = {flag for visit in self.visits for flag in visit.get("flags") or ()}
        if any(contradicts(self.closure(direction)) for direction in DIRECTIONS):
            flags.add("closure-failed")
        return next(iter(worst_first(flags)), "ok")

    @cached_property
    def explanations(self) -> "list[Explanation]":
        """How far multiply-adds, activations and both explain the parts' times."""
        alone = [(name,) for name in WORK_UNITS]
        return [explained(self, names) for names in (*alone, tuple(WORK_UNITS))]

    @property
    def json(self) -> dict[str, Any]:
        """The parts for machines, in seconds."""
        return {
            **self.model,
            **self.settings,
            "closure": {each: self.closure(each).json for each in DIRECTIONS},
            "verdict": self.verdict,
            "explained_by": [fit.json for fit in self.explanations],
            "parts": [self._json_part(part) for part in self.parts],
        }

    def _json_part(self, part: str) -> dict[str, Any]:
        return {
            "part": part,
            **{each: self.interval(part, each).json for each in DIRECTIONS},
            "blocks": self.blocks(part),
            "block_seconds": self.block_seconds(part),
            **{name: self.work(part, name) for name in WORK_UNITS},
        }


@dataclass(frozen=True)
class Explanation:
    """A fit of the parts' times by a sum of coefficients times work, none below 0.

    `seconds_per_unit` is per batch, by quantity, in the units of WORK_UNITS;
    `r_squared` is the share of the parts' variance that the fit explains, `predicted`
    the seconds that it gives to each part.
    """

    seconds_per_unit: Mapping[str, float]
    r_squared: float
    predicted: Mapping[str, float]

    @property
    def words(self) -> str:
        """The fit as a person reads it."""
        terms = [
            f"{seconds * 1e3:.2f} ms per {UNIT_NAMES[name]}"
            for name, seconds in self.seconds_per_unit.items()
        ]
        return f"{' and '.join(terms)} (R² {self.r_squared:.2f})"

    @property
    def json(self) -> dict[str, Any]:
        """The fit for machines."""
        factors = {
            f"{WORK_UNITS[name]:.0e} {name}": seconds
            for name, seconds in self.seconds_per_unit.items()
        }
        return {"seconds_per_unit": factors, "r_squared": self.r_squared}


def explained(breakdown: Breakdown, names: Sequence[str]) -> Explanation:
    """Fit the parts' times to some quantities by non-negative least squares."""
    parts = breakdown.parts
    times = np.array([breakdown.seconds(part) for part in parts])
    work = np.array([[breakdown.units(part, name) for name in names] for part in parts])
    factors, residual = nnls(work, times)
    spread = float(((times - times.mean()) ** 2).sum())
    return Explanation(
        seconds_per_unit=dict(zip(names, map(float, factors), strict=True)),
        r_squared=1 - float(residual) ** 2 / spread if spread else 1.0,
        predicted=dict(zip(parts, map(float, work @ factors), strict=True)),
    )


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


def breakdown_table(found: Sequence[Breakdown]) -> Table | None:
    """Return the table of parts; None for a run that did not look at them."""
    if not found:
        return None
    differ = varying(found)
    lines = [_line(each, part, differ) for each in found for part in each.parts]
    frame = pd.DataFrame(lines, dtype=object)
    first = named(frame)
    wanted = ["part", "forward_seconds", "backward_seconds", "share_fraction"]
    wanted += ["block_seconds", "gmac", "million_activations"][len(first) - 1 :]
    return Table(
        name="breakdown",
        title="Where the time goes, by part of the network",
        frame=frame,
        narrow=[*first, *wanted],
        notes=[
            "Per block: forward and backward of one residual block.",
            *(note for breakdown in found for note in notes_of(breakdown)),
        ],
        headers={
            "million_activations": "activations\n1e6",
            "gmac": "work",
            "block_seconds": "per block",
        },
    )


def _line(breakdown: Breakdown, part: str, differ: Sequence[str]) -> dict[str, Any]:
    total = sum(breakdown.seconds(each) for each in breakdown.parts)
    columns: dict[str, Any] = {
        **name_columns(breakdown, differ),
        **breakdown.settings,
        "part": part,
    }
    for direction in DIRECTIONS:
        columns |= bounded(f"{direction}_seconds", breakdown.interval(part, direction))
    columns["share_fraction"] = breakdown.seconds(part) / total
    columns["blocks"] = breakdown.blocks(part)
    columns["block_seconds"] = breakdown.block_seconds(part)
    columns["gmac"] = breakdown.units(part, "multiply_adds")
    columns["million_activations"] = breakdown.units(part, "activations")
    return columns | {"verdict": breakdown.verdict}


def notes_of(breakdown: Breakdown) -> list[str]:
    """Return whether the parts add up, and what explains their times."""
    closures = {direction: breakdown.closure(direction) for direction in DIRECTIONS}
    sums = ", ".join(
        f"{direction} {bracketed(each, '{:.3f}'.format)}"
        for direction, each in closures.items()
    )
    lowest, highest = CLOSURE_RANGE
    flag, outside = breakdown.verdict, f"outside of {lowest} to {highest}"
    why = outside if flag == "closure-failed" else EXPLANATIONS.get(flag)
    failed = f"; {flag}: {why}" if why else ""
    fits = [each.words for each in breakdown.explanations]
    return [
        f"{breakdown.name}: the parts' sum over the whole is {sums}{failed}.",
        f"{breakdown.name}: times explained by {'; by '.join(fits)}.",
    ]


#: How dark the bars of each direction are.
SHADES = {"forward": 1.0, "backward": 0.5}


def part_figures(run: Run, found: Sequence[Breakdown]) -> dict[str, Figure]:
    """Return the figures of a run with a breakdown, by file name."""
    if not found:
        return {}
    return {
        "parts": parts_figure(run, found),
        "time-explained": explained_figure(run, found),
    }


def _conditions(run: Run, found: Sequence[Breakdown]) -> str:
    return f"{machine_of(run)}\n{shared(found)}, random images and weights"


def _labels(found: Sequence[Breakdown]) -> list[str]:
    differ = varying(found)
    return [
        ", ".join(filter(None, [each.name, described(each.parameters, differ)]))
        for each in found
    ]


def parts_figure(run: Run, found: Sequence[Breakdown]) -> Figure:
    """Return forward and backward of each part as bars, with intervals."""
    parts = sum(len(each.parts) for each in found)
    title = f"Where the time goes, by part · {_conditions(run, found)}"
    made = theme.figure(title, height=1.8 + 0.27 * parts + 0.3 * len(found))
    colours = theme.palette(each.identity for each in found)
    ratios = [len(each.parts) for each in found]
    panels = made.subplots(
        len(found), sharex=True, squeeze=False, height_ratios=ratios
    )[:, 0]
    for axes, each, label in zip(panels, found, _labels(found), strict=True):
        axes.set_title(theme.drawable(label))
        _part_bars(axes, each, colours[each.identity])
    panels[-1].set_xlabel("time per step (ms)")
    return legend_below(made, shades(SHADES))


def _part_bars(axes: Axes, breakdown: Breakdown, colour: str) -> None:
    parts = breakdown.parts
    name_bars(axes, parts)
    for y, part in enumerate(parts):
        left = 0.0
        for direction in DIRECTIONS:
            time = breakdown.interval(part, direction).times(MILLISECONDS)
            shade = theme.tint(colour, SHADES[direction])
            stacked_bar(axes, y, left, time.estimate, 0.7, shade)
            left += time.estimate
            whisker(axes, left, y, time, capsize=2, lw=1)


def explained_figure(run: Run, found: Sequence[Breakdown]) -> Figure:
    """Return the parts' times against multiply-adds, activations, and both."""
    title = f"What explains a part's time · {_conditions(run, found)}"
    made = theme.figure(title, width=9.6, height=4.2)
    panels = made.subplots(1, len(WORK_UNITS) + 1, sharey=True)
    names = [*UNIT_NAMES.values(), "ms that both together explain"]
    colours = theme.palette(each.identity for each in found)
    for number, (axes, name) in enumerate(zip(panels, names, strict=True)):
        axes.set_xlabel(name if number == len(WORK_UNITS) else f"{name} per image")
        axes.grid(visible=True)
        for each in found:
            _explained(axes, each, each.explanations[number], colours[each.identity])
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left", handlelength=1.5)
    panels[0].set_ylabel("forward and backward of a part (ms)")
    models = [
        sample(label, theme.marker_of(each.identity), colours[each.identity])
        for each, label in zip(found, _labels(found), strict=True)
    ]
    return legend_below(made, models)


def _explained(axes: Axes, breakdown: Breakdown, fit: Explanation, colour: str) -> None:
    """Draw one model's parts and the line that the fit says they lie on."""
    parts = breakdown.parts
    names = list(fit.seconds_per_unit)
    if len(names) == 1:
        places = [breakdown.units(part, names[0]) for part in parts]
        slope = fit.seconds_per_unit[names[0]] * MILLISECONDS
    else:
        places = [fit.predicted[part] * MILLISECONDS for part in parts]
        slope = 1.0
    times = [breakdown.seconds(part) * MILLISECONDS for part in parts]
    axes.plot(places, times, theme.marker_of(breakdown.identity), color=colour)
    axes.plot(
        [0, max(places)],
        [0, slope * max(places)],
        color=colour,
        lw=1,
        ls=(0, (4, 3)),
        label=f"R² {fit.r_squared:.2f}",
    )
