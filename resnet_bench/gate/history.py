"""`history`: how long cases took commit after commit, and since when they differ."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.errors import ExitCode, InputOutputError, UsageError
from resnet_bench.experiments.speed.view.drawing import spread
from resnet_bench.gate.deciding import signed
from resnet_bench.gate.entries import (
    Entry,
    appended,
    by_case,
    each_once,
    entries_of,
    read_entries,
    stored_entries,
)
from resnet_bench.gate.lineage import (
    EXPERIMENT,
    Commit,
    commits_in,
    line_of,
    measure_history,
)
from resnet_bench.gate.spec import CONTROL, HistoryConfig
from resnet_bench.gate.trees import GitError
from resnet_bench.output import Output, check_writable
from resnet_bench.present import exports as printing
from resnet_bench.present import theme
from resnet_bench.present.drawing import png_bytes, svg_text
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table, interval_columns
from resnet_bench.statistics.estimates import exponential, geometric_mean
from resnet_bench.statistics.intervals import Interval
from resnet_bench.statistics.levels import Change, Line, Ratio
from resnet_bench.store.reading import Run

LACKS_EXTRA = (
    "Changes of level were not searched for: this needs ruptures ('pip install "
    "ruptures')."
)
TOO_FEW = (
    "too few measurements to search for changes of level: it takes six commits with "
    "two pairs each, or ten with a run each."
)

#: Panels of a figure; the cases with changes come first.
MOST_PANELS = 6


def run_history(config: HistoryConfig, output: Output) -> ExitCode:
    """Measure if asked to, and show what is stored; returns the exit code.

    Raises ResnetBenchError for what cannot be done, KeyboardInterrupt and Terminated
    after the run file was closed.
    """
    printing.check_exports(config, output)
    if config.export_figure:
        output.check_export(config.export_figure)
    if config.measure:
        check_writable(config.results)
        run = measure_history(config, output)
        output.say(f"wrote {run.folder}")
    shown = _shown(config)
    printing.show(shown, config, output)
    if figure := config.export_figure:
        _write_figure(shown, figure, output)
    return ExitCode.OK


def _shown(config: HistoryConfig) -> Shown:
    """Return what the stored runs and files say, of one machine."""
    here, notices = Path.cwd(), list[str]()
    stored = stored_entries(config.results, notices)
    files = list(config.file)
    if path := config.append_to:
        count = appended(path, stored)
        notices.append(f"entries appended to {path}: {count}")
        files.append(str(path))
    found = [entry for name in files for entry in read_entries(name, here)]
    entries = each_once([*stored, *found])
    if not entries and not config.measure:
        notices.append(
            f"no run of committed files in {config.results} yet: 'resnet-bench history "
            "--measure 10' measures the last ten commits"
        )
    chosen = _of_one_machine(entries, config.machine, notices)
    if config.cases and chosen and not config.measure:
        chosen = _of_cases(chosen, config.cases)
    return shown_of(chosen, _line_here(here), notices)


def _of_one_machine(
    entries: Sequence[Entry], key: str | None, notices: list[str]
) -> list[Entry]:
    """Return the entries of the machine asked for, else of the newest run's."""
    known = list(dict.fromkeys(entry.machine_key for entry in entries))
    newest = max(entries, key=lambda entry: entry.run, default=None)
    wanted = key or (newest.machine_key if newest else "")
    matching = [name for name in known if name.startswith(wanted)]
    if entries and len(matching) != 1:
        raise UsageError.for_option("--machine", wanted, f"one of {', '.join(known)}")
    if others := [name for name in known if name not in matching]:
        notices.append(f"other machines are left out: --machine {' or '.join(others)}")
    return [entry for entry in entries if entry.machine_key in matching]


def _of_cases(entries: Sequence[Entry], wanted: Sequence[str]) -> list[Entry]:
    """Return the entries of the cases named, by their name or its beginning."""
    names = list(by_case(entries))
    for text in wanted:
        if not any(_is_named(name, text) for name in names):
            raise UsageError.for_option("--cases", text, "; ".join(names) or "a run")
    return [e for e in entries if any(_is_named(e.case, text) for text in wanted)]


def _is_named(case: str, text: str) -> bool:
    return case.split(",")[0] == text or fnmatchcase(case, text)


def _line_here(here: Path) -> list[Commit]:
    """Return the commits of the current branch, none outside git."""
    try:
        return line_of(here)
    except GitError:
        return []


@dataclass(frozen=True)
class Series:
    """A case commit after commit; `seconds` and `moves` go along with `commits`.

    `moves` hold the ratio to the commit before, unknown for the first; `changes` are
    None where they were not looked for, which `lacks` says why.
    """

    case: str
    commits: Sequence[Commit]
    seconds: Sequence[Interval]
    moves: Sequence[Interval | None]
    changes: Sequence[Change] | None
    lacks: str
    left_out: int

    def between(self, change: Change, line: Sequence[Commit]) -> list[Commit]:
        """Return the commits of which one changed the level."""
        names = [commit.name for commit in line]
        before, last = self.commits[change.first - 1], self.commits[change.last]
        if before.name not in names or last.name not in names:
            return list(self.commits[change.first : change.last + 1])
        return list(line[names.index(before.name) + 1 : names.index(last.name) + 1])


def series_of(case: str, entries: Sequence[Entry], line: Sequence[Commit]) -> Series:
    """Return the levels of a case along the line of commits, and their changes.

    Where none of its commits is in the line, their order is that of the runs.
    """
    ratios = [
        Ratio(entry.base, entry.head, value)
        for entry in entries
        for value in entry.logarithms
    ]
    names = dict.fromkeys(
        name for entry in entries for name in (entry.base, entry.head) if name
    )
    order = [commit for commit in line if commit.name in names]
    if not order:
        order = [Commit(name, "", "") for name in names]
    fitted = Line(ratios, [commit.name for commit in order])
    joined = set(fitted.order)
    offset = _offset(fitted, entries)
    changes, lacks = _changes_of(fitted)
    levels = [exponential(level) for level in fitted.levels]
    return Series(
        case=case,
        commits=[commit for commit in order if commit.name in joined],
        seconds=[level.times(math.exp(offset)) for level in levels],
        moves=[None, *map(exponential, fitted.moves)],
        changes=changes,
        lacks=lacks,
        left_out=len(names.keys() - joined),
    )


def _changes_of(fitted: Line) -> tuple[list[Change] | None, str]:
    """Return the changes of a line, or None and what is lacking to look for them."""
    if not fitted.is_enough:
        return None, TOO_FEW
    try:
        return fitted.changes(), ""
    except ModuleNotFoundError as error:
        if error.name != "ruptures":
            raise
        return None, LACKS_EXTRA


def _offset(fitted: Line, entries: Sequence[Entry]) -> float:
    """Return the logarithm of the seconds that the mean level stands for."""
    level = dict(zip(fitted.order, fitted.levels, strict=True))
    sides = [
        (name, seconds)
        for entry in entries
        for name, seconds in (
            (entry.head, entry.seconds),
            (entry.base, entry.base_seconds),
        )
    ]
    return median(
        math.log(value) - level[name].estimate
        for name, seconds in sides
        if name in level
        for value in seconds
    )


def show(run: Run) -> Shown:
    """Return what a stored measurement of commits shows by itself."""
    return shown_of(entries_of(run), commits_in(run), [])


def shown_of(
    entries: Sequence[Entry], line: Sequence[Commit], notices: Sequence[str]
) -> Shown:
    """Return what entries of one machine show along a line of commits."""
    try:
        fitted = [series_of(case, own, line) for case, own in by_case(entries).items()]
    except ArithmeticError as error:
        raise InputOutputError(
            f"the times of the entries differ by more than can be computed: {error}"
        ) from error
    everything = [each for each in fitted if len(each.commits) > 1]
    found = [each for each in everything if each.case != CONTROL.text]
    if alone := len(fitted) - len(everything):
        once = f"{alone} case{'s' if alone > 1 else ''} measured at one commit only"
        notices = [*notices, f"left out: {once}"]
    machine = entries[0].machine_key if entries else None
    remarks = list(_remarks(everything))
    return Shown(
        json={
            "command": EXPERIMENT,
            "machine_key": machine,
            "rows": [row for each in found for row in _json_rows(each)],
            "changes": [row for each in found for row in _json_changes(each, line)],
            "looked_for_changes": all(each.changes is not None for each in found),
            "notices": [*notices, *remarks],
        },
        tables=[_table(found, machine)] if found else [],
        notices=notices,
        conclusion=[*_sentences(found, line), *remarks],
        draw=lambda: {"history": history_figure(found, machine)} if found else {},
    )


def _json_rows(series: Series) -> Iterator[dict[str, Any]]:
    rows = zip(series.commits, series.seconds, series.moves, strict=True)
    for commit, seconds, move in rows:
        yield {
            "case": series.case,
            "commit": commit.name,
            "when": commit.when or None,
            "subject": commit.subject or None,
            "seconds": seconds.json,
            "ratio_to_previous": move and move.json,
        }


def _json_changes(series: Series, line: Sequence[Commit]) -> Iterator[dict[str, Any]]:
    for change in series.changes or ():
        yield {
            "case": series.case,
            "commit": series.commits[change.place].name,
            "ratio": change.size.json,
            "before": series.commits[change.first - 1].name,
            "commits": [commit.name for commit in series.between(change, line)],
        }


def _table(found: Sequence[Series], machine: str | None) -> Table:
    """Return a row for each case and commit."""
    labels = labels_of(found)
    rows = [row for series in found for row in _table_rows(series, labels)]
    several = len(found) > 1
    where = f"machine {machine}" if several else f"{found[0].case}, machine {machine}"
    narrow = ["commit", "seconds", "from_previous_percent", "change"]
    return Table(
        name=EXPERIMENT,
        title=f"Time per call, commit after commit, {where}",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=["case", *narrow] if several else [*narrow, "subject"],
        notes=["Interval: 95 %, of the time next to the mean of all commits."],
        headers={"change": "level"},
    )


def _table_rows(series: Series, labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    changed = {change.place: change for change in series.changes or ()}
    rows = zip(series.commits, series.seconds, series.moves, strict=True)
    for place, (commit, seconds, move) in enumerate(rows):
        yield {
            "case": labels[series.case],
            "commit": commit.short,
            "when": commit.when or None,
            **interval_columns("seconds", seconds),
            **interval_columns("from_previous_percent", move and move.change_percent),
            "change": signed(changed[place].size.estimate) if place in changed else "",
            "subject": commit.subject[:SUBJECT_WIDTH],
        }


#: Letters of a subject in a table of 80 columns.
SUBJECT_WIDTH = 40


def labels_of(found: Sequence[Series]) -> dict[str, str]:
    """Return a short name for each case: without the settings that all share."""
    parts = {series.case: series.case.split(", ") for series in found}
    settings = [set(words[1:]) for words in parts.values() if len(words) > 1]
    common = set.intersection(*settings) if settings else set()
    return {
        case: ", ".join(word for word in words if word not in common)
        for case, words in parts.items()
    }


def _sentences(found: Sequence[Series], line: Sequence[Commit]) -> Iterator[str]:
    """Yield a sentence for each change, or that there is none."""
    labels = labels_of(found)
    for series in found:
        for change in series.changes or ():
            yield _sentence(series, labels[series.case], change, line)
        if series.changes == []:
            count = len(series.commits)
            yield f"{labels[series.case]}: no change of level over {count} commits."


def _sentence(
    series: Series, label: str, change: Change, line: Sequence[Commit]
) -> str:
    size = change.size
    word = "slower" if size.estimate > 1 else "faster"
    commit = series.commits[change.place]
    percent = size.change_percent
    bounds = sorted(abs(bound) for bound in (percent.low, percent.high))
    amount = f"{abs(percent.estimate):.1f} % ({bounds[0]:.1f} to {bounds[1]:.1f})"
    subject = f" ({commit.subject})" if commit.subject else ""
    between = series.between(change, line)
    if len(between) < 2:
        return f"{label}: {amount} {word} since {commit.short}{subject}."
    before = series.commits[change.first - 1]
    return (
        f"{label}: {amount} {word} since about {commit.short}{subject}; one of the "
        f"{len(between)} commits {before.short}..{between[-1].short}."
    )


def _remarks(everything: Sequence[Series]) -> Iterator[str]:
    """Yield what limits the answer: what was left out, and what the control did."""
    if any(series.lacks == LACKS_EXTRA for series in everything):
        yield LACKS_EXTRA
    for series in everything:
        if series.lacks == TOO_FEW and series.case != CONTROL.text:
            yield f"{series.case}: {TOO_FEW}"
        if series.case == CONTROL.text and series.changes:
            yield (
                "The control, a frozen matrix product, changed too: the machine "
                "differed between commits, and changes of cases may be its."
            )
        elif series.left_out:
            yield (
                f"{series.case}: measured commits left out: {series.left_out} (not on "
                "this branch, or connected to the others by no measurement)."
            )


def history_figure(found: Sequence[Series], machine: str | None) -> Figure:
    """Return a panel for each case: times, levels, and where these changed."""
    order = sorted(found, key=lambda series: not series.changes)[:MOST_PANELS]
    title = f"Time per call, commit after commit · machine {machine}"
    made = theme.figure(title, height=1.0 + 2.1 * len(order), width=8.4)
    labels = labels_of(found)
    panels = made.subplots(len(order), squeeze=False)[:, 0]
    for axes, series in zip(panels, order, strict=True):
        axes.set_title(theme.drawable(labels[series.case]))
        axes.set_ylabel("time (ms)")
        _draw(axes, series)
    return made


def _draw(axes: Axes, series: Series) -> None:
    """Draw one case's commits from left to right."""
    places = range(len(series.commits))
    times = [seconds.times(1e3) for seconds in series.seconds]
    middles = [time.estimate for time in times]
    look: dict[str, Any] = {
        "color": theme.VARIANT_COLOURS[18],
        "fmt": "o",
        "ms": 3.5,
        "lw": 1,
    }
    axes.errorbar(places, middles, yerr=spread(times), **look)
    ends = [0, *(change.place for change in series.changes or ()), len(middles)]
    for begin, end in pairwise(ends):
        level = geometric_mean(middles[begin:end])
        axes.hlines(level, begin - 0.4, end - 0.6, color=theme.NEUTRAL, lw=1.5)
    for change in series.changes or ():
        colour = theme.VARIANT_COLOURS[152]
        axes.axvspan(change.first - 0.6, change.last - 0.4, color=colour, alpha=0.18)
        text = f"{signed(change.size.estimate)}\n{series.commits[change.place].short}"
        at = (change.place - 0.5, 1.0)
        above: dict[str, Any] = {
            "xycoords": axes.get_xaxis_transform(),
            "va": "top",
            "fontsize": 8,
        }
        axes.annotate(
            text, at, (3, -3), textcoords="offset points", color=colour, **above
        )
    step = max(1, math.ceil(len(middles) / 12))
    shown = list(places)[::step]
    axes.set_xticks(shown, [series.commits[place].short for place in shown])
    axes.tick_params(axis="x", labelrotation=45)
    axes.margins(y=0.25)


def _write_figure(shown: Shown, path: Path, output: Output) -> None:
    """Write the figure; raises InputOutputError."""
    figure = shown.figures.get(EXPERIMENT)
    if figure is None:
        output.warn(f"{path}: not written, because there is nothing to draw")
        return
    try:
        if path.suffix == ".png":
            path.write_bytes(png_bytes(figure))
        else:
            path.write_text(svg_text(figure), encoding="utf-8")
    except OSError as error:
        raise InputOutputError(f"cannot write {path}: {error.strerror}") from error
    output.say(f"wrote {path}")
