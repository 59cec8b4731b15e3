"""What a person sees of `finetune`: JSON, tables, figures and sentences."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.finetune.spec import TransferResult
from resnet_bench.experiments.finetune.view.figures import figures
from resnet_bench.experiments.finetune.view.front import Front, front_of
from resnet_bench.experiments.finetune.view.groups import (
    ControlGain,
    Group,
    Row,
    control_gains,
    gain_over_scratch,
    groups_of,
)
from resnet_bench.experiments.finetune.view.tables import published_table, run_tables
from resnet_bench.experiments.finetune.view.words import accuracy_sentences
from resnet_bench.experiments.finetune.view.words import caveats as caveats_of
from resnet_bench.experiments.pretrain.spec import SourceResult
from resnet_bench.present.shown import Shown
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: Columns of a cell's training that a row of the JSON object carries as its own.
TRAINING = ("dataset", "batch_size", "target_accuracy_percent", "device", "amp")

#: What is shown otherwise or serves other numbers.
LEFT_OUT = frozenset({"training", "right_answers"})


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows; groups, control gains and the front are made once."""
    groups = groups_of(run)
    gains = control_gains(groups)
    found = front_of(groups, others)
    published = published_table(run, groups)
    caveats = caveats_of(run, groups)
    origin, *further = caveats
    return Shown(
        json=_json(run, groups, gains, found),
        tables=run_tables(run, groups, gains, found),
        notices=caveats,
        headline=[origin, *accuracy_sentences(groups), *further],
        published=[published] if published else [],
        draw=partial(figures, run, groups, found),
    )


def _json(
    run: Run,
    groups: Sequence[Group],
    gains: Sequence[ControlGain],
    found: Front | None,
) -> dict[str, Any]:
    """Return rows, controls, the negative control and a summary over seeds.

    SI units; what is unknown or unbounded is null, as is a target not reached.
    """
    results = [_flat(row) for row in run.rows(TransferResult)]
    return {
        "run": run.id,
        "rows": [row for row in results if row["part"] == "strategy"],
        "controls": [row for row in results if row["part"] == "control"],
        "negative_control": [_control(each) for each in gains],
        "sources": [_flat(row) for row in run.rows(SourceResult)],
        "front": _front(found),
        "summary": [_summary(group, groups) for group in groups],
    }


def _flat(row: Row) -> Row:
    training = row.get("training") or {}
    rest = {key: value for key, value in row.items() if key not in LEFT_OUT}
    return {**{name: training.get(name) for name in TRAINING}, **rest}


def _control(each: ControlGain) -> Row:
    return {
        "variant": each.variant,
        "gain_points": _interval(each.gain),
        "half_width_points": _finite(each.half_width),
        "test_set_sampling_points": each.sampling_points,
        "verdict": str(each.verdict),
    }


def _summary(group: Group, groups: Sequence[Group]) -> Row:
    return {
        "variant": group.variant,
        "strategy": group.strategy,
        "fraction": group.fraction,
        "permuted": group.permuted,
        "control": group.is_control,
        "weights_origin": group.rows[0]["weights_origin"],
        "test_accuracy_percent": _interval(group.accuracy),
        "test_set_sampling_points": group.sampling_points,
        "gain_over_scratch_points": _interval(gain_over_scratch(group, groups)),
        "training_seconds": group.median("training_seconds"),
        "step_seconds": group.median("step_seconds"),
        "peak_memory_bytes": group.median("peak_memory_bytes"),
        "seconds_to_target": _finite(group.seconds_to_target),
    }


def _front(found: Front | None) -> Row | None:
    if found is None:
        return None
    points = [
        {
            "variant": point.variant,
            "test_accuracy_percent": _interval(point.accuracy),
            "step_seconds": point.cost.step_seconds,
            "peak_memory_bytes": point.cost.peak_bytes,
            "reported_imagenet_percent": point.reported_percent,
        }
        for point in found.points
    ]
    return {"strategy": found.strategy, "measured": found.where, "points": points}


def _interval(interval: Interval | None) -> Row | None:
    if interval is None:
        return None
    return {
        "estimate": interval.estimate,
        "low": _finite(interval.low),
        "high": _finite(interval.high),
        "samples": interval.samples,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
