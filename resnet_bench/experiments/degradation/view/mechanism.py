"""Figures of what happens inside networks: gradients, lesions and responses."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from resnet_bench.experiments.degradation.grid import SHORTCUTS
from resnet_bench.experiments.degradation.records import (
    LayerGradient,
    LayerResponse,
    Lesion,
)
from resnet_bench.experiments.degradation.view.frames import (
    Material,
    depth_colours,
    marks,
    number_ticks,
    over_seeds,
    reference_line,
    whiskers,
)
from resnet_bench.present.numbers import compact
from resnet_bench.present.theme import SHORTCUT_COLOURS
from resnet_bench.statistics.estimates import geometric_interval, mean_interval

#: Moments that the heat map shows, with what they are called.
MOMENTS = {"0": "before training", "end": "at the end of training"}

#: Powers of ten at which the colours of the heat map end.
LEAST_DECADES = 1.0

#: What each row of the responses' panels shows, with its axis.
QUANTITIES = {
    "relative_response": "||F(x)|| / ||x|| of a block",
    "response_std": "spread after batch norm",
}


def gradient_map(made: Material) -> Figure | None:
    """Draw ||dL/dx|| at every block's input over that at the last block's."""
    frame = made.records(LayerGradient)
    if frame.empty:
        return None
    ratios = block_ratios(frame)
    moments = [moment for moment in MOMENTS if moment in set(ratios["moment"])]
    depths = sorted(set(ratios["depth"]))
    height = 1.9 + len(moments) * (0.7 + 0.42 * len(depths))
    title = "Does the gradient vanish on its way down? Colour: relative to the top"
    drawn = made.figure(title, width=9.6, height=height)
    grid = drawn.subplots(len(moments), 2, squeeze=False, sharex=True, sharey=True)
    reach = max(LEAST_DECADES, float(ratios["decades"].abs().max()))
    shades = Normalize(-reach, reach)
    for row, moment in enumerate(moments):
        for column, shortcut in enumerate(SHORTCUTS):
            axes = grid[row][column]
            chosen = (ratios["moment"] == moment) & (ratios["shortcut"] == shortcut)
            _map(axes, ratios[chosen], depths, shades)
            axes.set_title(f"{shortcut}, {MOMENTS[moment]}", fontsize=10)
            if row == len(moments) - 1:
                axes.set_xlabel("place in the network (bottom → top)")
        grid[row][0].set_ylabel("depth (layers)")
    _colour_bar(drawn, shades)
    return drawn


def block_ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """Return for each shortcut, depth, moment and block the seeds' mean log10 ratio.

    Columns: `shortcut`, `depth`, `moment`, `block` and `decades`.
    """
    enters = frame["block"].notna() & frame["name"].str.endswith("conv1")
    known = frame[enters & (frame["input_gradient_norm"] > 0)]
    network = ["shortcut", "depth", "moment", "seed"]
    top = known.sort_values("block").groupby(network)["input_gradient_norm"]
    decades = np.log10(known["input_gradient_norm"] / top.transform("last"))
    placed = known.assign(decades=decades)
    keys = ["shortcut", "depth", "moment", "block"]
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
        ratio = compact(float(10 ** strip["decades"].iloc[0]))
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


def _colour_bar(drawn: Figure, shades: Normalize) -> None:
    bar = drawn.colorbar(
        ScalarMappable(shades, "RdBu_r"), ax=drawn.axes, shrink=0.9, pad=0.03
    )
    reach = int(np.floor(shades.vmax or LEAST_DECADES))
    step = max(1, reach // 3)
    ticks = list(range(-reach // step * step, reach + 1, step))
    ticks = [tick for tick in ticks if abs(tick) <= reach]
    bar.set_ticks(ticks, labels=[compact(10.0**tick) for tick in ticks])
    bar.set_label("||dL/dx|| relative to the last block\n(x: first block over last)")
    bar.outline.set_visible(False)


def lesions(made: Material) -> Figure | None:
    """Draw what deleting each block costs, and what deleting or swapping several."""
    evidence = made.evidence
    frame = made.records(Lesion)
    depths = {shortcut: evidence.deepest_trained(shortcut) for shortcut in SHORTCUTS}
    chosen = [
        frame[(frame["shortcut"] == shortcut) & (frame["depth"] == depth)]
        for shortcut, depth in depths.items()
        if depth and not frame.empty
    ]
    shown = pd.concat(chosen) if chosen else pd.DataFrame()
    if shown.empty:
        return None
    names = {
        shortcut: f"{shortcut}-{depth}" for shortcut, depth in depths.items() if depth
    }
    title = "Delete a block of a trained network (deepest that trained)"
    drawn = made.figure(title, width=9.6, height=4.8)
    single, several = drawn.subplots(1, 2, sharey=True)
    for shortcut, name in names.items():
        of_shortcut = shown[shown["shortcut"] == shortcut]
        _single_deletions(
            single, of_shortcut[of_shortcut["damage"] == "delete"], shortcut, name
        )
        _several(several, of_shortcut, shortcut)
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
    drawn.legend(loc="outside right upper")
    return drawn


def _single_deletions(
    axes: Axes, frame: pd.DataFrame, shortcut: str, name: str
) -> None:
    blocks = [indices[0] for indices in frame["blocks"]]
    last = max((frame["depth"].max() - 2) // 2 - 1, 1)
    placed = frame.assign(place=np.asarray(blocks) / last)
    colour = SHORTCUT_COLOURS[shortcut]
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
        **marks(shortcut),
        markersize=4.5,
        linewidth=2,
        label=name,
    )


def _several(axes: Axes, frame: pd.DataFrame, shortcut: str) -> None:
    """Draw the mean over draws; swaps stand a little aside, not to hide deletions."""
    shown = (("delete-many", "-", 1, 1.0), ("swap", ":", 2, 1.05))
    for damage, style, blocks_each, aside in shown:
        of_kind = frame[frame["damage"] == damage]
        keys = ["seed", "count"]
        by_seed = of_kind.groupby(keys)["error_rise_percent"].mean().reset_index()
        points = over_seeds(by_seed, ("count",), "error_rise_percent", mean_interval)
        if points.empty:
            continue
        whiskers(
            axes,
            points.assign(touched=points["count"] * blocks_each * aside),
            "touched",
            (0.0, 100.0),
            linestyle=style,
            elinewidth=1.0,
            **marks(shortcut),
        )


def responses(made: Material) -> Figure | None:
    """Draw how strongly each block and layer answers (He et al. 2015, Fig. 7).

    Above, how much a block changes what it is given; below, the standard deviation
    of every convolution's output after batch norm. Left by place, right by depth.
    """
    frame = made.records(LayerResponse)
    if frame.empty:
        return None
    depths = sorted(set(frame["depth"]))
    colours = depth_colours(depths)
    title = "How much does each block change its input?"
    drawn = made.figure(title, width=11.0, height=7.0)
    grid = drawn.subplots(2, 3, width_ratios=(1, 1, 0.9), sharex="col")
    for row, (field, label) in enumerate(QUANTITIES.items()):
        known = frame.dropna(subset=[field])
        for column, shortcut in enumerate(SHORTCUTS):
            _by_place(
                grid[row][column], known[known["shortcut"] == shortcut], field, colours
            )
        grid[row][0].set_ylabel(label)
        _by_depth(grid[row][2], known, field, depths)
        _same_limits(grid[row][:2])
    for column, shortcut in enumerate(SHORTCUTS):
        grid[0][column].set_title(f"{shortcut}, mean of seeds", fontsize=10)
        grid[1][column].set_xlabel("place in the network (0 bottom, 1 top)")
    grid[0][2].set_title("mean over blocks, 95 % over seeds", fontsize=10)
    grid[1][2].set_title("mean over layers, 95 % over seeds", fontsize=10)
    grid[1][2].set_xlabel("depth (layers)")
    for axes in grid[0]:
        axes.set_ylim(bottom=0)
        text = "F(x) as large as x" if axes is grid[0][2] else ""
        reference_line(axes, 1.0, text)
    grid[0][1].legend(fontsize=8)
    grid[0][2].legend(fontsize=8)
    return drawn


def _by_place(
    axes: Axes, frame: pd.DataFrame, field: str, colours: Mapping[int, str]
) -> None:
    for depth, group in frame.groupby("depth"):
        mean = group.groupby("layer")[field].mean()
        share = mean.index.to_numpy() / max(group["depth"].max() - 2, 1)
        colour = colours[int(str(depth))]
        axes.plot(share, mean, color=colour, linewidth=1.6, label=f"{depth} layers")
    axes.set_xlim(0, 1.02)
    axes.grid(axis="y")


def _by_depth(
    axes: Axes, frame: pd.DataFrame, field: str, depths: Sequence[int]
) -> None:
    """Draw each network's mean against its depth."""
    by_seed = frame.groupby(["shortcut", "depth", "seed"])[field].mean().reset_index()
    points = over_seeds(by_seed, ("shortcut", "depth"), field, geometric_interval)
    for shortcut in SHORTCUTS:
        of_shortcut = points[points["shortcut"] == shortcut]
        style = {**marks(shortcut), "label": shortcut}
        whiskers(axes, of_shortcut, "depth", (0.0, np.inf), **style)
    number_ticks(axes, depths)
    axes.grid(axis="y")


def _same_limits(panels: Sequence[Axes]) -> None:
    """Let panels of one quantity share their vertical limits."""
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
