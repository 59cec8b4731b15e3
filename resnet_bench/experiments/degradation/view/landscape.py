"""Figures of the loss around trained weights (Li et al. 2018)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from resnet_bench.experiments.degradation.claims.evidence import Network
from resnet_bench.experiments.degradation.records import LossLine, LossSurface, Shortcut
from resnet_bench.experiments.degradation.view.frames import SHORTCUTS, Material
from resnet_bench.present.numbers import compact
from resnet_bench.present.theme import SHORTCUT_COLOURS

#: The colours of the loss, low to high: dark valleys in colour and in grey.
COLOURS = "viridis"

#: Steps of colour of the contour maps.
LEVELS = 16


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
    shades = _shades([*surfaces["losses"], list(lines["losses"])])
    title = "The loss around the trained weights, without and with shortcuts"
    drawn = made.figure(title, width=10.6, height=7.0)
    for row, shortcut in enumerate(SHORTCUTS):
        of_shortcut = surfaces[surfaces["shortcut"] == shortcut]
        if of_shortcut.empty:
            continue
        solid = drawn.add_subplot(2, 3, 3 * row + 1, projection="3d")
        above, along = (drawn.add_subplot(2, 3, 3 * row + place) for place in (2, 3))
        _surface(solid, of_shortcut.iloc[0], shades)
        solid.set_title(_title(made, shortcut, depth), fontsize=10)
        _map(above, of_shortcut.iloc[0], shades)
        above.set_title("from above (cross: trained weights)", fontsize=10)
        _lines(along, lines[lines["shortcut"] == shortcut], shortcut, shades)
        along.set_title(_roughness(made, shortcut, depth), fontsize=10)
    bar = drawn.colorbar(
        ScalarMappable(shades, COLOURS), ax=drawn.axes, shrink=0.6, pad=0.02
    )
    bar.set_label("training loss")
    bar.outline.set_visible(False)
    return drawn


def _first_seed(frame: pd.DataFrame, depth: int) -> pd.DataFrame:
    """Return the rows of a depth's first seed."""
    if frame.empty:
        return frame
    frame = frame[frame["depth"] == depth]
    return frame[frame["seed"] == frame["seed"].min()]


def _roughness(made: Material, shortcut: Shortcut, depth: int) -> str:
    found = made.evidence.roughness(Network(shortcut, depth))
    known = f": roughness {compact(found[min(found)])}" if found else ""
    return f"along random lines{known}"


def _title(made: Material, shortcut: Shortcut, depth: int) -> str:
    errors = made.evidence.error(Network(shortcut, depth))
    error = f": training error {compact(errors[min(errors)])} %" if errors else ""
    return f"{shortcut}-{depth}{error}"


def _shades(losses: Sequence[Sequence[Sequence[float | None]]]) -> Normalize:
    """Return a scale from the least to the largest loss of all networks."""
    known = [
        value
        for surface in losses
        for line in surface
        for value in line
        if value is not None
    ]
    return Normalize(min(known), max(known))


def _heights(surface: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    across, up = np.meshgrid(surface["positions"], surface["positions"])
    return across, up, np.array(surface["losses"], dtype=float)


def _surface(axes: Any, surface: pd.Series, shades: Normalize) -> None:
    axes.plot_surface(
        *_heights(surface),
        cmap=COLOURS,
        norm=shades,
        rcount=100,
        ccount=100,
        edgecolor="#FFFFFF60",
        linewidth=0.3,
        antialiased=True,
    )
    axes.set_zlim(shades.vmin, shades.vmax)
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([-1, 0, 1])
    axes.view_init(elev=28, azim=-55)
    axes.set_zlabel("training loss")


def _map(axes: Axes, surface: pd.Series, shades: Normalize) -> None:
    across, up, heights = _heights(surface)
    levels = np.linspace(shades.vmin or 0.0, shades.vmax or 1.0, LEVELS)
    axes.contourf(across, up, heights, levels, cmap=COLOURS, norm=shades)
    axes.contour(across, up, heights, levels, colors="#FFFFFF", linewidths=0.4)
    axes.plot(0, 0, marker="x", color="#FFFFFF", markersize=7)
    axes.set_aspect("equal")
    axes.set_xlabel("along one random direction")
    axes.set_ylabel("along another")


def _lines(
    axes: Axes, lines: pd.DataFrame, shortcut: Shortcut, shades: Normalize
) -> None:
    for _, line in lines.iterrows():
        losses = np.array(line["losses"], dtype=float)
        colour = SHORTCUT_COLOURS[shortcut]
        axes.plot(line["positions"], losses, color=colour, linewidth=1.0, alpha=0.8)
    low, high = shades.vmin or 0.0, shades.vmax or 1.0
    margin = 0.03 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel("distance, in lengths of the filters")
    axes.set_ylabel("training loss")
    axes.grid(axis="y")
