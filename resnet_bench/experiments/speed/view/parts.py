"""Figures of the parts of a network: where time goes, and what explains it."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from resnet_bench.experiments.speed.view.breakdown import (
    DIRECTIONS,
    UNIT_NAMES,
    WORK_UNITS,
    Breakdown,
    Explanation,
    breakdowns_of,
)
from resnet_bench.experiments.speed.view.rows import described, shared, varying
from resnet_bench.present import theme
from resnet_bench.present.machine import machine_title
from resnet_bench.store.reading import Run

MILLISECONDS = 1e3
STRENGTHS = {"forward": 1.0, "backward": 0.5}


def explanation_figures(run: Run) -> dict[str, Figure]:
    """Return the figures of a run with a breakdown, by file name."""
    found = breakdowns_of(run)
    if not found:
        return {}
    return {
        "parts": parts_figure(run, found),
        "time-explained": explained_figure(run, found),
    }


def _conditions(run: Run, found: Sequence[Breakdown]) -> str:
    device = str(run.config.get("device") or "cpu")
    machine = machine_title(run.environment, device)
    return f"{machine}\n{shared(found)}, random images and weights"


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
    handles = [
        Patch(facecolor=theme.tint(theme.NEUTRAL, strength), label=direction)
        for direction, strength in STRENGTHS.items()
    ]
    made.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return made


def _part_bars(axes: Axes, breakdown: Breakdown, colour: str) -> None:
    parts = breakdown.parts
    axes.set_yticks(range(len(parts)), [theme.drawable(part) for part in parts])
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    for y, part in enumerate(parts):
        left = 0.0
        for direction in DIRECTIONS:
            interval = breakdown.interval(part, direction)
            width = interval.estimate * MILLISECONDS
            shade = theme.tint(colour, STRENGTHS[direction])
            below = (interval.estimate - interval.low) * MILLISECONDS
            above = (interval.high - interval.estimate) * MILLISECONDS
            axes.barh(y, width, 0.7, left, color=shade, edgecolor="white", lw=0.8)
            left += width
            axes.errorbar(
                [left], [y], xerr=[[below], [above]], color="#111111", capsize=2, lw=1
            )


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
    handles: list[Any] = [
        panels[0].plot(
            [],
            [],
            theme.marker_of(each.identity),
            color=colours[each.identity],
            label=theme.drawable(label),
        )[0]
        for each, label in zip(found, _labels(found), strict=True)
    ]
    made.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return made


def _explained(axes: Axes, breakdown: Breakdown, fit: Explanation, colour: str) -> None:
    """Draw one model's parts and the line that the fit says they lie on."""
    parts = breakdown.parts
    names = list(fit.seconds_per_unit)
    if len(names) == 1:
        places = [
            breakdown.work(part, names[0]) / WORK_UNITS[names[0]] for part in parts
        ]
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
