"""The tables of `speed`: times, and their ratios to the first row's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from resnet_bench.execution.allocator import SETTING, VARIABLE
from resnet_bench.experiments.speed.cells import CEILING_FIELDS, ceiling_of
from resnet_bench.experiments.speed.protocols import PROTOCOLS, interval_of
from resnet_bench.experiments.speed.records import NOISY_HALF_WIDTH, phase_field
from resnet_bench.experiments.speed.view.row import (
    MISSING,
    PHASES,
    RATES,
    RATIO_PHASES,
    SpeedRow,
)
from resnet_bench.experiments.speed.view.rows import (
    conditions,
    described,
    varying,
)
from resnet_bench.present.tables import Table
from resnet_bench.statistics.estimates import percentile
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: Columns of the terminal's table, those tried first that the run can fill; beside
#: the model, the setting and the verdict. `inference` alone makes room for more.
TRAIN_COLUMNS = (
    "forward_seconds",
    "backward_seconds",
    "step_seconds",
    "inference_seconds",
    "train_images_per_second",
    "train_peak_memory_bytes",
)
INFERENCE_COLUMNS = (
    "inference_seconds",
    "inference_images_per_second",
    "inference_peak_memory_bytes",
    "gmac",
    "efficiency_fraction",
)
HEADERS = {
    "inference_seconds": "infer",
    "train_images_per_second": "train",
    "inference_images_per_second": "infer",
    "train_peak_memory_bytes": "memory",
    "inference_peak_memory_bytes": "infer memory",
    "efficiency_fraction": "of ceiling",
    "gmac": "work",
    "gflop": "work",
    "mac_ratio": "mac",
}

RATIO_NOTE = (
    "mac: multiply-adds over the first row's. Of ceiling: FLOP/s of the forward pass "
    "over the fastest matrix product or convolution measured in the same run."
)

EXPLANATIONS = {
    "failed": "the cell raised an error",
    "oom": "out of memory; the batch is never made smaller",
    "closure-failed": "forward, loss, backward and optimizer do not add up to the "
    "step within 5 %",
    "not-warmed-up": "times had not settled when sampling began",
    "throttled": "the processor's clock was held down",
    "oversubscribed": "other work, or more threads than cores, took the processor",
    "host-bound": "the GPU waited for the CPU",
    "noisy": f"an interval is wider than ±{NOISY_HALF_WIDTH:.0%} or has fewer than 6 "
    "samples",
    MISSING: "not measured yet",
}


def frame_of(rows: Sequence[SpeedRow]) -> pd.DataFrame:
    """Return everything that is known of the rows, a line each, in SI units."""
    return pd.DataFrame([_frame_row(row, rows) for row in rows], dtype=object)


def _frame_row(row: SpeedRow, rows: Sequence[SpeedRow]) -> dict[str, Any]:
    differ = varying(rows)
    columns: dict[str, Any] = {
        "model": row.name,
        **({"setting": described(row.parameters, differ)} if differ else {}),
        "architecture": row.parameters["architecture"],
        **row.settings,
        **row.work,
    }
    for phase in PHASES:
        columns |= bounded(phase_field(phase), row.phase(phase), counted=True)
        columns |= {
            f"{phase}_{name}": seconds
            for name, seconds in percentiles(row, phase).items()
        }
    columns |= {"first_call_seconds": row.first_call_seconds}
    for name in RATES:
        columns |= bounded(name, row.interval(name))
    columns |= row.peak_memory
    columns |= bounded("closure", row.closure)
    columns |= {"efficiency_fraction": row.efficiency}
    for phase in RATIO_PHASES:
        columns |= _ratio(row, rows[0], phase)
    columns |= {"warmup_converged": row.warmup_converged}
    return columns | {"flags": row.flags, "verdict": row.verdict}


def _ratio(row: SpeedRow, first: SpeedRow, phase: str) -> dict[str, float | None]:
    """Return a ratio's columns; that of the first row to itself has no bounds."""
    if row is first:
        return {f"{phase}_ratio": 1.0 if row.phase(phase) else None}
    return bounded(f"{phase}_ratio", row.ratio_to(first, phase))


def percentiles(row: SpeedRow, phase: str) -> dict[str, float | None]:
    """Return p90 and p99 of a phase, None where the samples cannot carry them."""
    samples = row.samples(phase_field(phase))
    return {
        f"p{percent}_seconds": percentile(samples, percent) if samples else None
        for percent in (90, 99)
    }


def bounded(
    name: str, interval: Interval | None, *, counted: bool = False
) -> dict[str, float | None]:
    """Return an interval as the columns of a frame; one sample bounds nothing."""
    columns: dict[str, float | None] = dict.fromkeys(
        (name, f"{name}_low", f"{name}_high")
    )
    if interval is not None:
        told = interval.samples > 1
        columns[name] = interval.estimate
        columns[f"{name}_low"] = interval.low if told else -math.inf
        columns[f"{name}_high"] = interval.high if told else math.inf
    if counted:
        phase = name.removesuffix("_seconds")
        columns[f"{phase}_samples"] = interval.samples if interval else 0
    return columns


def as_json(
    interval: Interval | None, *, samples: bool = True, statistic: str = "median"
) -> Any:
    """Return an interval as JSON; bounds that cannot be told are null."""
    if interval is None:
        return None
    told = math.isfinite(interval.high)
    return {
        statistic: interval.estimate,
        "low": interval.low if told else None,
        "high": interval.high if told else None,
        **({"samples": interval.samples} if samples else {}),
    }


def times_table(
    run: Run, rows: Sequence[SpeedRow], notes: Sequence[str] | None = None
) -> Table:
    """Return the main table; every column is in its frame."""
    frame = frame_of(rows)
    return Table(
        name="times",
        title=f"Speed on {conditions(run, rows)}",
        frame=frame,
        narrow=_narrow(frame, rows),
        notes=footers(run, rows) if notes is None else notes,
        headers=HEADERS,
    )


def _narrow(frame: pd.DataFrame, rows: Sequence[SpeedRow]) -> list[str]:
    trains = any(row.parameters["mode"] != "infer" for row in rows)
    wanted = TRAIN_COLUMNS if trains else INFERENCE_COLUMNS
    first = ["model", "setting"] if varying(rows) else ["model"]
    known = [name for name in wanted if not frame[name].isna().all()] or wanted[:1]
    return [*first, *known[: 7 - len(first)], "verdict"]


def ratios_table(rows: Sequence[SpeedRow]) -> Table:
    """Return times over those of the first row, beside the ratio of their work."""
    frame = frame_of(rows)
    frame["mac_ratio"] = pd.Series(_work_ratios(rows), dtype=object)
    names = [f"{phase}_ratio" for phase in RATIO_PHASES]
    known = [name for name in names if not frame[name].isna().all()]
    first = ["model", "setting"] if varying(rows) else ["model"]
    narrow = [*first, *known, "mac_ratio", "efficiency_fraction"]
    bounds = [f"{name}_{side}" for name in known for side in ("low", "high")]
    of_means = all(row.statistic == "mean" for row in rows)
    how = "means over means" if of_means else "paired by round"
    return Table(
        name="ratios",
        title=f"Times over those of {rows[0].name}, {how}",
        frame=frame[[*narrow, *bounds]],
        narrow=narrow,
        notes=[RATIO_NOTE],
        headers={**HEADERS, **{name: name.removesuffix("_ratio") for name in names}},
    )


def _work_ratios(rows: Sequence[SpeedRow]) -> list[float | None]:
    work = [row.work["gmac"] for row in rows]
    return [value / work[0] if value and work[0] else None for value in work]


def footers(run: Run, rows: Sequence[SpeedRow]) -> list[str]:
    """Return what has to be known to read the numbers."""
    followed = dict.fromkeys(row.parameters.get("protocol") for row in rows)
    kinds = dict.fromkeys(map(interval_of, followed))
    notes = [
        "The interval, in brackets or as ± its wider side, is the 95 % interval of the "
        f"{' or '.join(kinds)} within this process; another process may differ by more "
        "('resnet-bench noise' measures it)."
    ]
    notes += [PROTOCOLS[name].boundaries for name in followed if name in PROTOCOLS]
    flags = dict.fromkeys(flag for row in rows for flag in row.flags)
    notes += [f"{flag}: {EXPLANATIONS.get(flag, 'see notes')}." for flag in flags]
    notes += [f"{row.name}: {row.error}" for row in rows if row.error]
    return [*notes, *_ceiling_notes(rows), *_memory_notes(run, rows)]


def _memory_notes(run: Run, rows: Sequence[SpeedRow]) -> list[str]:
    """Say what a program of one's own has to set to be as fast, if anything."""
    variables = run.environment.get("variables") or {}
    on_cpu = any(row.parameters["device"] == "cpu" for row in rows)
    if not on_cpu or variables.get(VARIABLE) != SETTING:
        return []
    return [
        f"Freed memory is kept, on huge pages ({VARIABLE}, docs/method.md); a program "
        "without that setting is slower by its page faults."
    ]


def _ceiling_notes(rows: Sequence[SpeedRow]) -> list[str]:
    roofs = {ceiling_of(row.parameters): row for row in rows if row.ceilings}
    differ = [name for name in CEILING_FIELDS if name in varying(rows)]
    each = [
        (described(row.parameters, differ), _ceilings_in_words(row.ceilings))
        for row in roofs.values()
    ]
    said = "; ".join(f"{where}: {what}" if where else what for where, what in each)
    return [f"Ceilings measured here: {said}."] if said else []


def _ceilings_in_words(found: Mapping[str, Interval]) -> str:
    words = {"matrix_product": "product", "convolution": "convolution", "copy": "copy"}
    return ", ".join(
        f"{words[kind]} {interval.estimate / 1e9:,.3g} "
        f"{'GB/s' if kind == 'copy' else 'GFLOP/s'}"
        for kind, interval in found.items()
    )
