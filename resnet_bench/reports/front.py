"""Accuracy against time and memory: which variants are worth their price."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.present import theme
from resnet_bench.present.tables import Table
from resnet_bench.reports.budgets import Candidate, candidates, setting
from resnet_bench.statistics.fronts import front

MEBIBYTE = 2.0**20
MILLISECONDS = 1e3

#: Area of a marker, in square points per MiB of peak memory, and its bounds.
AREA = 0.6
SMALLEST_AREA, LARGEST_AREA = 60.0, 900.0


def front_figure(rows: Sequence[Mapping[str, Any]], where: str) -> Figure | None:
    """Return published accuracy against measured time; None without inference."""
    found = candidates(rows)
    if len(by_variant(found)) < 2:
        return None
    made = theme.figure(
        f"What accuracy costs · {where}\n"
        "published ImageNet top-1 of torchvision's best weights, time measured here",
        height=4.2,
    )
    axes = theme.axes(
        made, x="inference time per image (ms)", y="published ImageNet top-1 (%)"
    )
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    _line_of_front(axes, found)
    for group in by_variant(found):
        for candidate in group:
            _draw(axes, candidate)
        _name(axes, group)
    axes.margins(0.16)
    axes.set_xlim(left=0)
    if any(_memory(candidate) for candidate in found):
        _say_what_areas_mean(made)
    return made


def per_image(candidate: Candidate) -> float:
    """Return milliseconds per image of a candidate's inference call."""
    batch = int(candidate.row["batch_size"])
    return float(candidate.seconds["estimate"]) * MILLISECONDS / batch


def by_variant(found: Sequence[Candidate]) -> list[list[Candidate]]:
    """Return the candidates of each variant, fastest first."""
    groups: dict[int, list[Candidate]] = {}
    for candidate in sorted(found, key=per_image):
        groups.setdefault(int(candidate.row["variant"]), []).append(candidate)
    return list(groups.values())


def on_front(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that no faster one equals in accuracy, fastest first."""
    return front(found, per_image, lambda each: each.accuracy_percent)


def _line_of_front(axes: Axes, found: Sequence[Candidate]) -> None:
    kept = on_front(found)
    axes.plot(
        [per_image(candidate) for candidate in kept],
        [candidate.accuracy_percent for candidate in kept],
        drawstyle="steps-post",
        color="#999999",
        lw=1,
        ls=(0, (4, 4)),
    )


def _memory(candidate: Candidate) -> float | None:
    found = candidate.row.get("inference_peak_memory_bytes")
    return None if found is None else float(found)


def _draw(axes: Axes, candidate: Candidate) -> None:
    variant = int(candidate.row["variant"])
    batch = int(candidate.row["batch_size"])
    memory = _memory(candidate)
    area = SMALLEST_AREA if memory is None else AREA * memory / MEBIBYTE
    x, y = per_image(candidate), candidate.accuracy_percent
    low, high = candidate.seconds["low"], candidate.seconds["high"]
    if low is not None and high is not None:
        ends = [end * MILLISECONDS / batch for end in (low, high)]
        axes.plot(ends, [y, y], color="#111111", lw=1.1, zorder=4)
    axes.scatter(
        [x],
        [y],
        s=min(LARGEST_AREA, max(SMALLEST_AREA, area)),
        color=theme.colour_of(variant),
        edgecolor="white",
        zorder=3,
    )


def _name(axes: Axes, group: Sequence[Candidate]) -> None:
    """Name a variant at its fastest setting, and that setting if it has others."""
    fastest = group[0]
    title = VARIANTS[int(fastest.row["variant"])].title
    axes.annotate(
        f"{title}\n{setting(fastest.row)}" if len(group) > 1 else title,
        (per_image(fastest), fastest.accuracy_percent),
        (0, 14),
        textcoords="offset points",
        ha="center",
        fontsize=9,
    )


def _say_what_areas_mean(made: Figure) -> None:
    made.supxlabel(
        "area: peak memory of inference · bar: 95 % interval of the time · "
        "dashed: nothing faster is as accurate",
        fontsize=8.5,
        color="#444444",
    )


def front_table(rows: Sequence[Mapping[str, Any]], where: str) -> Table:
    """Return what the figure draws, a row per setting, fastest first."""
    found = sorted(candidates(rows), key=per_image)
    kept = [id(candidate) for candidate in on_front(found)]
    lines = [_line(candidate, worth_it=id(candidate) in kept) for candidate in found]
    return Table(
        name="front",
        title=f"Accuracy, time and memory, on {where}",
        frame=pd.DataFrame(lines, dtype=object),
        narrow=[
            *("model", "setting", "image_seconds", "inference_peak_memory_bytes"),
            *("top1_percent", "weights", "worth_it"),
        ],
        notes=[
            "Worth it: nothing faster, per image, is as accurate. Time and peak memory "
            "of inference measured here, accuracy as published by torchvision."
        ],
        headers={
            "image_seconds": "time per image",
            "inference_peak_memory_bytes": "memory",
            "top1_percent": "ImageNet top-1",
            "worth_it": "worth it",
        },
    )


def _line(candidate: Candidate, *, worth_it: bool) -> dict[str, Any]:
    row, batch = candidate.row, int(candidate.row["batch_size"])
    low, high = candidate.seconds["low"], candidate.seconds["high"]
    return {
        "model": VARIANTS[int(row["variant"])].title,
        "setting": setting(row),
        "image_seconds": candidate.seconds["estimate"] / batch,
        "image_seconds_low": None if low is None else low / batch,
        "image_seconds_high": None if high is None else high / batch,
        "inference_peak_memory_bytes": _memory(candidate),
        "top1_percent": candidate.accuracy_percent,
        "weights": candidate.accuracy.weights,
        "worth_it": worth_it,
        "run": row.get("run"),
    }
