"""What a person sees of `speed`: JSON, tables, figures and sentences."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.speed.settings import OWN
from resnet_bench.experiments.speed.view import times as view_figures
from resnet_bench.experiments.speed.view.ladder import (
    GOALS,
    Step,
    ladder_figure,
    ladder_table,
    recommendations,
    steps_of,
)
from resnet_bench.experiments.speed.view.parts import (
    breakdown_json,
    breakdown_table,
    explanation_figures,
)
from resnet_bench.experiments.speed.view.published import published_table
from resnet_bench.experiments.speed.view.roofline import roofline_figures
from resnet_bench.experiments.speed.view.rows import (
    PHASES,
    RATES,
    RATIO_PHASES,
    SpeedRow,
    rows_of,
)
from resnet_bench.experiments.speed.view.shortcut import shortcut_json, shortcut_table
from resnet_bench.experiments.speed.view.sweep import (
    scaling_tables,
    sweep_figures,
    sweep_table,
    sweeps_of,
)
from resnet_bench.experiments.speed.view.times import (
    json_of,
    percentiles,
    ratios_table,
    times_table,
)
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

#: Phases that stand for a whole call, the first that was timed counts.
CALLS = {"step": "A training step", "inference": "Inference"}


def sentences(rows: Sequence[SpeedRow]) -> list[str]:
    """Return how much longer each network takes, and the fastest way to run it."""
    return [
        *_comparison(rows),
        *(f"{each.sentence}." for each in recommendations(rows)),
    ]


def _comparison(rows: Sequence[SpeedRow]) -> list[str]:
    """Return a sentence on the rows that differ from the first in the network only."""
    for phase, words in CALLS.items():
        others = [
            row
            for row in rows[1:]
            if row.settings == rows[0].settings and row.ratio_to(rows[0], phase)
        ]
        if others:
            first = rows[0]
            told = ", ".join(_ratio(row, first, phase) for row in others)
            return [f"{words} takes, beside that of {first.name}: {told}."]
    return []


def _ratio(row: SpeedRow, first: SpeedRow, phase: str) -> str:
    ratio = row.ratio_to(first, phase)
    work, own = row.known("multiply_adds"), first.known("multiply_adds")
    beside = f" for {work / own:.2f} times the multiply-adds" if work and own else ""
    if ratio is None:
        return row.name
    bounds = f"[{ratio.low:.2f}, {ratio.high:.2f}]"
    return f"{row.name} {ratio.estimate:.2f} times as long {bounds}{beside}"


def json_object(run: Run) -> dict[str, Any]:
    """Return the run as one JSON object, in SI units, unknown values null."""
    rows = rows_of(run)
    steps = {id(step.row): step for step in steps_of(rows)}
    content: dict[str, Any] = {
        "run": run.id,
        "rows": [_json_row(row, rows[0], steps.get(id(row))) for row in rows],
    }
    sweeps = sweeps_of(rows)
    if sweeps:
        content["sweeps"] = [sweep.json for sweep in sweeps]
    parts = breakdown_json(run)
    if parts:
        content["breakdown"] = parts
    shortcuts = shortcut_json(rows)
    if shortcuts:
        content["shortcut"] = shortcuts
    if steps:
        content["recommended"] = [each.json for each in recommendations(rows)]
    return content


def _json_row(row: SpeedRow, first: SpeedRow, step: Step | None) -> dict[str, Any]:
    first = step.start if step else first
    return {
        **{name: row.parameters[name] for name in ("variant", "model", "shortcut")},
        **row.settings,
        "protocol": row.parameters.get("protocol") or OWN,
        "statistic": row.statistic,
        **row.work,
        **{phase: json_of(row.phase(phase)) for phase in PHASES},
        "percentiles": {
            phase: percentiles(row, phase) for phase in PHASES if row.phase(phase)
        },
        "first_call_seconds": row.first_call_seconds,
        **{name: json_of(row.interval(name)) for name in RATES},
        **row.peak_memory,
        "closure": json_of(row.closure),
        "efficiency": row.efficiency,
        "ratio_to_first": {
            phase: json_of(row.ratio_to(first, phase))
            for phase in RATIO_PHASES
            if row.phase(phase)
        },
        **(_json_step(step) if step else {}),
        "warmup_converged": row.warmup_converged,
        "flags": row.flags,
        "verdict": row.verdict,
        "error": row.error,
    }


def _json_step(step: Step) -> dict[str, Any]:
    """Return what a step of the ladder adds to its row."""
    row = step.row
    return {
        "rung": row.parameters["rung"],
        "ratio_to_previous": {
            phase: json_of(step.ratio_to_previous(phase)) for phase in GOALS.values()
        },
        "logit_error": row.known("logit_error"),
        "top1_agreement": row.known("top1_agreement"),
        "compile_seconds": {
            phase: step.compile_seconds(phase) for phase in GOALS.values()
        },
        "break_even_calls": {
            phase: step.break_even_calls(phase) for phase in GOALS.values()
        },
    }


def tables(run: Run) -> list[Table]:
    """Return the table of times and, with more than one row, that of ratios."""
    rows = rows_of(run)
    if not rows:
        return []
    made = [times_table(run, rows)]
    parts = breakdown_table(run)
    if parts is not None:
        made.append(parts)
    ladder = ladder_table(run, rows)
    if ladder is not None:
        made.append(ladder)
    elif len(rows) > 1 and any(row.visits for row in rows[1:]):
        made.append(ratios_table(rows))
    shortcut = shortcut_table(rows)
    sweeps = sweeps_of(rows)
    if sweeps:
        made.append(sweep_table(sweeps))
    return [*made, *([shortcut] if shortcut else []), *scaling_tables(run)]


def live_table(run: Run) -> Table | None:
    """Return the table of times as far as it is filled; None before the grid is."""
    rows = rows_of(run)
    return times_table(run, rows, notes=()) if rows else None


def figures(run: Run) -> dict[str, Figure]:
    """Return the figures that the run can fill, by file name."""
    rows = rows_of(run)
    made = view_figures.figures(run, rows)
    made |= roofline_figures(run, rows) | explanation_figures(run)
    made |= sweep_figures(run, rows)
    ladder = ladder_figure(run, rows)
    return made | ({"ladder": ladder} if ladder else {})


def headline(run: Run) -> list[str]:
    """Return what the run says, in a few sentences."""
    return sentences(rows_of(run))


def notices(run: Run, others: OtherRuns) -> list[str]:
    """Return sentences about conditions that were seen while measuring.

    A sentence that came back with another figure is said once, as it was last.
    """
    said = [
        f"{row.name}: {note}"
        for row in rows_of(run)
        for note in {re.sub(r"[\d.]+", "", note): note for note in row.notes}.values()
    ]
    return [*said, *between_processes(others)]


def between_processes(others: OtherRuns) -> list[str]:
    """Return how much processes differ on this machine, once `noise` measured it."""
    spread = others.process_spread
    if spread is None:
        return []
    return [
        f"between processes, times of identical code differ by {spread:.1%} on this "
        "machine (standard deviation, from its newest noise run)"
    ]


def published(run: Run) -> list[Table]:
    """Return published figures beside the run's own."""
    table = published_table(run, rows_of(run))
    return [table] if table else []


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows."""
    return Shown(
        json=json_object(run),
        tables=tables(run),
        notices=notices(run, others),
        headline=headline(run),
        published=published(run),
        draw=partial(figures, run),
    )
