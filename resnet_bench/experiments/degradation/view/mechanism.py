"""The figure of responses: how strongly blocks and layers answer."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.experiments.degradation.records import LayerResponse
from resnet_bench.experiments.degradation.view.frames import (
    ARMS,
    MARKERS,
    depth_colours,
    geometric,
    number_ticks,
    over_seeds,
    reference_line,
    titled,
    whiskers,
)
from resnet_bench.experiments.degradation.view.frames_part import record_frame
from resnet_bench.present.theme import ARM_COLOURS
from resnet_bench.store.reading import Run

#: What each row of panels shows, with its axis.
QUANTITIES = {
    "relative_response": "||F(x)|| / ||x|| of a block",
    "response_std": "spread after batch norm",
}


def responses(run: Run) -> Figure | None:
    """Draw how strongly each block and layer answers (He et al. 2015, Fig. 7).

    Above, how much a block changes what it is given; below, the standard deviation
    of every convolution's output after batch norm. Left by place, right by depth.
    """
    frame = record_frame(run.rows(LayerResponse))
    if frame.empty:
        return None
    depths = sorted(set(frame["depth"]))
    colours = depth_colours(depths)
    title = "How much does each block change what it is given?"
    made = titled(run, title, width=11.0, height=7.0)
    grid = made.subplots(2, 3, width_ratios=(1, 1, 0.9), sharex="col")
    for row, (field, label) in enumerate(QUANTITIES.items()):
        known = frame.dropna(subset=[field])
        for column, arm in enumerate(ARMS):
            _by_place(grid[row][column], known[known["arm"] == arm], field, colours)
        grid[row][0].set_ylabel(label)
        _by_depth(grid[row][2], known, field, depths)
        _same_limits(grid[row][:2])
    for column, arm in enumerate(ARMS):
        grid[0][column].set_title(f"{arm}, mean of seeds", fontsize=10)
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
    return made


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
    by_seed = frame.groupby(["arm", "depth", "seed"])[field].mean().reset_index()
    points = over_seeds(by_seed, ("arm", "depth"), field, geometric)
    for arm in ARMS:
        of_arm = points[points["arm"] == arm]
        style = {"color": ARM_COLOURS[arm], "marker": MARKERS[arm], "label": arm}
        whiskers(axes, of_arm, "depth", (0.0, np.inf), **style)
    number_ticks(axes, depths)
    axes.grid(axis="y")


def _same_limits(panels: Sequence[Axes]) -> None:
    """Let panels of one quantity share their vertical limits."""
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
