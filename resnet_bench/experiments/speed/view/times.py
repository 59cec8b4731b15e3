"""Figures of `speed`: phases of a step, time against work, images per second."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from resnet_bench.experiments.speed.view.row import SpeedRow
from resnet_bench.experiments.speed.view.rows import conditions, labels
from resnet_bench.present import theme
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: Phases of the stacked bars, and how strong each one's colour is.
STACKED = {"forward": 1.0, "backward": 0.6, "optimizer": 0.25}

MILLISECONDS = 1e3
BAR_HEIGHT = 0.62

#: Half of a letter's width, as a share of the axis of the largest work.
LETTER_SHARE = 0.011


def figures(run: Run, rows: Sequence[SpeedRow]) -> dict[str, Figure]:
    """Return the figures that the run's rows can fill, by file name."""
    made: dict[str, Figure] = {}
    trained = [row for row in rows if row.phase("step")]
    timed = [row for row in rows if row.phase("step") or row.phase("inference")]
    if trained:
        made["phases"] = phases_figure(run, trained)
    if len({row.known("multiply_adds") for row in timed} - {None}) > 1:
        made["time-against-work"] = work_figure(run, timed)
    if timed:
        made["images-per-second"] = throughput_figure(run, timed)
    return made


def _bars(title: str, rows: Sequence[SpeedRow], x: str, per_row: float) -> Figure:
    height = 1.5 + per_row * len(rows)
    made = theme.figure(title, height=height)
    axes = theme.axes(made, x=x, y="")
    names = [theme.drawable(label) for label in labels(rows)]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return made


def _error(
    axes: Axes, at: float, y: float, interval: Interval, scale: float = 1.0
) -> None:
    """Draw an interval as a horizontal bar around `at`, in scaled units."""
    below = (interval.estimate - interval.low) * scale
    above = (interval.high - interval.estimate) * scale
    axes.errorbar(
        [at], [y], xerr=[[below], [above]], color="#111111", capsize=3, lw=1.1
    )


def amount(value: float) -> str:
    """Return a value with at least three digits, large ones whole."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _beside(axes: Axes, text: str, x: float, y: float) -> None:
    """Write a bar's value beside its end."""
    axes.annotate(
        text, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=9
    )


def phases_figure(run: Run, rows: Sequence[SpeedRow]) -> Figure:
    """Return forward, backward and optimizer stacked, each end with its interval."""
    title = f"Where the time of a training step goes · {conditions(run, rows)}"
    made = _bars(title, rows, "time per step (ms)", 0.55)
    axes = made.axes[0]
    colours = theme.palette(row.identity for row in rows)
    for y, row in enumerate(rows):
        end = _stack(axes, y, row, colours[row.identity])
        step = row.phase("step")
        if step is not None:
            text = f"{amount(step.estimate * MILLISECONDS)} ms"
            _beside(axes, text, max(end, step.estimate * MILLISECONDS), y)
            axes.plot([step.estimate * MILLISECONDS], [y], "|", color="#111111", ms=17)
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    handles: list[Any] = [
        Patch(facecolor=theme.tint(theme.NEUTRAL, strength), label=phase)
        for phase, strength in STACKED.items()
    ]
    handles.append(
        axes.plot([], [], "|", color="#111111", ms=12, label="whole step")[0]
    )
    _legend_below(made, handles)
    return made


def _stack(axes: Axes, y: int, row: SpeedRow, colour: str) -> float:
    """Draw one row's phases; returns where the drawing ends, in milliseconds.

    That is past the last bar where an interval reaches further. A text beyond
    everything drawn would be left out.
    """
    left = furthest = 0.0
    for phase, strength in STACKED.items():
        interval = row.phase(phase)
        if interval is None:
            continue
        width = interval.estimate * MILLISECONDS
        shade = theme.tint(colour, strength)
        axes.barh(y, width, BAR_HEIGHT, left, color=shade, edgecolor="white", lw=0.8)
        left += width
        _error(axes, left, y, interval, MILLISECONDS)
        above = (interval.high - interval.estimate) * MILLISECONDS
        furthest = max(furthest, left + above)
    return furthest


def _legend_below(on: Figure, handles: Sequence[Any]) -> None:
    on.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def work_figure(run: Run, rows: Sequence[SpeedRow]) -> Figure:
    """Return time per image against multiply-adds, training and inference."""
    title = f"Time against work · {conditions(run, rows)}"
    made = theme.figure(title, height=4.4)
    axes = theme.axes(made, x="work per image, forward (GMAC)", y="time per image (ms)")
    axes.grid(visible=True)
    colours = theme.palette(row.identity for row in rows)
    for phase, filled in (("step", True), ("inference", False)):
        drawn = [row for row in rows if row.phase(phase) and row.known("multiply_adds")]
        _proportional(axes, drawn, phase)
        for row in drawn:
            _point(axes, row, phase, colours[row.identity], filled=filled)
    known = [row for row in rows if row.known("multiply_adds")]
    _name_models(axes, known)
    axes.margins(0.12)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    _legend_below(made, _work_legend(axes, known))
    return made


def _per_image(row: SpeedRow) -> float:
    return MILLISECONDS / float(row.parameters["batch_size"])


def _gmac(row: SpeedRow) -> float:
    return float(row.known("multiply_adds")) / 1e9


def _point(axes: Axes, row: SpeedRow, phase: str, colour: str, *, filled: bool) -> None:
    interval = row.phase(phase)
    if interval is None:
        return
    scale = _per_image(row)
    y = interval.estimate * scale
    axes.errorbar(
        [_gmac(row)],
        [y],
        yerr=[
            [(interval.estimate - interval.low) * scale],
            [(interval.high - interval.estimate) * scale],
        ],
        marker=theme.marker_of(row.identity),
        markersize=8,
        markerfacecolor=colour if filled else "white",
        markeredgewidth=1.6,
        color=colour,
        capsize=4,
        zorder=3,
    )


def _name_models(axes: Axes, rows: Sequence[SpeedRow]) -> None:
    """Write each model's name once, above its slowest point."""
    slowest: dict[int | str, SpeedRow] = {}
    for row in rows:
        known = slowest.get(row.identity, row)
        slowest[row.identity] = max(known, row, key=_highest)
    widest = max(map(_gmac, slowest.values()))
    for row in slowest.values():
        # A name that starts at the left edge must not run over the axis.
        at_edge = _gmac(row) < LETTER_SHARE * len(row.name) * widest
        axes.annotate(
            theme.drawable(row.name),
            (_gmac(row), _highest(row)),
            (-6 if at_edge else 0, 11),
            textcoords="offset points",
            ha="left" if at_edge else "center",
            fontsize=9,
        )


def _highest(row: SpeedRow) -> float:
    """Return the upper bound of the row's highest point, ms per image."""
    interval = row.phase("step") or row.phase("inference")
    return interval.high * _per_image(row) if interval else 0.0


def _proportional(axes: Axes, rows: Sequence[SpeedRow], phase: str) -> None:
    """Draw where the times would lie if they grew with the work alone."""
    if len(rows) < 2:
        return
    first, most = rows[0], max(map(_gmac, rows))
    interval = first.phase(phase)
    if interval is None:
        return
    slope = interval.estimate * _per_image(first) / _gmac(first)
    axes.plot([0, most], [0, slope * most], ls=(0, (4, 4)), color="#999999", lw=1)


def _work_legend(axes: Axes, rows: Sequence[SpeedRow]) -> list[Any]:
    grey = theme.NEUTRAL
    handles = []
    if any(row.phase("step") for row in rows):
        handles += axes.plot([], [], "o", color=grey, ms=8, label="training step")
    if any(row.phase("inference") for row in rows):
        handles += axes.plot(
            [], [], "o", color=grey, mfc="white", mew=1.6, ms=8, label="inference"
        )
    if len(rows) > 1:
        label = f"if time grew with work, from {theme.drawable(rows[0].name)}"
        handles += axes.plot([], [], ls=(0, (4, 4)), color="#999999", label=label)
    return handles


def throughput_figure(run: Run, rows: Sequence[SpeedRow]) -> Figure:
    """Return images per second, training and inference, with intervals."""
    title = f"Images per second · {conditions(run, rows)}"
    made = _bars(title, rows, "images per second", 0.75)
    axes = made.axes[0]
    colours = theme.palette(row.identity for row in rows)
    kinds = [
        kind
        for kind in ("train", "inference")
        if any(row.interval(f"{kind}_images_per_second") for row in rows)
    ]
    height = 0.76 / max(1, len(kinds))
    for y, row in enumerate(rows):
        for index, kind in enumerate(kinds):
            interval = row.interval(f"{kind}_images_per_second")
            offset = y + (index - (len(kinds) - 1) / 2) * height
            if interval is not None:
                strength = 1.0 if kind == "train" else 0.5
                colour = theme.tint(colours[row.identity], strength)
                _throughput_bar(axes, offset, height * 0.92, interval, colour)
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    strengths = {"train": 1.0, "inference": 0.5}
    _legend_below(
        made,
        [
            Patch(facecolor=theme.tint(theme.NEUTRAL, strengths[kind]), label=kind)
            for kind in kinds
        ],
    )
    return made


def _throughput_bar(
    axes: Axes, y: float, height: float, interval: Interval, colour: str
) -> None:
    axes.barh(y, interval.estimate, height, color=colour)
    told = math.isfinite(interval.high)
    if told:
        _error(axes, interval.estimate, y, interval)
    end = interval.high if told else interval.estimate
    _beside(axes, amount(interval.estimate), end, y)
