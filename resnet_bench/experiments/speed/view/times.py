"""Figures of `speed`: phases of a step, time against work, images per second."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from resnet_bench.experiments.speed.cells import (
    CEILING_FIELDS,
    NOISY_HALF_WIDTH,
    ceiling_of,
    phase_field,
)
from resnet_bench.experiments.speed.settings import PROTOCOLS, interval_of
from resnet_bench.experiments.speed.view.rows import (
    MISSING,
    PHASES,
    RATES,
    RATIO_PHASES,
    SpeedRow,
    conditions,
    described,
    labels,
    varying,
)
from resnet_bench.present import theme
from resnet_bench.present.tables import Table
from resnet_bench.statistics.estimates import percentile
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: Columns of the terminal's table, those tried first that the run can fill; beside
#: the model, the setting and the verdict. `inference` alone makes room for more.
TRAIN_COLUMNS = (
    "forward_seconds",
    "backward_seconds",
    "step_seconds",
    "inference_seconds",
    "train_images_per_second",
    "train_peak_memory_bytes",
)
INFERENCE_COLUMNS = (
    "inference_seconds",
    "inference_images_per_second",
    "inference_peak_memory_bytes",
    "gmac",
    "efficiency_fraction",
)
HEADERS = {
    "inference_seconds": "infer",
    "train_images_per_second": "train",
    "inference_images_per_second": "infer",
    "train_peak_memory_bytes": "memory",
    "inference_peak_memory_bytes": "infer memory",
    "efficiency_fraction": "of ceiling",
    "gmac": "work",
    "gflop": "work",
    "mac_ratio": "mac",
}

RATIO_NOTE = (
    "mac: multiply-adds over the first row's. Of ceiling: FLOP/s of the forward pass "
    "over the fastest matrix product or convolution measured in the same run."
)

EXPLANATIONS = {
    "failed": "the cell raised an error",
    "oom": "out of memory; the batch is never made smaller",
    "closure-failed": "forward, loss, backward and optimizer do not add up to the "
    "step within 5 %",
    "not-warmed-up": "times had not settled when sampling began",
    "throttled": "the processor's clock was held down",
    "oversubscribed": "other work, or more threads than cores, took the processor",
    "host-bound": "the GPU waited for the CPU",
    "noisy": f"an interval is wider than ±{NOISY_HALF_WIDTH:.0%} or has fewer than 6 "
    "samples",
    MISSING: "not measured yet",
}


def frame_of(rows: Sequence[SpeedRow]) -> pd.DataFrame:
    """Return everything that is known of the rows, a line each, in SI units."""
    return pd.DataFrame([_frame_row(row, rows) for row in rows], dtype=object)


def _frame_row(row: SpeedRow, rows: Sequence[SpeedRow]) -> dict[str, Any]:
    differ = varying(rows)
    columns: dict[str, Any] = {
        "model": row.name,
        **({"setting": described(row.parameters, differ)} if differ else {}),
        "shortcut": row.parameters["shortcut"],
        **row.settings,
        **row.work,
    }
    for phase in PHASES:
        columns |= bounded(phase_field(phase), row.phase(phase), counted=True)
        columns |= {
            f"{phase}_{name}": seconds
            for name, seconds in percentiles(row, phase).items()
        }
    columns |= {"first_call_seconds": row.first_call_seconds}
    for name in RATES:
        columns |= bounded(name, row.interval(name))
    columns |= row.peak_memory
    columns |= bounded("closure", row.closure)
    columns |= {"efficiency_fraction": row.efficiency}
    for phase in RATIO_PHASES:
        columns |= _ratio(row, rows[0], phase)
    columns |= {"warmup_converged": row.warmup_converged}
    return columns | {"flags": row.flags, "verdict": row.verdict}


def _ratio(row: SpeedRow, first: SpeedRow, phase: str) -> dict[str, float | None]:
    """Return a ratio's columns; that of the first row to itself has no bounds."""
    if row is first:
        return {f"{phase}_ratio": 1.0 if row.phase(phase) else None}
    return bounded(f"{phase}_ratio", row.ratio_to(first, phase))


def percentiles(row: SpeedRow, phase: str) -> dict[str, float | None]:
    """Return p90 and p99 of a phase, None where the samples cannot carry them."""
    samples = row.samples(phase_field(phase))
    return {
        f"p{percent}_seconds": percentile(samples, percent) if samples else None
        for percent in (90, 99)
    }


def bounded(
    name: str, interval: Interval | None, *, counted: bool = False
) -> dict[str, float | None]:
    """Return an interval as the columns of a frame; one sample bounds nothing."""
    columns: dict[str, float | None] = dict.fromkeys(
        (name, f"{name}_low", f"{name}_high")
    )
    if interval is not None:
        told = interval.samples > 1
        columns[name] = interval.estimate
        columns[f"{name}_low"] = interval.low if told else -math.inf
        columns[f"{name}_high"] = interval.high if told else math.inf
    if counted:
        phase = name.removesuffix("_seconds")
        columns[f"{phase}_samples"] = interval.samples if interval else 0
    return columns


def json_of(interval: Interval | None) -> dict[str, Any] | None:
    """Return an interval as JSON, null for none."""
    return None if interval is None else interval.json


def times_table(
    run: Run, rows: Sequence[SpeedRow], notes: Sequence[str] | None = None
) -> Table:
    """Return the main table; every column is in its frame."""
    frame = frame_of(rows)
    return Table(
        name="times",
        title=f"Speed on {conditions(run, rows)}",
        frame=frame,
        narrow=_narrow(frame, rows),
        notes=footers(run, rows) if notes is None else notes,
        headers=HEADERS,
    )


def _narrow(frame: pd.DataFrame, rows: Sequence[SpeedRow]) -> list[str]:
    trains = any(row.parameters["mode"] != "infer" for row in rows)
    wanted = TRAIN_COLUMNS if trains else INFERENCE_COLUMNS
    first = ["model", "setting"] if varying(rows) else ["model"]
    known = [name for name in wanted if not frame[name].isna().all()] or wanted[:1]
    return [*first, *known[: 7 - len(first)], "verdict"]


def ratios_table(rows: Sequence[SpeedRow]) -> Table:
    """Return times over those of the first row, beside the ratio of their work."""
    frame = frame_of(rows)
    frame["mac_ratio"] = pd.Series(_work_ratios(rows), dtype=object)
    names = [f"{phase}_ratio" for phase in RATIO_PHASES]
    known = [name for name in names if not frame[name].isna().all()]
    first = ["model", "setting"] if varying(rows) else ["model"]
    narrow = [*first, *known, "mac_ratio", "efficiency_fraction"]
    bounds = [f"{name}_{side}" for name in known for side in ("low", "high")]
    of_means = all(row.statistic == "mean" for row in rows)
    how = "means over means" if of_means else "paired by round"
    return Table(
        name="ratios",
        title=f"Times over those of {rows[0].name}, {how}",
        frame=frame[[*narrow, *bounds]],
        narrow=narrow,
        notes=[RATIO_NOTE],
        headers={**HEADERS, **{name: name.removesuffix("_ratio") for name in names}},
    )


def _work_ratios(rows: Sequence[SpeedRow]) -> list[float | None]:
    work = [row.work["gmac"] for row in rows]
    return [value / work[0] if value and work[0] else None for value in work]


def footers(run: Run, rows: Sequence[SpeedRow]) -> list[str]:
    """Return what has to be known to read the numbers."""
    followed = dict.fromkeys(row.parameters.get("protocol") for row in rows)
    kinds = dict.fromkeys(map(interval_of, followed))
    notes = [
        "The interval, in brackets or as ± its wider side, is the 95 % interval of the "
        f"{' or '.join(kinds)} within this process; another process may differ by more "
        "('resnet-bench noise' measures it)."
    ]
    notes += [PROTOCOLS[name].boundaries for name in followed if name in PROTOCOLS]
    flags = dict.fromkeys(flag for row in rows for flag in row.flags)
    notes += [f"{flag}: {EXPLANATIONS.get(flag, 'see notes')}." for flag in flags]
    notes += [f"{row.name}: {row.error}" for row in rows if row.error]
    return [*notes, *_ceiling_notes(rows), *_memory_notes(run, rows)]


def _memory_notes(run: Run, rows: Sequence[SpeedRow]) -> list[str]:
    """Say what a program of one's own has to set to be as fast, if anything."""
    variables = run.environment.get("variables") or {}
    on_cpu = any(row.parameters["device"] == "cpu" for row in rows)
    if not on_cpu or "mmap_threshold" not in variables.get("GLIBC_TUNABLES", ""):
        return []
    return [
        "Freed memory was kept, on huge pages (GLIBC_TUNABLES); a program without that "
        "setting is slower by its page faults."
    ]


def _ceiling_notes(rows: Sequence[SpeedRow]) -> list[str]:
    roofs = {ceiling_of(row.parameters): row for row in rows if row.ceilings}
    differ = [name for name in CEILING_FIELDS if name in varying(rows)]
    each = [
        (described(row.parameters, differ), _ceilings_in_words(row.ceilings))
        for row in roofs.values()
    ]
    said = "; ".join(f"{where}: {what}" if where else what for where, what in each)
    return [f"Ceilings measured here: {said}."] if said else []


def _ceilings_in_words(found: Mapping[str, Interval]) -> str:
    words = {"matrix_product": "product", "convolution": "convolution", "copy": "copy"}
    return ", ".join(
        f"{words[kind]} {interval.estimate / 1e9:,.3g} "
        f"{'GB/s' if kind == 'copy' else 'GFLOP/s'}"
        for kind, interval in found.items()
    )


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
