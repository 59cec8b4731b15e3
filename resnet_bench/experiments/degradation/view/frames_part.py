"""A run's networks as a frame: one row per network and depth, seeds summarised."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from resnet_bench.experiments.degradation.records import TrainingResult
from resnet_bench.statistics.estimates import mean_interval, wilson_interval
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: What tells networks apart, seeds aside.
NETWORK = ("arm", "depth", "variant", "budget", "train_images", "width")

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
    order = ["variant", "train_images", "budget", "depth", "arm"]
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
    return frame[(frame["variant"] == "standard") & frame["train_images"].isna()]


def record_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return records of standard networks at one budget as a frame."""
    kept = [
        row
        for row in rows
        if row["variant"] == "standard"
        and row["budget"] == 1
        and row["train_images"] is None
    ]
    return pd.DataFrame(kept)
