"""What tables and figures of degradation share: frames made once, marks, colours."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from resnet_bench.catalogue import dataset_title
from resnet_bench.experiments.degradation.claims.evidence import Evidence, Network
from resnet_bench.experiments.degradation.records import TrainingResult
from resnet_bench.present.machines import machine_title
from resnet_bench.present.numbers import compact
from resnet_bench.present.tables import interval_columns
from resnet_bench.present.theme import (
    NEUTRAL,
    SHORTCUT_COLOURS,
    figure,
    plain_log_ticks,
)
from resnet_bench.records import Record
from resnet_bench.statistics.estimates import wilson_interval
from resnet_bench.statistics.intervals import Interval, median_interval
from resnet_bench.store.reading import Run

#: What tells networks apart, seeds aside.
NETWORK = (
    "dataset",
    "shortcut",
    "depth",
    "treatment",
    "budget",
    "train_images",
    "width",
)

#: Endings of the columns that hold an interval.
BOUNDS = ("", "_low", "_high")

MARKERS = {"plain": "s", "residual": "o"}

#: Shares of the viridis map between which depths lie: no pale yellow on white.
SHALLOW, DEEP = 0.82, 0.05

ERRORS = {
    "train": "train_error_recalibrated_percent",
    "test": "test_error_percent",
}


@dataclass(frozen=True)
class Material:
    """A run with what several tables and figures show of it, made once.

    `networks` is its `results_frame`; `setting` names data, budget, seeds, machine
    and origin of the weights, for titles.
    """

    run: Run
    evidence: Evidence
    networks: pd.DataFrame
    setting: str

    def records(self, record: type[Record]) -> pd.DataFrame:
        """Return the records of standard networks at one budget as a frame."""
        return pd.DataFrame([row for row in self.evidence.rows(record) if _usual(row)])

    def figure(self, title: str, *, width: float, height: float) -> Figure:
        """Return an empty figure with its finding, and data and machine below it."""
        return figure(f"{title}\n{self.setting}", width=width, height=height)


def _usual(row: Mapping[str, Any]) -> bool:
    """Return whether a row is about a standard network at one budget."""
    return Network(row["shortcut"], row["depth"]).matches(row)


def material(run: Run) -> Material:
    """Return what the views of a run start from."""
    evidence = Evidence(run)
    return Material(run, evidence, results_frame(evidence), setting(evidence))


def setting(evidence: Evidence) -> str:
    """Return data, budget, seeds, machine and origin of the weights, for titles."""
    counted = Counter(
        (cell["shortcut"], cell["depth"]) for cell in evidence.cells if _usual(cell)
    )
    fewest, most = min(counted.values(), default=0), max(counted.values(), default=0)
    seeds = str(most) if fewest == most else f"{fewest} to {most}"
    device = next(iter(evidence.cells), {}).get("device", "cpu")
    machine = machine_title(evidence.run.environment, device)
    if not most:
        return f"untrained networks · {machine}"
    parts = [
        dataset_title(evidence.dataset),
        "no steps yet" if evidence.steps is None else f"{evidence.steps:,} steps",
        f"{seeds} seed{'s' if most != 1 else ''}",
        machine,
        "random initial weights (He)",
    ]
    return " · ".join(parts)


def results_frame(evidence: Evidence) -> pd.DataFrame:
    """Return one row per network with the median of its seeds and its interval.

    Errors have two centres where some seeds train and some do not: the interval is that
    of order statistics, below six seeds the least and the greatest.

    Columns: those of NETWORK, `steps`, `seeds`, `trained` and `diverged` (counts), and
    `train_percent` and `test_percent`, each with `_low` and `_high`;
    `sampling_low` and `sampling_high` bound the test error by the size of the test
    set alone (Wilson).
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in evidence.rows(TrainingResult):
        groups.setdefault(tuple(row[name] for name in NETWORK), []).append(row)
    rows, steps = [], evidence.steps_by_budget
    for key, group in groups.items():
        network = dict(zip(NETWORK, key, strict=True))
        network["steps"] = steps[network["budget"]]
        rows.append(network | summarised(group, evidence.trained_percent))
    order = ["treatment", "train_images", "budget", "depth", "shortcut"]
    names = [*NETWORK, "steps", "seeds", "trained", "diverged", *_error_names()]
    frame = pd.DataFrame(rows, columns=names)
    return frame.sort_values(order, na_position="first", ignore_index=True)


def _error_names() -> list[str]:
    errors = [f"{name}_percent{bound}" for name in ERRORS for bound in BOUNDS]
    return [*errors, "sampling_low", "sampling_high"]


def summarised(
    group: Sequence[Mapping[str, Any]], trained_percent: float
) -> dict[str, Any]:
    """Return what the seeds of one network have in common, and their errors."""
    summary: dict[str, Any] = {
        "seeds": len(group),
        "trained": sum(row[ERRORS["train"]] < trained_percent for row in group),
        "diverged": sum(row["diverged"] for row in group),
    }
    for name, field in ERRORS.items():
        interval = error_interval([row[field] for row in group])
        summary |= interval_columns(f"{name}_percent", interval)
    sampling = sampling_interval(summary["test_percent"], group[0]["test_images"])
    return summary | {"sampling_low": sampling.low, "sampling_high": sampling.high}


def error_interval(errors: Sequence[float]) -> Interval:
    """Return the median over seeds with its interval; one seed has none."""
    if len(errors) == 1:
        return Interval(errors[0], -math.inf, math.inf, 1)
    return median_interval(errors)


def sampling_interval(percent: float, images: int) -> Interval:
    """Return how sure `images` test images can be of an error in percent."""
    return wilson_interval(round(percent / 100 * images), images).times(100)


def standard(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks as they are, trained on everything."""
    return frame[(frame["treatment"] == "standard") & frame["train_images"].isna()]


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


def marks(shortcut: str) -> dict[str, Any]:
    """Return the colour and the marker by which a network's shortcut is known."""
    return {"color": SHORTCUT_COLOURS[shortcut], "marker": MARKERS[shortcut]}


def whiskers(
    axes: Axes, frame: pd.DataFrame, x: str, limits: tuple[float, float], **style: Any
) -> ErrorbarContainer:
    """Draw estimates with intervals, cut at what the quantity can be."""
    frame = frame.astype(dict.fromkeys(("estimate", "low", "high"), float))
    low = (frame["estimate"] - frame["low"].clip(lower=limits[0])).clip(lower=0)
    high = (frame["high"].clip(upper=limits[1]) - frame["estimate"]).clip(lower=0)
    # One seed has no interval: an infinite or unknown bound draws no whisker.
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
    plain_log_ticks(axes.yaxis, compact)


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
