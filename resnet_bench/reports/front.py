"""Accuracy against time and memory: which variants are worth their price."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.present import theme
from resnet_bench.present.tables import Table
from resnet_bench.reports.budgets import Candidate
from resnet_bench.statistics.fronts import front

MEBIBYTE = 2.0**20
MILLISECONDS = 1e3

#: Area of a marker, in square points per MiB of peak memory, and its bounds.
AREA = 0.6
SMALLEST_AREA, LARGEST_AREA = 60.0, 900.0

#: Names of points that are closer than this in accuracy would meet; a setting, which
#: stands below its point, would meet points.
NEAR_PERCENT, CROWDED_PERCENT = 0.7, 1.5

#: Where the slowest takes more than this many times the fastest, a linear axis would
#: show the fast ones on top of each other.
WIDE_RANGE = 10.0


def front_figure(found: Sequence[Candidate], where: str) -> Figure | None:
    """Return published accuracy against inference time; None without two variants."""
    fastest = _fastest_first(found)
    if len({candidate.variant for candidate in found}) < 2:
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
    _line_of_front(axes, fastest)
    for candidate in fastest:
        _draw(axes, candidate)
    _name_variants(axes, fastest)
    axes.margins(x=0.2, y=0.24)
    if _seconds(fastest[-1]) > WIDE_RANGE * _seconds(fastest[0]):
        axes.set_xscale("log")
        theme.plain_log_ticks(axes.xaxis, "{:,g}".format)
    else:
        axes.set_xlim(left=0)
    made.supxlabel(_legend(found), fontsize=8.5, color="#444444")
    return made


def _legend(found: Sequence[Candidate]) -> str:
    known = any(_memory(candidate) for candidate in found)
    few = any(not candidate.pool.bounded for candidate in found)
    said = [
        "area: peak memory of inference" if known else "",
        "bar: 95 % of processes",
        "hollow: fewer than six visits" if few else "",
        "dashed: nothing faster is as accurate",
    ]
    kept = [each for each in said if each]
    return "\n".join(" · ".join(part) for part in (kept[:2], kept[2:]) if part)


def _seconds(candidate: Candidate) -> float:
    return candidate.seconds_per_image.estimate


def _milliseconds(candidate: Candidate) -> float:
    return MILLISECONDS * _seconds(candidate)


def _memory(candidate: Candidate) -> float | None:
    found = candidate.row.get("inference_peak_memory_bytes")
    return None if found is None else float(found)


def _area(candidate: Candidate) -> float:
    memory = _memory(candidate) or 0.0
    return min(LARGEST_AREA, max(SMALLEST_AREA, AREA * memory / MEBIBYTE))


def _fastest_first(found: Sequence[Candidate]) -> list[Candidate]:
    return sorted(found, key=_seconds)


def on_front(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that no faster one equals in accuracy, fastest first."""
    return front(found, _seconds, lambda each: each.accuracy.percent)


def _line_of_front(axes: Axes, found: Sequence[Candidate]) -> None:
    kept = on_front(found)
    axes.plot(
        [_milliseconds(candidate) for candidate in kept],
        [candidate.accuracy.percent for candidate in kept],
        drawstyle="steps-post",
        color="#999999",
        lw=1,
        ls=(0, (4, 4)),
    )


def _draw(axes: Axes, candidate: Candidate) -> None:
    x, y = _milliseconds(candidate), candidate.accuracy.percent
    seconds = candidate.seconds_per_image
    colour = theme.colour_of(candidate.variant)
    if seconds.bounded:
        ends = [end * MILLISECONDS for end in (seconds.low, seconds.high)]
        axes.plot(ends, [y, y], color="#111111", lw=1.1, zorder=4)
    axes.scatter(
        [x],
        [y],
        s=_area(candidate),
        facecolor=colour if seconds.bounded else "white",
        edgecolor="white" if seconds.bounded else colour,
        zorder=3,
    )


def _name_variants(axes: Axes, fastest: Sequence[Candidate]) -> None:
    """Name a variant at its fastest setting, and that setting if it has others."""
    variants = [candidate.variant for candidate in fastest]
    before: float | None = None
    for variant in dict.fromkeys(variants):
        first = fastest[variants.index(variant)]
        radius = math.sqrt(_area(first) / math.pi)
        # Beside its point where the name of the one before stands above both.
        percent = first.accuracy.percent
        apart = math.inf if before is None else abs(percent - before)
        near = apart < NEAR_PERCENT
        place = (radius + 5, 4) if near else (-4, radius + 4)
        said = [(first.title, place, 9.0)]
        before = percent
        if variants.count(variant) > 1 and apart > CROWDED_PERCENT:
            said.append((first.setting, (-4, -radius - 11), 8.0))
        for words, offset, size in said:
            axes.annotate(
                words,
                (_milliseconds(first), first.accuracy.percent),
                offset,
                textcoords="offset points",
                ha="left",
                fontsize=size,
                bbox={"facecolor": "#ffffff", "alpha": 0.7, "pad": 0.5, "lw": 0},
            )


def front_table(found: Sequence[Candidate], where: str) -> Table:
    """Return what the figure draws, a row per setting, fastest first."""
    kept = on_front(found)
    threads = {each.row.get("threads") for each in found}
    return Table(
        name="front",
        title=f"Accuracy, time and memory, on {where}",
        frame=pd.DataFrame(
            [_line(each, worth_it=each in kept) for each in _fastest_first(found)],
            dtype=object,
        ),
        narrow=[
            *("model", "setting", *(["threads"] if len(threads) > 1 else [])),
            *("image_seconds", "inference_peak_memory_bytes"),
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
    return {
        **candidate.columns("image_seconds", candidate.seconds_per_image),
        "threads": candidate.row.get("threads"),
        "inference_peak_memory_bytes": _memory(candidate),
        "worth_it": worth_it,
    }
