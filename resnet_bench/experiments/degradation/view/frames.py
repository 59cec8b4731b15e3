"""What the figures of degradation have in common: colours by depth, interval marks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from resnet_bench.experiments.degradation.claims.judging import number
from resnet_bench.experiments.degradation.records import Shortcut, TrainingResult
from resnet_bench.experiments.degradation.view.words import setting
from resnet_bench.present.theme import NEUTRAL, figure, plain_log_ticks
from resnet_bench.statistics.estimates import (
    mean_interval,
    ratio_interval,
    wilson_interval,
)
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: What tells networks apart, seeds aside.
NETWORK = ("shortcut", "depth", "treatment", "budget", "train_images", "width")

ERRORS = {
    "train": "train_error_recalibrated_percent",
    "test": "test_error_percent",
}


def results_frame(run: Run) -> pd.DataFrame:
    """Return one row per network with the mean of its seeds and t intervals.

    Columns: those of NETWORK, `steps`, `seeds`, `diverged` (a count), and
    `train_percent` and `test_percent`, each with `_low` and `_high`;
    `sampling_low` and `sampling_high` bound the test error by the size of the test
    set alone (Wilson).
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in run.rows(TrainingResult):
        groups.setdefault(tuple(row[name] for name in NETWORK), []).append(row)
    rows = [
        {**dict(zip(NETWORK, key, strict=True)), **summarised(group)}
        for key, group in groups.items()
    ]
    order = ["treatment", "train_images", "budget", "depth", "shortcut"]
    names = [*NETWORK, "steps", "seeds", "diverged", *_error_names()]
    frame = pd.DataFrame(rows, columns=names)
    return frame.sort_values(order, na_position="first", ignore_index=True)


def _error_names() -> list[str]:
    bounds = ("", "_low", "_high")
    errors = [f"{name}_percent{bound}" for name in ERRORS for bound in bounds]
    return [*errors, "sampling_low", "sampling_high"]


def summarised(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the seeds of one network have in common, and their errors."""
    summary: dict[str, Any] = {
        "steps": group[0]["steps"],
        "seeds": len(group),
        "diverged": sum(row["diverged"] for row in group),
    }
    for name, field in ERRORS.items():
        interval = mean_interval([row[field] for row in group])
        summary |= bounded(f"{name}_percent", interval)
    sampling = sampling_interval(summary["test_percent"], group[0]["test_images"])
    return summary | {"sampling_low": sampling.low, "sampling_high": sampling.high}


def bounded(name: str, interval: Interval) -> dict[str, float]:
    """Return an interval as three columns of a frame."""
    return {
        name: interval.estimate,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }


def sampling_interval(percent: float, images: int) -> Interval:
    """Return how sure `images` test images can be of an error in percent."""
    share = wilson_interval(round(percent / 100 * images), images)
    return Interval(100 * share.estimate, 100 * share.low, 100 * share.high, images)


def standard(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks as they are, trained on everything."""
    return frame[(frame["treatment"] == "standard") & frame["train_images"].isna()]


def record_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return records of standard networks at one budget as a frame."""
    kept = [
        row
        for row in rows
        if row["treatment"] == "standard"
        and row["budget"] == 1
        and row["train_images"] is None
    ]
    return pd.DataFrame(kept)


SHORTCUTS: tuple[Shortcut, Shortcut] = ("plain", "residual")
MARKERS = {"plain": "s", "residual": "o"}

#: Shares of the viridis map between which depths lie: no pale yellow on white.
SHALLOW, DEEP = 0.82, 0.05


def titled(run: Run, title: str, *, width: float, height: float) -> Figure:
    """Return an empty figure with its finding, and data and machine below it."""
    return figure(f"{title}\n{setting(run)}", width=width, height=height)


def depth_colours(depths: Sequence[int]) -> dict[int, str]:
    """Return a colour per depth, the deeper the darker, in colour and in grey."""
    ordered = sorted(set(depths))
    shares = np.linspace(SHALLOW, DEEP, len(ordered)) if len(ordered) > 1 else [DEEP]
    scale = colormaps["viridis"]
    return {
        depth: to_hex(scale(float(share)))
        for depth, share in zip(ordered, shares, strict=True)
    }


def over_seeds(
    frame: pd.DataFrame,
    by: Sequence[str],
    field: str,
    interval: Callable[[Sequence[float]], Interval],
) -> pd.DataFrame:
    """Return `estimate`, `low` and `high` of a field for every group of rows."""
    rows = []
    for key, group in frame.dropna(subset=[field]).groupby(list(by)):
        bounds = interval(group[field].tolist())
        values = key if isinstance(key, tuple) else (key,)
        rows.append({**dict(zip(by, values, strict=True)), **vars(bounds)})
    return pd.DataFrame(rows, columns=[*by, "estimate", "low", "high", "samples"])


def arithmetic(samples: Sequence[float]) -> Interval:
    """Return the mean with its t interval."""
    return mean_interval(samples)


def geometric(samples: Sequence[float]) -> Interval:
    """Return the geometric mean with its t interval on logarithms."""
    return ratio_interval(samples, [1.0] * len(samples))


def whiskers(
    axes: Axes, frame: pd.DataFrame, x: str, limits: tuple[float, float], **style: Any
) -> ErrorbarContainer:
    """Draw estimates with intervals, cut at what the quantity can be."""
    low = (frame["estimate"] - frame["low"].clip(lower=limits[0])).clip(lower=0)
    high = (frame["high"].clip(upper=limits[1]) - frame["estimate"]).clip(lower=0)
    # One seed has no interval: an infinite bound draws no whisker.
    known = np.isfinite(frame["low"]) & np.isfinite(frame["high"])
    spread = np.vstack([low.where(known, 0.0), high.where(known, 0.0)])
    look: Mapping[str, Any] = {"capsize": 3, "linewidth": 1.8, "markersize": 5}
    return axes.errorbar(frame[x], frame["estimate"], yerr=spread, **{**look, **style})


def number_ticks(axes: Axes, numbers: Sequence[int]) -> None:
    """Label exactly the numbers that were measured, on a logarithmic axis."""
    axes.set_xscale("log")
    axes.set_xticks(list(numbers), [f"{each:,}" for each in numbers])
    axes.set_xticks([], minor=True)


def log_scale(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers at its ticks."""
    axes.set_yscale("log")
    plain_log_ticks(axes.yaxis, number)


def reference_line(axes: Axes, y: float, text: str) -> None:
    """Draw a level that numbers are to be held against, named at its left end."""
    axes.axhline(y, color=NEUTRAL, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.annotate(
        text,
        (0.01, y),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        color=NEUTRAL,
        fontsize=8,
    )
