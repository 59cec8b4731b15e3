"""Figures of what happens inside: gradients and deletions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from resnet_bench.experiments.degradation.claims.evidence_part import Evidence
from resnet_bench.experiments.degradation.claims.judging import number
from resnet_bench.experiments.degradation.records import (
    LayerGradient,
    Lesion,
)
from resnet_bench.experiments.degradation.view.frames import (
    ARMS,
    MARKERS,
    arithmetic,
    number_ticks,
    over_seeds,
    titled,
    whiskers,
)
from resnet_bench.experiments.degradation.view.frames_part import record_frame
from resnet_bench.present.theme import ARM_COLOURS
from resnet_bench.store.reading import Run

#: Moments that the heat map shows, with what they are called.
MOMENTS = {"0": "before training", "end": "at the end of training"}

#: Powers of ten at which the colours of the heat map end.
LEAST_DECADES = 1.0


def gradient_map(run: Run) -> Figure | None:
    """Draw ||dL/dx|| at every block's input over that at the last block's."""
    frame = record_frame(run.rows(LayerGradient))
    if frame.empty:
        return None
    ratios = block_ratios(frame)
    moments = [moment for moment in MOMENTS if moment in set(ratios["moment"])]
    depths = sorted(set(ratios["depth"]))
    height = 1.9 + len(moments) * (0.7 + 0.42 * len(depths))
    title = "Does the gradient fade on its way down? Colour: size relative to the top"
    made = titled(run, title, width=9.6, height=height)
    grid = made.subplots(len(moments), 2, squeeze=False, sharex=True, sharey=True)
    reach = max(LEAST_DECADES, float(ratios["decades"].abs().max()))
    shades = Normalize(-reach, reach)
    for row, moment in enumerate(moments):
        for column, arm in enumerate(ARMS):
            axes = grid[row][column]
            chosen = (ratios["moment"] == moment) & (ratios["arm"] == arm)
            _map(axes, ratios[chosen], depths, shades)
            axes.set_title(f"{arm}, {MOMENTS[moment]}", fontsize=10)
            if row == len(moments) - 1:
                axes.set_xlabel("place in the network (bottom → top)")
        grid[row][0].set_ylabel("depth (layers)")
    _colour_bar(made, shades)
    return made


def block_ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """Return for each arm, depth, moment and block the seeds' mean log10 ratio.

    Columns: `arm`, `depth`, `moment`, `block` and `decades`.
    """
    enters = frame["block"].notna() & frame["name"].str.endswith("conv1")
    known = frame[enters & (frame["input_gradient_norm"] > 0)]
    network = ["arm", "depth", "moment", "seed"]
    top = known.sort_values("block").groupby(network)["input_gradient_norm"]
    decades = np.log10(known["input_gradient_norm"] / top.transform("last"))
    placed = known.assign(decades=decades)
    keys = ["arm", "depth", "moment", "block"]
    return placed.groupby(keys)["decades"].mean().reset_index()


def _map(
    axes: Axes, frame: pd.DataFrame, depths: Sequence[int], shades: Normalize
) -> None:
    """Draw a strip of colour per depth, its ratio of bottom over top beside it."""
    for place, depth in enumerate(depths):
        strip = frame[frame["depth"] == depth].sort_values("block")
        if strip.empty:
            continue
        edges = np.linspace(0, 1, len(strip) + 1)
        sides = [place - 0.42, place + 0.42]
        axes.pcolormesh(
            edges,
            sides,
            [strip["decades"]],
            cmap="RdBu_r",
            norm=shades,
            rasterized=True,
        )
        ratio = number(float(10 ** strip["decades"].iloc[0]))
        axes.annotate(
            f"x {ratio}",
            (1.0, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(depths)), [str(depth) for depth in depths])
    axes.set_xticks([0, 1], ["first\nblock", "last\nblock"])
    axes.set_xlim(0, 1)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)


def _colour_bar(made: Figure, shades: Normalize) -> None:
    from matplotlib.cm import ScalarMappable

    bar = made.colorbar(
        ScalarMappable(shades, "RdBu_r"), ax=made.axes, shrink=0.9, pad=0.03
    )
    reach = int(np.floor(shades.vmax or LEAST_DECADES))
    step = max(1, reach // 3)
    ticks = list(range(-reach // step * step, reach + 1, step))
    ticks = [tick for tick in ticks if abs(tick) <= reach]
    bar.set_ticks(ticks, labels=[number(10.0**tick) for tick in ticks])
    bar.set_label("||dL/dx|| relative to the last block\n(x: first block over last)")
    bar.outline.set_visible(False)


def lesions(run: Run) -> Figure | None:
    """Draw what deleting each block costs, and what deleting or swapping several."""
    evidence = Evidence(run)
    frame = record_frame(run.rows(Lesion))
    depths = {arm: evidence.deepest_trained(arm) for arm in ARMS}
    chosen = [
        frame[(frame["arm"] == arm) & (frame["depth"] == depth)]
        for arm, depth in depths.items()
        if depth and not frame.empty
    ]
    shown = pd.concat(chosen) if chosen else pd.DataFrame()
    if shown.empty:
        return None
    names = {arm: f"{arm}-{depth}" for arm, depth in depths.items() if depth}
    title = "Delete a block of a trained network (deepest that trained)"
    made = titled(run, title, width=9.6, height=4.8)
    single, several = made.subplots(1, 2, sharey=True)
    for arm, name in names.items():
        of_arm = shown[shown["arm"] == arm]
        _single_deletions(single, of_arm[of_arm["damage"] == "delete"], arm, name)
        _several(several, of_arm, arm)
    single.set_xlabel("place of the deleted block (0 bottom, 1 top)")
    single.set_ylabel("error rises by (percentage points)")
    single.set_title("one block deleted; thin: a seed, thick: mean", fontsize=10)
    several.set_xlabel("number of blocks deleted or swapped (log scale)")
    several_of = shown[shown["damage"] == "delete-many"]
    number_ticks(several, sorted(set(several_of["count"])) or [1])
    several.set_title("several deleted (line) or swapped (dotted), 95 %", fontsize=10)
    for axes in (single, several):
        axes.grid(axis="y")
        axes.set_ylim(-4, 100)
    made.legend(loc="outside right upper")
    return made


def _single_deletions(axes: Axes, frame: pd.DataFrame, arm: str, name: str) -> None:
    blocks = [indices[0] for indices in frame["blocks"]]
    last = max((frame["depth"].max() - 2) // 2 - 1, 1)
    placed = frame.assign(place=np.asarray(blocks) / last)
    colour = ARM_COLOURS[arm]
    for _, seed in placed.groupby("seed"):
        ordered = seed.sort_values("place")
        axes.plot(
            ordered["place"],
            ordered["error_rise_percent"],
            color=colour,
            linewidth=0.7,
            alpha=0.5,
        )
    mean = placed.groupby("place")["error_rise_percent"].mean()
    axes.plot(
        mean.index,
        mean,
        color=colour,
        marker=MARKERS[arm],
        markersize=4.5,
        linewidth=2,
        label=name,
    )


def _several(axes: Axes, frame: pd.DataFrame, arm: str) -> None:
    """Draw the mean over draws; swaps stand a little aside, not to hide deletions."""
    shown = (("delete-many", "-", 1, 1.0), ("swap", ":", 2, 1.05))
    for damage, style, blocks_each, aside in shown:
        of_kind = frame[frame["damage"] == damage]
        keys = ["seed", "count"]
        by_seed = of_kind.groupby(keys)["error_rise_percent"].mean().reset_index()
        points = over_seeds(by_seed, ("count",), "error_rise_percent", arithmetic)
        if points.empty:
            continue
        whiskers(
            axes,
            points.assign(touched=points["count"] * blocks_each * aside),
            "touched",
            (0.0, 100.0),
            color=ARM_COLOURS[arm],
            marker=MARKERS[arm],
            linestyle=style,
            elinewidth=1.0,
        )
