"""The parts of a report as data: what the templates are filled with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from resnet_bench.analysis.budgets import budget_table
from resnet_bench.analysis.front import front_figure
from resnet_bench.analysis.listing import listed, listing_table
from resnet_bench.analysis.machine import machine_title
from resnet_bench.analysis.report_runs import Chosen
from resnet_bench.analysis.report_svg import Drawing, drawing
from resnet_bench.analysis.tables import Table
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.store.reading import Run


@dataclass(frozen=True)
class RunPart:
    """One run in full: what its experiment's view has to show."""

    run: Run
    machine: str
    tables: list[Table]
    drawings: list[Drawing]
    notices: list[str]
    headline: list[str]

    @property
    def command(self) -> str:
        """The command line that made the run, as far as it is stored."""
        return " ".join(["resnet-bench", *map(str, self.run.header.get("argv") or [])])


@dataclass(frozen=True)
class Section:
    """An experiment: its runs, what was published, and how it measures."""

    name: str
    summary: str
    parts: list[RunPart]
    published: list[Table]
    method: list[str]


@dataclass(frozen=True)
class Page:
    """Everything that a report shows."""

    listing: Table
    budgets: list[Table]
    fronts: list[Drawing]
    sections: list[Section]
    environments: Table
    problems: list[str] = field(default_factory=list)

    @property
    def shown(self) -> list[RunPart]:
        """Every run that is shown in full."""
        return [part for section in self.sections for part in section.parts]

    @property
    def machines(self) -> int:
        """How many machines the runs are from."""
        return self.environments.frame["machine_key"].nunique()


def page_of(chosen: Chosen) -> Page:
    """Return the parts of a report on the chosen runs."""
    sections = [section_of(name, runs) for name, runs in chosen.shown.items()]
    speed = next((each.parts for each in sections if each.name == "speed"), [])
    tables = [_budgets(part) for part in speed]
    return Page(
        listing=listing_table([listed(run) for run in chosen.listed]),
        budgets=[table for table in tables if table is not None],
        fronts=[front for part in speed for front in _front(part)],
        sections=sections,
        environments=environment_table(chosen.listed),
        problems=chosen.problems,
    )


def section_of(name: str, runs: Sequence[Run]) -> Section:
    """Return an experiment's part of the report, through its view."""
    experiment = EXPERIMENTS[name]
    view = experiment.view
    published = getattr(view, "published", None)
    found = [table for run in runs for table in (published(run) if published else [])]
    return Section(
        name=name,
        summary=experiment.summary,
        parts=[part_of(run) for run in runs],
        published=found,
        method=list(getattr(view, "METHOD", ())),
    )


def part_of(run: Run) -> RunPart:
    """Return a run with its tables and figures drawn."""
    view = EXPERIMENTS[run.experiment].view
    device = str(run.config.get("device") or "cpu")
    headline = getattr(view, "headline", None)
    return RunPart(
        run=run,
        machine=machine_title(run.environment, device),
        tables=list(view.tables(run)),
        drawings=[
            drawing(name, figure, f"{short_id(run)}-{name}")
            for name, figure in view.figures(run).items()
        ],
        notices=list(view.notices(run)),
        headline=list(headline(run)) if headline else [],
    )


def short_id(run: Run) -> str:
    """Return the end of a run id, which is enough to keep ids of a page apart."""
    return f"r{run.id.rpartition('_')[2]}-{run.experiment}"


def speed_rows(part: RunPart) -> list[dict[str, Any]]:
    """Return the rows of a speed run as its JSON contract has them."""
    rows: list[dict[str, Any]] = EXPERIMENTS["speed"].view.json_object(part.run)["rows"]
    return rows


def _budgets(part: RunPart) -> Table | None:
    return budget_table(speed_rows(part), part.machine)


def _front(part: RunPart) -> list[Drawing]:
    figure = front_figure(speed_rows(part), part.machine)
    return [drawing("front", figure, f"{short_id(part.run)}-front")] if figure else []


def environment_table(runs: Sequence[Run]) -> Table:
    """Return one row per run: machine, software and settings it belongs to."""
    rows = [environment_row(run) for run in runs]
    return Table(
        name="environments",
        title="Machines and software",
        frame=pd.DataFrame(rows, columns=list(ENVIRONMENT), dtype=object),
        narrow=["run", "machine", "memory_bytes", "gpu", "torch", "python", "system"],
    )


#: Columns of the environments, and where each stands in a run file's environment.
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "run": (),
    "machine": (),
    "machine_key": ("machine_key",),
    "cores": ("cpu", "usable_cores"),
    "memory_bytes": ("memory", "total_bytes"),
    "gpu": ("gpus",),
    "torch": ("libraries", "torch"),
    "torchvision": ("libraries", "torchvision"),
    "cuda": ("libraries", "cuda"),
    "python": ("python", "version"),
    "system": ("system", "distribution"),
    "kernel": ("system", "kernel"),
    "governors": ("cpu", "governors"),
    "virtual_machine": ("cpu", "virtual_machine"),
    "load": ("load",),
    "commit": ("git", "commit"),
    "dirty": ("git", "dirty"),
}


def environment_row(run: Run) -> dict[str, Any]:
    """Return what is known of a run's environment; None where it is not."""
    found = {name: _found(run.environment, path) for name, path in ENVIRONMENT.items()}
    gpus = found["gpu"] if isinstance(found["gpu"], list) else []
    names = ", ".join(str(gpu.get("name")) for gpu in gpus) or None
    machine = machine_title(run.environment)
    return {**found, "run": run.id, "machine": machine, "gpu": names}


def _found(environment: Any, path: Sequence[str]) -> Any:
    for name in path:
        environment = environment.get(name) if isinstance(environment, dict) else None
    return environment
