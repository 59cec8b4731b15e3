"""Figures of the loss around trained weights (Li et al. 2018)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from resnet_bench.experiments.degradation.claims.evidence import Network
from resnet_bench.experiments.degradation.grid import SHORTCUTS
from resnet_bench.experiments.degradation.records import LossLine, LossSurface, Shortcut
from resnet_bench.experiments.degradation.view.frames import Material
from resnet_bench.present.numbers import compact
from resnet_bench.present.theme import SHORTCUT_COLOURS

#: The colours of the loss, low to high: dark valleys in colour and in grey.
COLOURS = "viridis"

#: The share of a surface's points whose losses the colours tell apart: its corners lie
#: farthest from the trained weights and can be several times as high as the rest.
REACHED = 0.97

#: Steps of colour of the contour maps.
LEVELS = 16

Loss = NDArray[np.float64]


def landscape(made: Material) -> Figure | None:
    """Draw the loss around the deepest networks that were looked at."""
    depths = made.evidence.depths_of("landscape")
    return _drawn(made, depths[-1]) if depths else None


def landscape_where_both_train(made: Material) -> Figure | None:
    """Draw the loss at the shallower depth, at which plain networks train as well."""
    depths = made.evidence.depths_of("landscape")
    return _drawn(made, depths[0]) if len(depths) > 1 else None


def _drawn(made: Material, depth: int) -> Figure | None:
    """Draw surface, map and random lines, plain above residual, on one scale."""
    surfaces, lines = (
        _first_seed(made.records(record), depth) for record in (LossSurface, LossLine)
    )
    if surfaces.empty:
        return None
    shades, highest = _shades(surfaces), float(_known(surfaces).max())
    seed = int(surfaces["seed"].iloc[0])
    title = (
        f"The loss around the trained weights (seed {seed}), without and with shortcuts"
    )
    drawn = made.figure(title, width=10.6, height=7.0)
    halves: Any = drawn.subfigures(1, 2, width_ratios=(1, 2.2))
    solids, others = halves
    panels = others.subplots(2, 2, sharex=True)
    for row, shortcut in enumerate(SHORTCUTS):
        of_shortcut = surfaces[surfaces["shortcut"] == shortcut]
        if of_shortcut.empty:
            continue
        solid = solids.add_subplot(2, 1, row + 1, projection="3d")
        _surface(solid, of_shortcut.iloc[0], shades)
        solid.set_zlim(0, highest)
        solid.set_title(_title(made, shortcut, depth), fontsize=10)
        _map(panels[row][0], of_shortcut.iloc[0], shades)
        _lines(panels[row][1], lines[lines["shortcut"] == shortcut], shortcut)
        panels[row][1].set_title(_roughness(made, shortcut, depth), fontsize=10)
    _same_heights(panels[:, 1])
    panels[1][0].set_xlabel("along one random direction")
    panels[1][1].set_xlabel("distance, in lengths of the filters")
    bar = others.colorbar(
        ScalarMappable(shades, COLOURS), ax=panels[:, 0], shrink=0.7, extend="max"
    )
    bar.set_label("training loss")
    bar.outline.set_visible(False)
    return drawn


def _first_seed(frame: pd.DataFrame, depth: int) -> pd.DataFrame:
    """Return the rows of a depth's first seed."""
    if frame.empty:
        return frame
    of_depth: pd.DataFrame = frame[frame["depth"] == depth]
    first: pd.DataFrame = of_depth[of_depth["seed"] == of_depth["seed"].min()]
    return first


def _roughness(made: Material, shortcut: Shortcut, depth: int) -> str:
    found = made.evidence.roughness(Network(shortcut, depth))
    known = f": roughness {compact(found[min(found)])}" if found else ""
    return f"random lines{known}"


def _title(made: Material, shortcut: Shortcut, depth: int) -> str:
    errors = made.evidence.error(Network(shortcut, depth))
    error = f": training error {compact(errors[min(errors)])} %" if errors else ""
    return f"{shortcut}-{depth}{error}"


def _shades(surfaces: pd.DataFrame) -> Normalize:
    """Return one scale for all surfaces, up to what all but their corners reach."""
    losses = _known(surfaces)
    return Normalize(float(losses.min()), float(np.quantile(losses, REACHED)))


def _known(surfaces: pd.DataFrame) -> Loss:
    """Return every finite loss of the surfaces."""
    losses = np.concatenate([_heights(row) for _, row in surfaces.iterrows()])
    known: Loss = losses[np.isfinite(losses)]
    return known


def _heights(surface: pd.Series) -> Loss:
    """Return the loss at every place of a surface."""
    return np.array(surface["losses"], dtype=float)


def _places(surface: pd.Series) -> Sequence[Loss]:
    """Return the places across and up."""
    return np.meshgrid(surface["positions"], surface["positions"])


def _surface(axes: Any, surface: pd.Series, shades: Normalize) -> None:
    axes.plot_surface(
        *_places(surface),
        _heights(surface),
        cmap=COLOURS,
        norm=shades,
        rcount=100,
        ccount=100,
        edgecolor="#FFFFFF60",
        linewidth=0.3,
        antialiased=True,
    )
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([-1, 0, 1])
    axes.view_init(elev=28, azim=-55)
    axes.set_box_aspect(None, zoom=1.15)


def _map(axes: Axes, surface: pd.Series, shades: Normalize) -> None:
    across, up = _places(surface)
    heights = _heights(surface)
    levels = np.linspace(shades.vmin or 0.0, shades.vmax or 1.0, LEVELS)
    axes.contourf(across, up, heights, levels, cmap=COLOURS, norm=shades, extend="max")
    axes.contour(across, up, heights, levels, colors="#FFFFFF", linewidths=0.4)
    axes.plot(0, 0, marker="x", color="#FFFFFF", markersize=7)
    axes.set_aspect("equal")
    axes.set_title("from above (cross: trained weights)", fontsize=10)
    axes.set_ylabel("along another")


def _lines(axes: Axes, lines: pd.DataFrame, shortcut: Shortcut) -> None:
    for _, line in lines.iterrows():
        losses = np.array(line["losses"], dtype=float)
        colour = SHORTCUT_COLOURS[shortcut]
        axes.plot(line["positions"], losses, color=colour, linewidth=1.0, alpha=0.8)
    axes.set_ylabel("training loss")
    axes.grid(axis="y")


def _same_heights(panels: Iterable[Axes]) -> None:
    """Let the panels of lines share their vertical limits."""
    highest = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(-0.03 * highest, highest)
