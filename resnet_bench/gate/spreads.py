"""The spread between identical processes on a machine, from stored runs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from resnet_bench.errors import InputOutputError
from resnet_bench.experiments.speed.cells import MEMORY_KINDS
from resnet_bench.experiments.speed.view.rows import SpeedRow, rows_of
from resnet_bench.gate.noise import known_process_spread
from resnet_bench.gate.observed import case_of
from resnet_bench.gate.records import records_of
from resnet_bench.present.numbers import percent
from resnet_bench.store.checking import checked_run
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run

#: Standard deviation of the log-ratio of two processes measured one after the
#: other, on a shared two-core virtual machine; `noise` replaces it by this
#: machine's own.
ASSUMED_PROCESS_SPREAD = 0.15

#: Fewer repetitions of equal settings (degrees of freedom) tell no spread.
FEWEST_REPETITIONS = 6

#: The newest stored runs that are read for a spread.
MOST_RUNS = 20

#: The calls of which one stands for a row, the longest first.
CALLS = ("step", "inference", "forward")


@dataclass(frozen=True)
class Spreads:
    """Standard deviations of log-ratios of two processes that run the same.

    `source` says in words how that of times is known. `memory` is that of one pass's
    peak, None where no pass was repeated.
    """

    times: float = ASSUMED_PROCESS_SPREAD
    source: str = "assumed"
    memory: float | None = None

    @property
    def note(self) -> str:
        """How far the intervals were widened, and the source."""
        times = percent(self.times, 1)
        note = f"widened by the {times} between two processes ({self.source})"
        if self.memory is None:
            return note
        memory = percent(self.memory, 1)
        return f"{note}; of peaks, by the {memory} between repeated passes"


def spreads_of(results: Path, base: Run, head: Run) -> Spreads:
    """Return the spreads of the head run's machine.

    Times: what `noise` measured, else the differences between stored runs of equal
    settings without the head's own, else 15 %.
    """
    runs = stored_runs(results, head)
    here = [run for run in (base, head) if run.experiment == "speed"]
    everywhere = {run.id: run for run in (*runs, *here)}.values()
    memory = _pooled(peaks for run in everywhere for peaks in _peaks_of(run))
    if measured := known_process_spread(results, head.machine_key):
        return Spreads(measured, "measured by noise", memory)
    stored = _pooled(_settings_of(runs))
    if stored:
        between = math.sqrt(2) * stored
        return Spreads(between, "between stored runs of equal settings", memory)
    return Spreads(memory=memory)


def stored_runs(results: Path, head: Run) -> list[Run]:
    """Return the newest readable speed runs of the head's machine, its own left out."""
    found: list[Run] = []
    for folder in reversed(run_folders(results, "speed")[-MOST_RUNS:]):
        try:
            run = checked_run(folder, records_of)
        except InputOutputError:
            continue  # `list` names damaged runs
        if run.machine_key == head.machine_key and run.id != head.id:
            found.append(run)
    return found


def _settings_of(runs: Sequence[Run]) -> Iterable[list[float]]:
    """Return the logarithms of a call of each setting, one for each run."""
    settings: dict[str, list[float]] = {}
    for run in runs:
        for row in rows_of(run):
            timed = timed_call(row)
            if row.verdict == "ok" and timed and timed[1]:
                settings.setdefault(_setting(run, row), []).append(math.log(timed[1]))
    return settings.values()


def _setting(run: Run, row: SpeedRow) -> str:
    libraries = run.environment.get("libraries") or {}
    return case_of({**row.model, **row.settings, "torch": libraries.get("torch")})


def timed_call(row: SpeedRow) -> tuple[str, float] | None:
    """Return the call that stands for a row, and its seconds; None without any."""
    for call in CALLS:
        if visits := row.rounds(call):
            return call, median(visits.values())
    return None


def _peaks_of(run: Run) -> Iterable[list[float]]:
    for row in rows_of(run):
        for kind in MEMORY_KINDS:
            yield [math.log(peak) for peak in row.peaks(kind)]


def _pooled(groups: Iterable[Sequence[float]]) -> float | None:
    """Return the standard deviation within groups; None for too few repetitions."""
    squares, freedom = 0.0, 0
    for group in groups:
        if len(group) > 1:
            middle = fmean(group)
            squares += sum((value - middle) ** 2 for value in group)
            freedom += len(group) - 1
    if freedom < FEWEST_REPETITIONS:
        return None
    return math.sqrt(squares / freedom)
