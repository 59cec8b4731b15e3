"""Figures of a run's rows: phases of a step, images per second, time against work.

The roofline sets FLOP/s reached against FLOP per byte, below the measured ceilings
(Williams, Waterman and Patterson, "Roofline", 2009). Its bytes are counted, not
measured: weights once per call, and what every operator reads and writes per image.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from resnet_bench.experiments.speed.cells import CEILING_FIELDS, ceiling_of
from resnet_bench.experiments.speed.view.drawing import (
    BLACK,
    MILLISECONDS,
    STRENGTHS,
    bar_chart,
    end_of,
    legend_below,
    limit_axis,
    look_of,
    point,
    sample,
    shades,
    stacked_bar,
    whisker,
)
from resnet_bench.experiments.speed.view.rows import (
    SpeedRow,
    conditions,
    described,
    labels,
    place,
    varying,
)
from resnet_bench.present import theme
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: Phases of the stacked bars, and how strong each one's colour is.
STACKED = {"forward": 1.0, "backward": 0.6, "optimizer": 0.25}
BAR_HEIGHT = 0.62

#: The calls of which time is set against work, and whether their markers are filled.
TIMED = {"step": True, "inference": False}

#: Half of a letter's width, as a share of the axis of the largest work.
LETTER_SHARE = 0.011

#: Phases that do the work of a forward pass, and whether their markers are filled.
FORWARD = {"forward": True, "inference": False}

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
GIGA = 1e9
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
PROPORTIONAL: dict[str, Any] = {"ls": (0, (4, 4)), "color": "#999999"}


def row_figures(run: Run, rows: Sequence[SpeedRow]) -> dict[str, Figure]:
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
    below_roofs = [row for row in timed if intensity_of(row) and row.ceiling]
    if below_roofs:
        made["roofline"] = roofline_figure(run, below_roofs)
    return made


def phases_figure(run: Run, rows: Sequence[SpeedRow]) -> Figure:
    """Return forward, backward and optimizer stacked, each end with its interval."""
    title = f"Where the time of a training step goes · {conditions(run, rows)}"
    made = bar_chart(title, labels(rows), "time per step (ms)", 0.55)
    axes = made.axes[0]
    colours = theme.palette(row.identity for row in rows)
    steps: list[float] = []
    for y, row in enumerate(rows):
        end = _stack(axes, y, row, colours[row.identity])
        step = row.phase("step")
        if step is not None:
            at = step.estimate * MILLISECONDS
            _beside(axes, f"{amount(at)} ms", min(max(end, at), 1.5 * at), y)
            axes.plot([at], [y], "|", color=BLACK, ms=17)
            steps.append(at)
    axes.margins(x=0.16)
    limit_axis(axes, steps)
    whole = sample("whole step", "|", BLACK, ms=12)
    return legend_below(made, [*shades(STACKED), whole])


def _stack(axes: Axes, y: int, row: SpeedRow, colour: str) -> float:
    """Draw one row's phases; returns where the drawing ends, in milliseconds.

    That is past the last bar where an interval reaches further. A text beyond
    everything drawn would be left out.
    """
    left = furthest = 0.0
    for phase, strength in STACKED.items():
        seconds = row.phase(phase)
        if seconds is None:
            continue
        time = seconds.times(MILLISECONDS)
        shade = theme.tint(colour, strength)
        stacked_bar(axes, y, left, time.estimate, BAR_HEIGHT, shade)
        left += time.estimate
        whisker(axes, left, y, time)
        furthest = max(furthest, left + end_of(time) - time.estimate)
    return furthest


def amount(value: float) -> str:
    """Return a value with at least three digits, large ones whole."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _beside(axes: Axes, text: str, x: float, y: float) -> None:
    """Write a bar's value beside its end."""
    axes.annotate(
        text, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=9
    )


def throughput_figure(run: Run, rows: Sequence[SpeedRow]) -> Figure:
    """Return images per second, training and inference, with intervals."""
    title = f"Images per second · {conditions(run, rows)}"
    made = bar_chart(title, labels(rows), "images per second", 0.75)
    axes = made.axes[0]
    colours = theme.palette(row.identity for row in rows)
    strengths = {
        kind: strength
        for kind, strength in STRENGTHS.items()
        if any(row.interval(f"{kind}_images_per_second") for row in rows)
    }
    height = 0.76 / max(1, len(strengths))
    rates: list[float] = []
    for y, row in enumerate(rows):
        for index, (kind, strength) in enumerate(strengths.items()):
            interval = row.interval(f"{kind}_images_per_second")
            offset = y + (index - (len(strengths) - 1) / 2) * height
            if interval is not None:
                colour = theme.tint(colours[row.identity], strength)
                axes.barh(offset, interval.estimate, height * 0.92, color=colour)
                rates.append(interval.estimate)
                _name_rate(axes, offset, interval)
    axes.margins(x=0.14)
    limit_axis(axes, rates)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    return legend_below(made, shades(strengths))


def _name_rate(axes: Axes, y: float, interval: Interval) -> None:
    whisker(axes, interval.estimate, y, interval)
    end = min(end_of(interval), 1.5 * interval.estimate)
    _beside(axes, amount(interval.estimate), end, y)


def work_figure(run: Run, rows: Sequence[SpeedRow]) -> Figure:
    """Return time per image against multiply-adds, training and inference."""
    title = f"Time against work · {conditions(run, rows)}"
    made = theme.figure(title, height=4.4)
    axes = theme.axes(made, x="work per image, forward (GMAC)", y="time per image (ms)")
    axes.grid(visible=True)
    colours = theme.palette(row.identity for row in rows)
    known = [row for row in rows if row.known("multiply_adds")]
    for phase, filled in TIMED.items():
        drawn = [(row, time) for row in known if (time := row.phase(phase))]
        _proportional(axes, drawn)
        for row, time in drawn:
            look = look_of(row.identity, colours[row.identity], filled=filled)
            style = {"markersize": 8, "markeredgewidth": 1.6, "capsize": 4, "zorder": 3}
            point(axes, _gmac(row), time.times(_per_image(row)), **look, **style)
    _name_models(axes, known)
    axes.margins(0.12)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return legend_below(made, _work_legend(axes, known))


def _gmac(row: SpeedRow) -> float:
    return float(row.known("multiply_adds")) / GIGA


def _per_image(row: SpeedRow) -> float:
    """Return what makes a call's seconds milliseconds per image."""
    return MILLISECONDS / int(row.parameters["batch_size"])


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
    """Return where the row's highest point is drawn to, ms per image."""
    interval = row.phase("step") or row.phase("inference")
    return end_of(interval) * _per_image(row) if interval else 0.0


def _proportional(axes: Axes, drawn: Sequence[tuple[SpeedRow, Interval]]) -> None:
    """Draw where the times would lie if they grew with the work alone."""
    if len(drawn) > 1:
        first, time = drawn[0]
        most = max(_gmac(row) for row, _ in drawn)
        slope = time.estimate * _per_image(first) / _gmac(first)
        axes.plot([0, most], [0, slope * most], **PROPORTIONAL, lw=1)


def _work_legend(axes: Axes, rows: Sequence[SpeedRow]) -> list[Any]:
    handles: list[Any] = []
    if any(row.phase("step") for row in rows):
        handles.append(sample("training step", ms=8))
    if any(row.phase("inference") for row in rows):
        handles.append(sample("inference", mfc="white", mew=1.6, ms=8))
    if len(rows) > 1:
        label = f"if time grew with work, from {theme.drawable(rows[0].name)}"
        handles += axes.plot([], [], **PROPORTIONAL, label=label)
    return handles


def intensity_of(row: SpeedRow) -> float | None:
    """Return FLOP per byte that operators read and write in a forward pass."""
    flop, moved = row.known("flop"), row.known("moved_elements")
    if flop is None or moved is None:
        return None
    images = int(row.parameters["batch_size"])
    elements = int(row.known("parameters")) + images * int(moved)
    return float(flop) * images / (elements * BYTES[row.parameters["dtype"]])


def roofline_figure(run: Run, rows: Sequence[SpeedRow]) -> Figure:
    """Return the rows below the roofs of their number formats, on two log axes."""
    made = theme.figure(f"Roofline of the forward pass · {place(run, rows)}", height=5)
    axes = theme.axes(
        made,
        x="arithmetic intensity (FLOP per byte read or written by operators)",
        y="GFLOP/s",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        theme.plain_log_ticks(axis, "{:,g}".format)
    axes.grid(visible=True, lw=0.5)
    colours = theme.palette(row.identity for row in rows)
    roofs = _roofs(axes, rows)
    for row in rows:
        for phase, filled in FORWARD.items():
            reached, intensity = row.achieved(phase), intensity_of(row)
            if reached is not None and intensity is not None:
                look = look_of(row.identity, colours[row.identity], filled=filled)
                gigaflop = reached.times(1 / GIGA)
                point(axes, intensity, gigaflop, **look, capsize=3, zorder=3)
    handles = [*roofs, *_models(rows, colours), *_forward_passes(rows)]
    return legend_below(made, handles, columns=2)


def _roofs(axes: Axes, rows: Sequence[SpeedRow]) -> list[Any]:
    """Draw the roof of each number format and number of threads."""
    most = max(intensity for row in rows if (intensity := intensity_of(row)))
    under = {ceiling_of(row.parameters): row for row in rows}
    differ = [name for name in CEILING_FIELDS if name in varying(rows)]
    lines: list[Any] = []
    for dashes, row in zip(cycle(DASHES), under.values(), strict=False):
        words = described(row.parameters, differ or ["dtype", "tf32"])
        lines += _roof(axes, row, words, dashes, most)
    return lines


def _roof(axes: Axes, row: SpeedRow, words: str, dashes: Any, most: float) -> list[Any]:
    """Draw copy bandwidth rising to the most FLOP/s of a number format."""
    peak, copy = row.ceiling, row.ceilings.get("copy")
    if peak is None or copy is None:
        return []
    ridge = peak.estimate / copy.estimate
    start, end = ridge / 4, max(most * 3, ridge * 4)
    heights = [start * copy.estimate, peak.estimate, peak.estimate]
    return axes.plot(
        [start, ridge, end],
        [each / GIGA for each in heights],
        color=theme.NEUTRAL,
        ls=dashes,
        lw=1.4,
        label=f"{words} roof: {peak.estimate / GIGA:,.0f} GFLOP/s, "
        f"{copy.estimate / GIGA:,.3g} GB/s",
    )


def _models(rows: Sequence[SpeedRow], colours: Mapping[object, str]) -> list[Any]:
    named = {row.identity: row.name for row in rows}
    return [
        sample(name, theme.marker_of(identity), colours[identity])
        for identity, name in named.items()
    ]


def _forward_passes(rows: Sequence[SpeedRow]) -> list[Any]:
    return [
        sample(phase, mfc=theme.NEUTRAL if filled else "white")
        for phase, filled in FORWARD.items()
        if any(row.phase(phase) for row in rows)
    ]
