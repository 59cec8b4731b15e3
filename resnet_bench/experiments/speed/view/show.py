"""What a person sees of `speed`: JSON, tables, figures and sentences."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, log
from operator import itemgetter
from statistics import fmean, stdev
from typing import Any

from matplotlib.figure import Figure

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.speed.cells import (
    NOISE_PHASES,
    NOISY_SPREAD,
    TIME,
    BreakdownSamples,
    CeilingSamples,
    ScalingSamples,
    SpeedSamples,
)
from resnet_bench.experiments.speed.settings import OWN
from resnet_bench.experiments.speed.view.breakdown import (
    Breakdown,
    breakdown_table,
    breakdowns_of,
    part_figures,
)
from resnet_bench.experiments.speed.view.drawing import MILLISECONDS
from resnet_bench.experiments.speed.view.figures import row_figures
from resnet_bench.experiments.speed.view.ladder import (
    Recommendation,
    Step,
    is_trusted,
    ladder_figures,
    ladder_table,
    recommendations,
    steps_of,
)
from resnet_bench.experiments.speed.view.published import published_ratios
from resnet_bench.experiments.speed.view.rows import (
    PHASES,
    RATES,
    RATIO_PHASES,
    SpeedRow,
    described,
    each_once,
    rows_of,
    varying,
)
from resnet_bench.experiments.speed.view.shortcut import (
    Shortcut,
    shortcut_table,
    shortcuts_of,
)
from resnet_bench.experiments.speed.view.sweep import (
    Sweep,
    sweep_figures,
    sweep_table,
    sweeps_of,
)
from resnet_bench.experiments.speed.view.tables import (
    footers,
    frame_of,
    percentiles,
    ratios_table,
    scaling_table,
    times_table,
)
from resnet_bench.present.numbers import bracketed, percent, rounded
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.statistics.intervals import SAMPLES_FOR_ORDER_STATISTICS, Interval
from resnet_bench.store.reading import Run

#: Phases that stand for a whole call, the first that was timed counts.
CALLS = {"step": "A training step", "inference": "Inference"}

#: How ratios are written in sentences.
HUNDREDTHS = "{:.2f}".format


@dataclass(frozen=True)
class Found:
    """What a run holds: its rows, and what they are to each other."""

    rows: Sequence[SpeedRow]
    steps: Sequence[Step]
    recommended: Sequence[Recommendation]
    breakdowns: Sequence[Breakdown]
    shortcuts: Sequence[Shortcut]
    sweeps: Sequence[Sweep]


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows; rows and what follows from them are made once."""
    rows = rows_of(run)
    steps = steps_of(rows)
    found = Found(
        rows=rows,
        steps=steps,
        recommended=recommendations(steps),
        breakdowns=breakdowns_of(run),
        shortcuts=shortcuts_of(rows),
        sweeps=sweeps_of(rows),
    )
    published = published_ratios(run, rows)
    return Shown(
        json=_json(run, found),
        tables=_tables(run, found),
        notices=_notices(run, rows, others),
        headline=[
            *(_alone(rows[0]) if len(rows) == 1 else _comparison(rows)),
            *_settings_compared(rows),
            *(f"{each.sentence}." for each in found.recommended),
        ],
        published=[published] if published else [],
        draw=partial(_figures, run, found),
    )


def live_table(run: Run, running: Collection[str]) -> Table | None:
    """Return the table of times as far as it is filled; None before the grid is.

    A row has its verdict once its cell has ended; `running` holds keys of cells.
    """
    rows = rows_of(run)
    if not rows:
        return None
    keys = [key for key, cell in run.grid.items() if cell["measure"] == TIME]
    states = [
        row.verdict if key in run.cells else "running" if key in running else "waiting"
        for key, row in zip(keys, rows, strict=True)
    ]
    return times_table(run, rows, frame_of(rows).assign(verdict=states), notes=())


def _tables(run: Run, found: Found) -> list[Table]:
    """Return the table of times and those that the run can fill beside it."""
    rows = found.rows
    if not rows:
        return []
    frame = frame_of(rows)
    made = [
        times_table(run, rows, frame, footers(run, rows)),
        breakdown_table(found.breakdowns),
        ladder_table(run, found.steps, found.recommended),
        None if found.steps else ratios_table(rows, frame),
        sweep_table(found.sweeps),
        shortcut_table(found.shortcuts),
        scaling_table(run),
    ]
    return [table for table in made if table is not None]


def _figures(run: Run, found: Found) -> dict[str, Figure]:
    """Return the figures that the run can fill, by file name."""
    return {
        **row_figures(run, found.rows),
        **part_figures(run, found.breakdowns),
        **sweep_figures(run, found.rows, found.sweeps),
        **ladder_figures(run, found.steps),
    }


def _json(run: Run, found: Found) -> dict[str, Any]:
    """Return the run as one JSON object, in SI units, unknown values null."""
    steps = {id(step.row): step for step in found.steps}
    rows = found.rows
    further = {
        "sweeps": [each.json for each in found.sweeps],
        "breakdown": [each.json for each in found.breakdowns],
        "shortcut": [each.json for each in found.shortcuts],
        "recommended": [each.json for each in found.recommended],
    }
    return {
        "run": run.id,
        "rows": [_json_row(row, rows[0], steps.get(id(row))) for row in rows],
        **{name: content for name, content in further.items() if content},
    }


def _json_row(row: SpeedRow, first: SpeedRow, step: Step | None) -> dict[str, Any]:
    first = step.start if step else first
    times = {phase: row.phase(phase) for phase in PHASES}
    timed = [phase for phase, time in times.items() if time]
    rates = {name: row.interval(name) for name in RATES}
    ratios = {phase: row.ratio_to(first, phase) for phase in RATIO_PHASES}
    return {
        **row.model,
        **row.settings,
        "protocol": row.parameters["protocol"] or OWN,
        "statistic": row.statistic,
        **row.work,
        **{phase: time and time.json for phase, time in times.items()},
        "percentiles": {phase: percentiles(row, phase) for phase in timed},
        "first_call_seconds": row.first_call_seconds,
        **{name: rate and rate.json for name, rate in rates.items()},
        **row.peak_memory,
        "closure": row.closure and row.closure.json,
        "efficiency": row.efficiency,
        "ratio_to_first": {
            phase: ratio and ratio.json
            for phase, ratio in ratios.items()
            if phase in timed
        },
        "logit_error": row.known("logit_error"),
        "top1_agreement": row.known("top1_agreement"),
        "told": row.known("told") or {},
        **(step.json if step else {}),
        "flags": row.flags,
        "left_out_visits": row.left_out,
        "verdict": row.verdict,
        "error": row.error,
    }


def _alone(row: SpeedRow) -> list[str]:
    """Return a sentence on how long the only row's calls take."""
    images = row.parameters["batch_size"]
    times = [
        f"{words.lower()} of {images} image{'s' if images != 1 else ''} takes "
        f"{bracketed(time.times(MILLISECONDS))} ms"
        for phase, words in CALLS.items()
        if (time := row.phase(phase))
    ]
    return [f"{row.name}: {', '.join(times)}."] if times else []


def _comparison(rows: Sequence[SpeedRow]) -> list[str]:
    """Return a sentence on the rows that differ from the first in the network only."""
    for phase, words in CALLS.items():
        told = [
            _ratio(row, rows[0], ratio)
            for row in rows[1:]
            if row.settings == rows[0].settings
            and (ratio := row.ratio_to(rows[0], phase)) is not None
            and ratio.bounded
        ]
        if told:
            takes = ", ".join(told)
            return [f"Compared with {rows[0].name}, {words.lower()} takes {takes}."]
    return []


def _settings_compared(rows: Sequence[SpeedRow]) -> list[str]:
    """Return a sentence per network and kind of call that was timed in several ways."""
    networks: dict[Any, list[SpeedRow]] = {}
    for row in rows:
        if row.parameters.get("rung") is None and not row.parameters["protocol"]:
            sizes = (row.parameters["batch_size"], row.parameters["image_size"])
            networks.setdefault((row.name, *sizes), []).append(row)
    return [
        sentence
        for group in networks.values()
        for phase, words in CALLS.items()
        if (sentence := _fastest_way(group, phase, words))
    ]


def _fastest_way(rows: Sequence[SpeedRow], phase: str, words: str) -> str | None:
    """Return how many times as fast the fastest setting is as the first."""
    timed = [
        (time.estimate, row)
        for row in rows
        if is_trusted(row) and (time := row.phase(phase))
    ]
    first, differ = rows[0], varying(rows)
    fastest = min(timed, key=itemgetter(0), default=(0.0, first))[1]
    ratio = first.ratio_to(fastest, phase)
    if not differ or fastest is first or ratio is None or not ratio.bounded:
        return None
    ways = [described(row.parameters, differ) for row in (fastest, first)]
    return (
        f"{words} of {first.name}: {ways[0]} is {bracketed(ratio, HUNDREDTHS)} "
        f"times as fast as {ways[1] or 'without'}."
    )


def _ratio(row: SpeedRow, first: SpeedRow, ratio: Interval) -> str:
    work, own = row.known("multiply_adds"), first.known("multiply_adds")
    beside = f" ({work / own:.2f} times the multiply-adds)" if work and own else ""
    return f"{bracketed(ratio, HUNDREDTHS)} times as long with {row.name}{beside}"


def _disturbance(disturbed: Sequence[SpeedRow], rows: Sequence[SpeedRow]) -> str:
    """Return how much other work took of the time of some rows, and what to do."""
    share = fmean(row.waiting_share for row in disturbed)
    return (
        f"This run was disturbed: in {len(disturbed)} of {len(rows)} rows, threads "
        f"waited for a core {percent(share)} of the time. Close other programs, or ask "
        "for fewer --threads, and measure again."
    )


def _noise(run: Run, rows: Sequence[SpeedRow]) -> list[str]:
    """Say what made rows noisy that no other work disturbed: few visits, or spread.

    And which budget would probably settle it.
    """
    noisy = [row for row in rows if row.verdict == "noisy"]
    budget = run.config.get("budget")
    if not noisy or not budget or any(row.left_out for row in rows):
        return []
    enough = 10 * ceil(budget * fmean(map(_times_the_visits, rows)) / 10)
    advice = f"--budget {enough} would probably do."
    fewest = SAMPLES_FOR_ORDER_STATISTICS
    if few := [row for row in noisy if len(row.visits) < fewest]:
        return [
            f"{len(few)} of {len(rows)} rows have fewer than {fewest} visits. {advice}"
        ]
    timed = [
        (max(calls) / min(calls), calls, f"{phase} of {row.name}")
        for row in noisy
        for phase in NOISE_PHASES
        if (calls := list(row.rounds(phase).values()))
    ]
    _, calls, which = max(timed, key=itemgetter(0))
    fastest, slowest = (MILLISECONDS * side(calls) for side in (min, max))
    return [
        f"{len(noisy)} of {len(rows)} rows {'is' if len(noisy) == 1 else 'are'} noisy, "
        f"though no other program was seen to take a core: the same call ({which}) "
        f"took {rounded(fastest)} to {rounded(slowest)} ms. {advice}"
    ]


def _times_the_visits(row: SpeedRow) -> float:
    """Return how many times as many visits would make a row's intervals narrow.

    From the spread of its visits, by the half-width of a normal mean's interval.
    """
    series = [list(row.rounds(phase).values()) for phase in NOISE_PHASES]
    needed = [
        max(SAMPLES_FOR_ORDER_STATISTICS, (1.96 * spread / NOISY_SPREAD) ** 2)
        / len(visits)
        for visits in series
        if len(visits) > 1
        for spread in (stdev(map(log, visits)),)
    ]
    return max([1.0, *needed])


def dropped_visits(run: Run) -> int:
    """Return how many visits, to any kind of cell, were dropped: it was stopped."""
    kinds = (SpeedSamples, BreakdownSamples, CeilingSamples, ScalingSamples)
    return sum(row.get("dropped_visits", 0) for kind in kinds for row in run.rows(kind))


def _notices(run: Run, rows: Sequence[SpeedRow], others: OtherRuns) -> list[str]:
    """Return sentences about conditions that were seen while measuring."""
    disturbed = [row for row in rows if row.disturbed]
    said = [_disturbance(disturbed, rows)] if disturbed else []
    said += _noise(run, rows)
    left_out = sum(row.left_out for row in rows)
    if left_out:
        of = left_out + sum(len(row.visits) for row in rows)
        said.append(
            f"left out: {left_out} of {of} visits, because other work took a core"
        )
    if dropped := dropped_visits(run):
        count = "1 visit" if dropped == 1 else f"{dropped} visits"
        said.append(
            f"{count} dropped and repeated, because the process was stopped "
            "(SIGSTOP, Ctrl-Z)"
        )
    said += each_once(
        (row, note)
        for row in rows
        for note in row.notes
        if not (row.disturbed and note.startswith("threads waited"))
    )
    spread = others.process_spread
    if spread is not None:
        said.append(
            "between processes on this machine, times of identical code differ by "
            f"{percent(spread, 1)} (standard deviation, from its newest noise run)"
        )
    return said
