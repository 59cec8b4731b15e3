"""Tables of times: of each row, over the first row's, of all ranks beside one alone."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from resnet_bench.experiments.speed.cells import (
    CEILING_FIELDS,
    ScalingSamples,
    ceiling_of,
    phase_field,
)
from resnet_bench.experiments.speed.settings import PROTOCOLS
from resnet_bench.experiments.speed.view.rows import (
    PHASES,
    RATES,
    RATIO_PHASES,
    Measured,
    SpeedRow,
    conditions,
    described,
    each_once,
    name_columns,
    varying,
)
from resnet_bench.experiments.speed.view.verdicts import EXPLANATIONS
from resnet_bench.present.tables import BESIDE, Table, interval_columns
from resnet_bench.statistics.estimates import percentile
from resnet_bench.statistics.intervals import Interval, median_interval
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
    "streams_images_per_second",
    "inference_peak_memory_bytes",
    "logit_error_fraction",
    "gmac",
    "efficiency_fraction",
)
HEADERS = {
    "inference_seconds": "infer",
    "train_images_per_second": "train",
    "inference_images_per_second": "infer",
    "streams_images_per_second": "streams",
    "train_peak_memory_bytes": "memory",
    "inference_peak_memory_bytes": "infer memory",
    "efficiency_fraction": "of ceiling",
    "logit_error_fraction": "error",
    "top1_agreement_fraction": "same top-1",
    "gmac": "work",
    "gflop": "work",
    "mac_ratio": "mac",
}


def frame_of(rows: Sequence[SpeedRow]) -> pd.DataFrame:
    """Return everything that is known of the rows, a line each, in SI units."""
    differ = varying(rows)
    return pd.DataFrame(
        [_frame_row(row, rows[0], differ) for row in rows], dtype=object
    )


def _frame_row(row: SpeedRow, first: SpeedRow, differ: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        **name_columns(row, differ),
        "shortcut": row.parameters["shortcut"],
        **row.settings,
        **row.work,
    }
    for phase in PHASES:
        interval = row.phase(phase)
        columns |= bounded(phase_field(phase), interval)
        columns[f"{phase}_samples"] = interval.samples if interval else 0
        columns |= {
            f"{phase}_{name}": seconds
            for name, seconds in percentiles(row, phase).items()
        }
    columns |= {"first_call_seconds": row.first_call_seconds}
    for name in RATES:
        columns |= bounded(name, row.interval(name))
    columns |= row.peak_memory
    columns |= bounded("closure", row.closure)
    columns |= {
        "efficiency_fraction": row.efficiency,
        "logit_error_fraction": row.known("logit_error"),
        "top1_agreement_fraction": row.known("top1_agreement"),
        "conversion_seconds": row.known("conversion_seconds"),
    }
    for phase in RATIO_PHASES:
        columns |= _ratio(row, first, phase)
    return columns | {"flags": row.flags, "verdict": row.verdict}


def _ratio(row: SpeedRow, first: SpeedRow, phase: str) -> dict[str, float | None]:
    """Return a ratio's columns; that of the first row to itself has no bounds."""
    if row is first:
        return {f"{phase}_ratio": 1.0 if row.phase(phase) else None}
    return bounded(f"{phase}_ratio", row.ratio_to(first, phase))


def percentiles(row: SpeedRow, phase: str) -> dict[str, float | None]:
    """Return p90 and p99 of a phase's calls, one call per visit; None of too few."""
    name = phase_field(phase)
    own = [visit[name][0] for visit in row.visits if visit[name]]
    samples = row.samples(name) if row.parameters["protocol"] else own
    return {
        f"p{percent}_seconds": percentile(samples, percent) if samples else None
        for percent in (90, 99)
    }


def bounded(name: str, interval: Interval | None) -> dict[str, float | None]:
    """Return an interval as columns; where bounds lack, how many rounds there were."""
    columns = interval_columns(name, interval)
    if interval is not None and not interval.bounded:
        columns[f"{name}_rounds"] = interval.samples
    return columns


def times_table(
    run: Run, rows: Sequence[SpeedRow], frame: pd.DataFrame, notes: Sequence[str]
) -> Table:
    """Return the main table; `frame` is what frame_of makes of the rows."""
    trains = any(row.parameters["mode"] != "infer" for row in rows)
    wanted = TRAIN_COLUMNS if trains else INFERENCE_COLUMNS
    known = known_columns(frame, wanted) or wanted[:1]
    first = named(frame)
    return Table(
        name="times",
        title=f"Speed on {conditions(run, rows)}",
        frame=frame,
        narrow=[*first, *known[: 7 - len(first)], "verdict"],
        notes=notes,
        headers=HEADERS,
    )


def named(frame: pd.DataFrame) -> list[str]:
    """Return the columns that tell a frame's rows apart."""
    return [name for name in ("model", "setting") if name in frame]


def known_columns(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Return the columns that some row of a frame can fill."""
    return [name for name in names if not frame[name].isna().all()]


def ratios_table(rows: Sequence[SpeedRow], times: pd.DataFrame) -> Table | None:
    """Return times over those of the first row, beside the ratio of their work.

    `times` is what frame_of makes of the rows; None where no other row was timed.
    """
    if not any(row.visits for row in rows[1:]):
        return None
    frame = times.assign(mac_ratio=pd.Series(_work_ratios(rows), dtype=object))
    names = [f"{phase}_ratio" for phase in RATIO_PHASES]
    known = known_columns(frame, names)
    narrow = [*named(frame), *known, "mac_ratio", "efficiency_fraction"]
    beside = [f"{name}_{side}" for name in known for side in BESIDE]
    beside = [name for name in beside if name in frame]
    of_means = all(row.statistic == "mean" for row in rows)
    how = "means over means" if of_means else "paired by round"
    return Table(
        name="ratios",
        title=f"Times over those of {rows[0].name}, {how}",
        frame=frame[[*narrow, *beside]],
        narrow=narrow,
        detail=True,
        headers={**HEADERS, **{name: name.removesuffix("_ratio") for name in names}},
    )


def _work_ratios(rows: Sequence[SpeedRow]) -> list[float | None]:
    work = [row.work["gmac"] for row in rows]
    return [value / work[0] if value and work[0] else None for value in work]


def footers(run: Run, rows: Sequence[SpeedRow]) -> list[str]:
    """Return what has to be known to read the numbers."""
    notes = each_once((row, row.error) for row in rows if row.error)
    # An error of a row says more than its flag.
    flagged = [row.verdict for row in rows if row.flags and not row.error]
    if flagged:
        legend = (
            f"{verdict}: {EXPLANATIONS.get(verdict, 'see notes')}."
            for verdict in dict.fromkeys(flagged)
        )
        notes.append(" ".join(legend))
    followed = dict.fromkeys(row.parameters.get("protocol") for row in rows)
    notes += [PROTOCOLS[name].boundaries for name in followed if name in PROTOCOLS]
    return [*notes, *_memory_notes(run, rows), *_ceiling_notes(rows)]


def _memory_notes(run: Run, rows: Sequence[SpeedRow]) -> list[str]:
    """Say what a program of one's own has to set to be as fast, if anything."""
    variables = run.environment.get("variables") or {}
    on_cpu = any(row.parameters["device"] == "cpu" for row in rows)
    if not on_cpu or "mmap_threshold" not in variables.get("GLIBC_TUNABLES", ""):
        return []
    return [
        "Freed memory was kept, on huge pages (GLIBC_TUNABLES); without that setting, "
        "page faults make a program slower."
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
    return ", ".join(
        f"{kind.replace('_', ' ')} {_per_second(interval.estimate)}"
        f"{'B/s' if kind == 'copy' else 'FLOP/s'}"
        for kind, interval in found.items()
    )


def _per_second(rate: float) -> str:
    scale, prefix = (1e12, "T") if rate >= 1e12 else (1e9, "G")
    return f"{rate / scale:.3g} {prefix}"


#: Columns on screen of the table of ranks.
SCALING = (
    "name",
    "batch_size",
    "ranks",
    "alone_seconds",
    "together_seconds",
    "efficiency",
)


def scaling_table(run: Run) -> Table | None:
    """Return the efficiencies of a run on several ranks; None of any other run.

    Every rank works on a batch of its own, so the efficiency, throughput of all over
    that of one times their number, is the time of a step alone over that together.
    """
    rows = [_scaling_row(row) for row in run.rows(ScalingSamples)]
    if not rows:
        return None
    return Table(
        name="scaling",
        title="Scaling: a training step on all ranks against one rank alone",
        frame=pd.DataFrame(rows),
        narrow=SCALING,
        notes=[
            "one batch per rank; slowest rank; alternating blocks, medians of pairs"
        ],
        headers={"name": "model"},
    )


def _scaling_row(row: Mapping[str, Any]) -> dict[str, Any]:
    alone, together = row["alone_step_seconds"], row["together_step_seconds"]
    ratio = median_interval([a / b for a, b in zip(alone, together, strict=True)])
    return {
        "name": Measured(row).name,
        "batch_size": row["batch_size"],
        "ranks": row["ranks"],
        "alone_seconds": median(alone),
        "together_seconds": median(together),
        **interval_columns("efficiency", ratio),
    }
