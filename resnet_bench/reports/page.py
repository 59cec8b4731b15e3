"""The report as one HTML page: its parts as data, and how the templates are filled."""

import base64
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.base import Experiment
from resnet_bench.output import printable
from resnet_bench.present.drawing import Drawing, drawing, page_svg
from resnet_bench.present.machines import environment_table
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
from resnet_bench.present.theme import SERIES
from resnet_bench.reports.budgets import (
    Accuracies,
    Candidate,
    budget_table,
    candidates,
    published_accuracies,
)
from resnet_bench.reports.front import front_figure, front_table
from resnet_bench.reports.listing import listed, listing_table
from resnet_bench.reports.pooling import observed_in
from resnet_bench.reports.runs import Chosen, relative
from resnet_bench.reports.stored import ShownRun

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
class Section:
    """An experiment of a report, and those of its runs that are shown in full."""

    experiment: Experiment[Any, Any]
    views: list[ShownRun]

    @property
    def summary(self) -> str:
        """What the experiment does, in one sentence."""
        return EXPERIMENTS.summary(self.experiment.name)

    @property
    def published(self) -> list[Table]:
        """The runs' tables beside published figures."""
        return [table for view in self.views for table in view.shown.published]


@dataclass(frozen=True)
class Answer:
    """A question that the page opens with, the run that answers it, and the figure."""

    question: str
    view: ShownRun
    drawing: Drawing


@dataclass(frozen=True)
class Front:
    """Accuracy against time and memory on one machine, drawn and as a table."""

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
    problems: list[str]

    @property
    def views(self) -> list[ShownRun]:
        """Every run that is shown in full."""
        return [view for section in self.sections for view in section.views]

    @cached_property
    def answers(self) -> list[Answer]:
        """What the page opens with: one picture of each experiment that has one."""
        return [
            answer
            for section in self.sections
            if (answer := _answer_of(section)) is not None
        ]

    @property
    def series(self) -> dict[str, str]:
        """The series that can be highlighted, with their colours."""
        drawings = [drawing for view in self.views for drawing in view.drawings]
        drawings += [front.drawing for front in self.fronts]
        drawn = {name for drawing in drawings for name in drawing.series}
        return {name: colour for name, colour in SERIES.items() if name in drawn}

    @property
    def machines(self) -> int:
        """How many machines the runs are from."""
        return self.environments.frame["machine_key"].nunique()


def _answer_of(section: Section) -> Answer | None:
    """Return the first figure among an experiment's answers that a run has drawn."""
    experiment = section.experiment
    for view in section.views:
        drawn = {drawing.name: drawing for drawing in view.drawings}
        for name in experiment.answers:
            if name in drawn:
                return Answer(experiment.question, view, drawn[name])
    return None


def page_of(chosen: Chosen) -> Page:
    """Return the parts of a report on the chosen runs."""
    newest_first = reversed(chosen.listed)
    timed = timed_by_machine([v for v in newest_first if v.run.experiment == "speed"])
    tables = [budget_table(each.found, each.machine) for each in timed]
    fronts = [_front_of(each) for each in timed]
    return Page(
        listing=listing_table([listed(view.run) for view in chosen.listed]),
        budgets=[table for table in tables if table is not None],
        fronts=[front for front in fronts if front is not None],
        sections=[Section(EXPERIMENTS[k], views) for k, views in chosen.shown.items()],
        environments=environment_table([view.run for view in chosen.listed]),
        problems=chosen.problems,
    )


@dataclass(frozen=True)
class Timed:
    """A machine, by the words of a title, and what was timed there."""

    machine: str
    found: list[Candidate]


def timed_by_machine(views: Sequence[ShownRun]) -> list[Timed]:
    """Return what the speed runs of each machine timed, equal settings pooled."""
    known = published_accuracies()
    machines: dict[tuple[str, str], list[ShownRun]] = {}
    for view in views:
        key = (view.run.machine_key or view.run.id, view.machine)
        machines.setdefault(key, []).append(view)
    return [_timed(same, known) for same in machines.values()]


def _timed(views: Sequence[ShownRun], known: Accuracies) -> Timed:
    """Return what the runs of one machine timed."""
    observed = [each for view in views for each in observed_in(view.run, view.rows)]
    spread = views[0].others.process_spread
    return Timed(views[0].machine, candidates(observed, known, spread))


def _front_of(timed: Timed) -> Front | None:
    """Return accuracy against time on one machine; None without two variants."""
    figure = front_figure(timed.found, timed.machine)
    if figure is None:
        return None
    return Front(drawing("front", figure), front_table(timed.found, timed.machine))


#: The documents that the page links to.
DOCUMENTS = {
    "tutorial.md": "goes through the tutorial's lessons, each with its sentence, the "
    "command that tests it and what was measured.",
    "method.md": "describes how each number is measured.",
    "claims.md": "explains how verdicts are decided.",
}


def documents_from(target: Path) -> str:
    """Return the documents' folder as a link from a page inside of the project.

    Nothing for a page elsewhere, which may be sent to people without the project.
    """
    project = Path(__file__).resolve().parents[2]
    documents = project / "docs"
    inside = target.resolve().is_relative_to(project) and documents.is_dir()
    return relative(documents, target.parent) if inside else ""


def html_page(page: Page, home: str = "") -> str:
    """Return the report as one HTML file that asks for nothing from outside.

    `home` is where a reader finds the documents; without it they are only named.
    """
    numbers = itertools.count(1)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("resnet_bench.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prepared"] = lambda table: page_table(
        table, f"table-{next(numbers)}"
    )
    environment.filters["svg"] = page_svg
    script = environment.get_template("report.js").render()
    text = environment.get_template("report.html").render(
        page=page,
        variants=VARIANTS,
        home=home,
        documents=DOCUMENTS,
        script=script,
        script_source=source_of(script),
    )
    return printable(text)


def source_of(script: str) -> str:
    """Return what a page's policy calls a script that it allows, by its hash."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
