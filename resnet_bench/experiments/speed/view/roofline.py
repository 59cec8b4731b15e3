"""The roofline: FLOP/s reached against FLOP per byte, below the measured ceilings.

Williams, Waterman and Patterson, "Roofline" (2009). Bytes are counted, not measured:
weights once per call, and what every operator reads and writes per image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.experiments.speed.cells import CEILING_FIELDS, ceiling_of
from resnet_bench.experiments.speed.view.rows import SpeedRow, described, place, varying
from resnet_bench.present import theme
from resnet_bench.store.reading import Run

#: Phases that do the work of a forward pass, and whether their marker is filled.
PHASES = {"forward": True, "inference": False}

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
GIGA = 1e9
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))


def intensity_of(row: SpeedRow) -> float | None:
    """Return FLOP per byte that operators read and write in a forward pass."""
    flop, moved = row.known("flop"), row.known("moved_elements")
    if flop is None or moved is None:
        return None
    images = int(row.parameters["batch_size"])
    elements = int(row.known("parameters")) + images * int(moved)
    return float(flop) * images / (elements * BYTES[row.parameters["dtype"]])


def roofline_figures(run: Run, rows: Sequence[SpeedRow]) -> dict[str, Figure]:
    """Return the figure, by file name, of a run that can fill it."""
    drawn = [row for row in rows if intensity_of(row) and row.ceiling and row.visits]
    return {"roofline": roofline_figure(run, drawn)} if drawn else {}


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
    intensities = [intensity for row in rows if (intensity := intensity_of(row))]
    roofs = {ceiling_of(row.parameters): row for row in rows}
    differ = [name for name in CEILING_FIELDS if name in varying(rows)]
    for dashes, row in zip(DASHES, roofs.values(), strict=False):
        words = described(row.parameters, differ or ["dtype", "tf32"])
        _roof(axes, row, words, dashes, max(intensities))
    _points(axes, rows)
    _legend(made, axes, rows)
    return made


def _roof(axes: Axes, row: SpeedRow, words: str, dashes: Any, most: float) -> None:
    """Draw copy bandwidth rising to the most FLOP/s of a number format."""
    peak, copy = row.ceiling, row.ceilings.get("copy")
    if peak is None or copy is None:
        return
    ridge = peak.estimate / copy.estimate
    start = ridge / 4
    end = max(most * 3, ridge * 4)
    heights = [start * copy.estimate, peak.estimate, peak.estimate]
    axes.plot(
        [start, ridge, end],
        [each / GIGA for each in heights],
        color=theme.NEUTRAL,
        ls=dashes,
        lw=1.4,
        label=f"{words} roof: {peak.estimate / GIGA:,.0f} GFLOP/s, "
        f"{copy.estimate / GIGA:,.3g} GB/s",
    )


def _points(axes: Axes, rows: Sequence[SpeedRow]) -> None:
    colours = theme.palette(row.identity for row in rows)
    for row in rows:
        intensity = intensity_of(row)
        for phase, filled in PHASES.items():
            reached = row.achieved(phase)
            if reached is None or intensity is None:
                continue
            colour = colours[row.identity]
            below = (reached.estimate - reached.low) / GIGA
            above = (reached.high - reached.estimate) / GIGA
            axes.errorbar(
                [intensity],
                [reached.estimate / GIGA],
                yerr=[[below], [above]],
                marker=theme.marker_of(row.identity),
                markerfacecolor=colour if filled else "white",
                color=colour,
                capsize=3,
                zorder=3,
            )


def _legend(made: Figure, axes: Axes, rows: Sequence[SpeedRow]) -> None:
    colours: Mapping[object, str] = theme.palette(row.identity for row in rows)
    named = {row.identity: row for row in rows}
    models = [
        axes.plot(
            [],
            [],
            theme.marker_of(identity),
            color=colours[identity],
            label=theme.drawable(row.name),
        )[0]
        for identity, row in named.items()
    ]
    phases = [
        axes.plot(
            [],
            [],
            "o",
            color=theme.NEUTRAL,
            mfc=theme.NEUTRAL if filled else "white",
            label=phase,
        )[0]
        for phase, filled in PHASES.items()
        if any(row.phase(phase) for row in rows)
    ]
    roofs = [line for line in axes.lines if "roof" in str(line.get_label())]
    handles = [*roofs, *models, *phases]
    made.legend(handles=handles, loc="outside lower center", ncols=2)
