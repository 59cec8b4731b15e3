"""The stored runs: publishing one, choosing those that a report shows."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_bench.errors import InputOutputError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.options import (
    ExportOptions,
    ResultsOptions,
    declaration_of,
    flag_name,
    option_fields,
)
from resnet_bench.output import DisplayOptions
from resnet_bench.present.drawing import save_figure
from resnet_bench.present.machines import environment_row
from resnet_bench.present.tables import csv_text, escaped, markdown
from resnet_bench.reports.listing import listed
from resnet_bench.reports.stored import ShownRun, StoredRuns
from resnet_bench.store.checking import naming
from resnet_bench.store.folders import find_run, run_folders
from resnet_bench.store.reading import Run
from resnet_bench.store.writing import replace_files

FIGURES_FOLDER = "figures"

#: The table of verdicts, kept apart from the measurements that they rest on.
CLAIMS = "claims"


def publish(view: ShownRun) -> list[Path]:
    """Write table.md, a CSV per table and the figures; return their paths.

    The first table of measurements is `table.csv`; others, and claims, go by their
    name. The files follow from the run file alone and are written again on every
    call. Raises InputOutputError when the folder cannot be written, OddContentError
    before anything is.
    """
    run, shown = view.run, view.shown
    drawings = view.drawings
    with naming(run):
        texts = _texts(view)
    written = [write(run.folder / name, text) for name, text in texts.items()]
    for drawing in drawings:
        figure = shown.figures[drawing.name]
        written += save_figure(figure, drawing, run.folder / FIGURES_FOLDER)
    return written


def _texts(view: ShownRun) -> dict[str, str]:
    """Return the run's tables as files, by name."""
    tables = view.shown.tables
    texts = {"table.md": markdown_page(view)} if tables else {}
    measured = [table.name for table in tables if table.name != CLAIMS]
    for table in tables:
        name = "table" if table.name in measured[:1] else table.name
        texts[f"{name}.csv"] = csv_text(table)
    return texts


def markdown_page(view: ShownRun) -> str:
    """Return a run's notices and tables as one Markdown page."""
    run, shown = view.run, view.shown
    head = f"## {run.experiment}: `{run.id}`{view.status_mark}\n"
    notices = [f"- {escaped(notice)}" for notice in shown.sentences]
    blank = [""] if notices else []
    return "\n".join([head, *notices, *blank, *map(markdown, shown.tables)])


def relative(path: Path, base: Path) -> str:
    """Return a path as a link from a file in `base`."""
    return Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()


def write(path: Path, text: str) -> Path:
    """Write a text, making its folder; raises InputOutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe, say
            path.write_text(text, encoding="utf-8")
            return path
    except OSError as error:
        raise InputOutputError(
            f"cannot write {path}: {error.strerror or error}"
        ) from error
    replace_files({path: text.encode()})
    return path


#: Options that say where a run is kept and how it is shown, not what is measured.
ASIDE = {"-vv"} | {
    flag
    for options in (ResultsOptions, ExportOptions, DisplayOptions)
    for name, field in option_fields(options).items()
    for flag in (flag_name(name), *declaration_of(field).flags)
}


NOTHING: Mapping[Path, str] = {}


@dataclass(frozen=True)
class Chosen:
    """The runs of a report: `listed` holds all that could be read, oldest first.

    `shown` are those drawn in full, by experiment, the plainest question first;
    `problems` name what could not be read.
    """

    listed: list[ShownRun]
    shown: dict[str, list[ShownRun]]
    problems: list[str]

    @property
    def complete(self) -> list[ShownRun]:
        """The complete runs of experiments, which pages may quote."""
        return [
            view
            for view in self.listed
            if view.run.experiment in EXPERIMENTS and view.run.status == "complete"
        ]


def choose_runs(
    stored: StoredRuns, names: Sequence[str], left_out: Mapping[Path, str] = NOTHING
) -> Chosen:
    """Read the runs named, or all that are stored; those named are shown in full.

    A damaged file is a problem, not an error, and so are the runs `left_out`, by
    folder. Raises UsageError for a name that means no run.
    """
    results = stored.results
    folders = [find_run(results, name) for name in names] or run_folders(results)
    views: list[ShownRun] = []
    problems = list(left_out.values())
    for folder in dict.fromkeys(each for each in folders if each not in left_out):
        try:
            view = stored.read(folder)
            listed(view.run)
            with naming(view.run):
                environment_row(view.run)
            problems += view.run.problems
            views.append(view)
        except InputOutputError as error:
            problems.append(str(error))
    shown: dict[str, list[ShownRun]] = {}
    odd: dict[ShownRun, str] = {}
    for name, experiment in EXPERIMENTS.items():
        own = [view for view in reversed(views) if view.run.experiment == name]
        limit = None if names else experiment.runs_on_page
        shown[name] = _in_full(own, limit, odd)
    shown = {name: group for name, group in shown.items() if group}
    fine = [view for view in views if view not in odd]
    return Chosen(fine, shown, [*problems, *odd.values()])


def _in_full(
    views: Sequence[ShownRun], limit: int | None, odd: dict[ShownRun, str]
) -> list[ShownRun]:
    """Return the runs of one experiment that are shown in full, each drawn.

    Without a `limit` these are all, otherwise the newest of each question. One that
    cannot be shown goes to `odd` with the reason, and the next takes its place.
    """
    while True:
        left = [view for view in views if view not in odd]
        chosen = sorted(left if limit is None else newest_of_each(left), key=plainness)
        before = len(odd)
        for view in chosen[:limit]:
            try:
                _ = view.drawings
            except InputOutputError as error:
                odd[view] = str(error)
        if len(odd) == before:
            return chosen[:limit]


def newest_of_each(views: Sequence[ShownRun]) -> list[ShownRun]:
    """Return the newest run of each machine and question, complete ones first.

    `views` is sorted from new to old. A partial run is shown only where its machine
    has no complete one.
    """
    found: dict[tuple[str, ...], ShownRun] = {}
    for view in sorted(views, key=lambda view: view.run.status != "complete"):
        key = (str(view.run.machine_key), *question(view.run))
        found.setdefault(key, view)
    return sorted(found.values(), key=lambda view: view.run.id, reverse=True)


def question(run: Run) -> tuple[str, ...]:
    """Return a run's settings, without how long and how often it measured."""
    effort = {"precision", "budget", "seed", "seeds", "threads"}
    asked = sorted(run.config.items())
    return tuple(f"{name}={value}" for name, value in asked if name not in effort)


def plainest(views: Sequence[ShownRun], experiment: str) -> ShownRun | None:
    """Return the newest of an experiment's runs that were given the fewest options."""
    own = [view for view in views if view.run.experiment == experiment]
    order = sorted(own, key=lambda view: view.run.id, reverse=True)
    return min(order, key=plainness, default=None)


def plainness(view: ShownRun) -> int:
    """Return how many options a run's command line holds: fewer are plainer."""
    return sum(word.startswith("-") and word not in ASIDE for word in view.run.words)
