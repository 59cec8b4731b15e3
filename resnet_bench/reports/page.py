"""The parts of a report as data: what the templates are filled with."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.gate.noise import known_process_spread
from resnet_bench.present.machines import environment_table, machine_title
from resnet_bench.present.svg import Drawing, drawing
from resnet_bench.present.tables import (
    Shown,
    Table,
    columns_shown,
    header,
    is_missing,
    is_number,
    is_numeric,
    shown_rows,
)
from resnet_bench.reports.budgets import budget_table
from resnet_bench.reports.front import front_figure, front_table
from resnet_bench.reports.runs import Chosen, listed, listing_table
from resnet_bench.reports.shown import ShownRun
from resnet_bench.store.reading import Run

#: Characters of Chinese, which a screen reader has to be told of.
HAN = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Head:
    """A column's words and unit; `extra` ones are hidden until asked for."""

    words: str
    unit: str
    numeric: bool
    extra: bool


@dataclass(frozen=True)
class PageCell:
    """A value as shown, and what it is sorted by."""

    shown: Shown
    sort: str

    @property
    def language(self) -> str:
        """The language of a quotation, by its script; nothing for English."""
        return "zh" if HAN.search(self.shown.text) else ""


@dataclass(frozen=True)
class PageRow:
    """A row, and the series that it belongs to in the figures."""

    series: str
    cells: list[PageCell]


@dataclass(frozen=True)
class PageTable:
    """A table ready for a page."""

    key: str
    title: str
    heads: list[Head]
    rows: list[PageRow]
    notes: list[str]

    @property
    def has_extra(self) -> bool:
        """Whether columns are hidden at first."""
        return any(head.extra for head in self.heads)


def page_table(table: Table, key: str) -> PageTable:
    """Return a table with a page's columns first, the others hidden at first."""
    first = table.page or table.narrow
    every = columns_shown(table, wide=True)
    names = [*first, *(name for name in every if name not in first)]
    heads = [_head(table, name, extra=name not in first) for name in names]
    rows = [
        PageRow(
            series=series_of(row),
            cells=[
                PageCell(value, _sort_key(row[name]))
                for name, value in zip(names, values, strict=True)
            ],
        )
        for row, values in zip(table.rows, shown_rows(table, names), strict=True)
    ]
    title = table.title.replace("\n", " · ")
    return PageTable(key, title, heads, rows, list(table.notes))


def _head(table: Table, name: str, *, extra: bool) -> Head:
    words, _, unit = header(table, name).partition("\n")
    return Head(words, unit, is_numeric(table, name), extra)


def _sort_key(value: Any) -> str:
    if is_missing(value):
        return ""
    return repr(float(value)) if is_number(value) else str(value)


def series_of(row: Mapping[Any, Any]) -> str:
    """Return the variant or shortcut that a row is about; nothing if not just one."""
    shortcut = row.get("shortcut")
    if isinstance(shortcut, str):
        return shortcut
    for name in ("variant", "model", "network"):
        found = re.fullmatch(r"(?:ResNet-)?(\d+)", str(row.get(name, "")))
        if found:
            return found[1]
    return ""


@dataclass(frozen=True)
class RunPart:
    """One run in full: what its experiment's view has to show, and its drawings."""

    view: ShownRun
    machine: str
    drawings: list[Drawing]

    @property
    def run(self) -> Run:
        """The run itself."""
        return self.view.run

    @property
    def key(self) -> str:
        """The anchor of the run in the page."""
        return short_id(self.run)

    @property
    def command(self) -> str:
        """The command line that made the run, as far as it is stored."""
        return " ".join(["resnet-bench", *map(str, self.run.header.get("argv") or [])])


@dataclass(frozen=True)
class Section:
    """An experiment: its runs, what was published, and how it measures."""

    name: str
    title: str
    summary: str
    parts: list[RunPart]
    published: list[Table]
    method: list[str]


@dataclass(frozen=True)
class Front:
    """Accuracy against time and memory of one run, drawn and as a table."""

    drawing: Drawing
    table: Table


@dataclass(frozen=True)
class Page:
    """Everything that a report shows."""

    listing: Table
    budgets: list[Table]
    fronts: list[Front]
    sections: list[Section]
    environments: Table
    problems: list[str] = field(default_factory=list)

    @property
    def shown(self) -> list[RunPart]:
        """Every run that is shown in full."""
        return [part for section in self.sections for part in section.parts]

    @property
    def drawings(self) -> list[Drawing]:
        """Every figure of the page."""
        own = [drawing for part in self.shown for drawing in part.drawings]
        return [front.drawing for front in self.fronts] + own

    @property
    def machines(self) -> int:
        """How many machines the runs are from."""
        return self.environments.frame["machine_key"].nunique()


def page_of(chosen: Chosen) -> Page:
    """Return the parts of a report on the chosen runs."""
    sections = [section_of(name, views) for name, views in chosen.shown.items()]
    speed = next((each.parts for each in sections if each.name == "speed"), [])
    timed = rows_by_machine(speed)
    tables = [budget_table(each.rows, each.machine, each.spread) for each in timed]
    fronts = [
        front_of(each.machine, each.rows, f"front-{index}")
        for index, each in enumerate(timed)
    ]
    return Page(
        listing=listing_table([listed(run) for run in chosen.listed]),
        budgets=[table for table in tables if table is not None],
        fronts=[front for front in fronts if front is not None],
        sections=sections,
        environments=environment_table(chosen.listed),
        problems=chosen.problems,
    )


def section_of(name: str, views: Sequence[ShownRun]) -> Section:
    """Return an experiment's part of the report, through its view."""
    experiment = EXPERIMENTS[name]
    return Section(
        name=name,
        title=experiment.title,
        summary=experiment.summary,
        parts=[part_of(view) for view in views],
        published=[table for view in views for table in view.shown.published],
        method=list(experiment.method),
    )


def part_of(view: ShownRun) -> RunPart:
    """Return a run with its figures drawn."""
    run = view.run
    device = str(run.config.get("device") or "cpu")
    return RunPart(
        view=view,
        machine=machine_title(run.environment, device),
        drawings=[
            drawing(name, figure, f"{short_id(run)}-{name}")
            for name, figure in view.shown.figures.items()
        ],
    )


def short_id(run: Run) -> str:
    """Return the end of a run id, which is enough to keep ids of a page apart."""
    return f"r{run.id.rpartition('_')[2]}-{run.experiment}"


@dataclass(frozen=True)
class Timed:
    """A machine, by the words of a title, and what was timed there.

    `spread` is how much processes differ there, None where `noise` never ran.
    """

    machine: str
    spread: float | None
    rows: list[dict[str, Any]] = field(default_factory=list)


def rows_by_machine(parts: Sequence[RunPart]) -> list[Timed]:
    """Return the rows of speed runs as their JSON contract has them, by machine.

    Runs of one machine stand side by side, each row with its run; none are averaged.
    """
    found: dict[tuple[str, str], Timed] = {}
    for part in parts:
        run = part.run
        key = (run.machine_key or run.id, part.machine)
        if key not in found:
            results = run.folder.parent.parent
            spread = known_process_spread(results, run.machine_key)
            found[key] = Timed(part.machine, spread)
        rows = [{**row, "run": run.id} for row in part.view.shown.json["rows"]]
        found[key].rows.extend(rows)
    return list(found.values())


def front_of(
    machine: str, rows: Sequence[Mapping[str, Any]], prefix: str
) -> Front | None:
    """Return accuracy against time on one machine; None without two variants."""
    figure = front_figure(rows, machine)
    if figure is None:
        return None
    return Front(drawing("front", figure, prefix), front_table(rows, machine))
