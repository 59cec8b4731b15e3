"""Which runs a report shows, and which it only lists."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from resnet_bench.errors import InputOutputError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.store.folders import find_run, run_folders
from resnet_bench.store.reading import Run, read_run

#: Machines and settings of one experiment that are shown in full unless runs are
#: named; the others are listed. It bounds the size of the page.
SHOWN_PER_EXPERIMENT = 4


@dataclass(frozen=True)
class Chosen:
    """The runs of a report: `listed` holds all that could be read, oldest first.

    `shown` are those drawn in full, by experiment, newest first; `problems` name
    what could not be read.
    """

    listed: list[Run]
    shown: dict[str, list[Run]]
    problems: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.listed


def choose_runs(results: Path, names: Sequence[str]) -> Chosen:
    """Read the runs named, or all below `results`.

    A damaged file is a problem, not an error. Raises UsageError for a name that
    means no run.
    """
    folders = [find_run(results, name) for name in names] or run_folders(results)
    runs: list[Run] = []
    problems: list[str] = []
    for folder in folders:
        try:
            run = read_run(folder)
        except InputOutputError as error:
            problems.append(str(error))
            continue
        runs.append(run)
        problems.extend(run.problems)
    known = [run for run in runs if run.experiment in EXPERIMENTS]
    shown = {
        name: [run for run in reversed(known) if run.experiment == name]
        for name in EXPERIMENTS
    }
    if not names:
        shown = {name: newest_of_each(group) for name, group in shown.items()}
    return Chosen(
        runs, {name: group for name, group in shown.items() if group}, problems
    )


def newest_of_each(runs: Sequence[Run]) -> list[Run]:
    """Return the newest run of each machine and question, complete ones first.

    `runs` is sorted from new to old. A partial run is shown only where its machine
    has no complete one.
    """
    found: dict[tuple[str, ...], Run] = {}
    for run in sorted(runs, key=lambda run: run.status != "complete"):
        found.setdefault((str(run.machine_key), *question(run)), run)
    order = sorted(found.values(), key=lambda run: run.id, reverse=True)
    return order[:SHOWN_PER_EXPERIMENT]


def question(run: Run) -> tuple[str, ...]:
    """Return what a run asked, apart from how long and how often it measured."""
    effort = {"precision", "max_time", "seed", "seeds", "threads"}
    asked = sorted(run.config.items())
    return tuple(f"{name}={value}" for name, value in asked if name not in effort)
