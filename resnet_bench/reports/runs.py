"""Which runs a report shows, and which it only lists."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from resnet_bench.errors import InputOutputError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.reports.shown import RunView
from resnet_bench.store.folders import find_run, run_folders
from resnet_bench.store.reading import Run, read_run

#: Experiments in the order of a report, and how many machines and settings of each
#: are shown in full unless runs are named; the others are listed. It keeps a page
#: below 3 MB and 10 s: a run takes up to 0.4 MB of it and a second to draw.
SHOWN = {"speed": 6, "degradation": 2, "finetune": 3, "pretrain": 1, "describe": 1}

#: Options that say where a run is kept and how it is shown, not what is measured.
ASIDE = frozenset({"-o", "--results", "-q", "--quiet", "-v", "-vv", "--verbose"})


@dataclass(frozen=True)
class Chosen:
    """The runs of a report: `listed` holds all that could be read, oldest first.

    `shown` are those drawn in full, by experiment, the plainest question first;
    `complete` are those that pages may quote; `problems` name what could not be read.
    """

    listed: list[Run]
    shown: dict[str, list[RunView]]
    complete: list[RunView]
    problems: list[str] = field(default_factory=list)


def choose_runs(results: Path, names: Sequence[str]) -> Chosen:
    """Read the runs named, or all below `results`.

    A damaged file is a problem, not an error. Raises UsageError for a name that
    means no run.
    """
    folders = [find_run(results, name) for name in names] or run_folders(results)
    runs: list[Run] = []
    problems: list[str] = []
    for folder in dict.fromkeys(folders):
        try:
            run = read_run(folder)
        except InputOutputError as error:
            problems.append(str(error))
            continue
        runs.append(run)
        problems.extend(run.problems)
    views = [RunView(run) for run in runs if run.experiment in EXPERIMENTS]
    shown = {
        name: [view for view in reversed(views) if view.run.experiment == name]
        for name in SHOWN
    }
    if not names:
        shown = {name: newest_of_each(group) for name, group in shown.items()}
    shown = {name: sorted(group, key=plainness) for name, group in shown.items()}
    if not names:
        shown = {name: group[: SHOWN[name]] for name, group in shown.items()}
    complete = [view for view in views if view.run.status == "complete"]
    shown = {name: group for name, group in shown.items() if group}
    return Chosen(runs, shown, complete, problems)


def newest_of_each(views: Sequence[RunView]) -> list[RunView]:
    """Return the newest run of each machine and question, complete ones first.

    `views` is sorted from new to old. A partial run is shown only where its machine
    has no complete one.
    """
    found: dict[tuple[str, ...], RunView] = {}
    for view in sorted(views, key=lambda view: view.run.status != "complete"):
        key = (str(view.run.machine_key), *question(view.run))
        found.setdefault(key, view)
    return sorted(found.values(), key=lambda view: view.run.id, reverse=True)


def question(run: Run) -> tuple[str, ...]:
    """Return what a run asked, apart from how long and how often it measured."""
    effort = {"precision", "max_time", "seed", "seeds", "threads"}
    asked = sorted(run.config.items())
    return tuple(f"{name}={value}" for name, value in asked if name not in effort)


def plainest(views: Sequence[RunView], experiment: str) -> RunView | None:
    """Return the newest of an experiment's runs that were given the fewest options."""
    own = [view for view in views if view.run.experiment == experiment]
    order = sorted(own, key=lambda view: view.run.id, reverse=True)
    return min(order, key=plainness, default=None)


def plainness(view: RunView) -> int:
    """Return how many options a run's command line holds: fewer are plainer."""
    words = [str(word).partition("=")[0] for word in view.run.header.get("argv") or []]
    return sum(word.startswith("-") and word not in ASIDE for word in words)
