"""The classes: samples of them, accuracy by class, and what is taken for what."""

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from resnet_bench.experiments.finetune.cells import Samples
from resnet_bench.experiments.finetune.view.groups import Group, setting, whole
from resnet_bench.present import theme
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

#: Of more classes than this a matrix is drawn without names and numbers.
MOST_NAMED = 12

#: Longer names of classes are cut in figures.
LONGEST_NAME = 14

#: Panels beside each other.
COLUMNS = 4

Matrix = NDArray[np.float64]


def shares_of(group: Group) -> Matrix:
    """Return answers (classes, classes) in percent of each true class, in rows.

    Of all seeds together; a class without test images is NaN.
    """
    classes = int(group.rows[0]["classes"])
    counts = np.zeros((classes, classes))
    for row in group.rows:
        for true, answer, count in row["confusion"]:
            counts[true, answer] += count
    totals = counts.sum(axis=1, keepdims=True)
    shares: Matrix = 100 * np.divide(
        counts, totals, out=np.full_like(counts, math.nan), where=totals > 0
    )
    return shares


def class_table(run: Run, groups: Sequence[Group]) -> Table:
    """Return each row's accuracy by class, the hardest first shown."""
    shown = [group for group in groups if not group.permuted]
    rows = [_row(group) for group in shown]
    return Table(
        name="accuracy-by-class",
        detail=True,
        title=f"Accuracy by class\n{setting(run)}",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=list(rows[0])[:7],
        notes=[
            "All seeds together. Taken for: the most frequent wrong answer to the "
            "hardest class. Every class with --wide; the figure `confusion` shows how "
            "often each class is taken for another."
        ],
        headers={"hardest_percent": "its accuracy", "mistaken_percent": "how often"},
    )


def _row(group: Group) -> dict[str, Any]:
    names, shares = group.rows[0]["class_names"], shares_of(group)
    right = shares.diagonal()
    hardest = int(np.nanargmin(right))
    wrong = shares[hardest].copy()
    wrong[hardest] = -1
    mistaken = int(wrong.argmax())
    return {
        "network": group.name,
        "strategy": group.title,
        "shots": group.shots_title,
        "hardest": names[hardest],
        "hardest_percent": float(right[hardest]),
        "taken_for": names[mistaken] if wrong[mistaken] > 0 else None,
        "mistaken_percent": float(wrong[mistaken]),
        **{f"class {name}_percent": float(right[n]) for n, name in enumerate(names)},
    }


def samples_figure(run: Run) -> Figure | None:
    """Draw some training images with their classes; None where none were kept."""
    rows = run.rows(Samples)
    if not rows:
        return None
    kept, side = rows[0], int(rows[0]["side"])
    picture = imread(io.BytesIO(base64.b64decode(kept["png"])), format="png")
    names, columns = kept["class_names"], int(kept["columns"])
    lines = math.ceil(len(names) / columns)
    title = f"Training images\n{setting(run)}"
    figure = theme.figure(title, width=7.6, height=0.8 + 1.15 * lines)
    for place, name in enumerate(names):
        axes = figure.add_subplot(lines, columns, place + 1)
        top, left = (side * index for index in divmod(place, columns))
        # A page then holds the image itself, not an enlarged copy.
        axes.imshow(picture[top : top + side, left : left + side], interpolation="none")
        axes.set_title(_short(name), fontsize=9, loc="center", pad=2)
        axes.set_axis_off()
    return figure


def confusion_figure(run: Run, groups: Sequence[Group]) -> Figure | None:
    """Draw what is taken for what with the most shots, a panel for each row."""
    shown = [group for group in whole(groups) if group.variant]
    if not shown:
        return None
    columns = min(COLUMNS, len(shown))
    lines = math.ceil(len(shown) / columns)
    size = {"width": 1.2 + 2.6 * columns, "height": 1.2 + 2.7 * lines}
    title = f"What is taken for what, {shown[0].images_title}, percent of the class"
    figure = theme.figure(f"{title}\n{setting(run)}", **size)
    for place, group in enumerate(shown):
        axes = figure.add_subplot(lines, columns, place + 1)
        axes.set_title(f"{group.name}, {group.strategy}", fontsize=9)
        _matrix(axes, shares_of(group), group.rows[0]["class_names"])
        if place % columns == 0:
            axes.set_ylabel("true class")
        if place >= len(shown) - columns:
            axes.set_xlabel("answer")
    return figure


def _short(name: str) -> str:
    """Return a class name as it fits beside an axis."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _matrix(axes: Axes, shares: Matrix, names: Sequence[str]) -> None:
    axes.pcolormesh(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=100)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    if len(names) > MOST_NAMED:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    middles = [index + 0.5 for index in range(len(names))]
    short = list(map(_short, names))
    axes.set_xticks(middles, short, rotation=90 if max(map(len, short)) > 3 else 0)
    axes.set_yticks(middles, short)
    for (row, column), share in np.ndenumerate(shares):
        if not math.isnan(share):
            colour = "white" if share > 60 else "#222222"
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{share:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color=colour,
            )
