"""What a degradation run shows: verdicts, tables, figures and sentences."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.degradation.claims.all import claim_row, judged_claims
from resnet_bench.experiments.degradation.claims.judging import known
from resnet_bench.experiments.degradation.records import TrainingResult
from resnet_bench.experiments.degradation.view import tables as view_published
from resnet_bench.experiments.degradation.view.mechanism import (
    gradient_map,
    lesions,
    responses,
)
from resnet_bench.experiments.degradation.view.tables import run_tables
from resnet_bench.experiments.degradation.view.training import (
    budgets,
    error_by_depth,
    training_curves,
    treatments,
)
from resnet_bench.experiments.degradation.view.words import caveats, summary
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

#: Figures by file name, in the order of the questions they answer.
FIGURES: dict[str, Callable[[Run], Figure | None]] = {
    "training-curves": training_curves,
    "error-by-depth": error_by_depth,
    "budgets": budgets,
    "gradients": gradient_map,
    "responses": responses,
    "lesions": lesions,
    "treatments": treatments,
}


def json_object(run: Run) -> dict[str, Any]:
    """Return the run id, a verdict per claim and a row per trained network."""
    return {
        "run": run.id,
        "claims": [claim_row(judged, run) for judged in judged_claims(run)],
        "rows": [plain_row(row) for row in run.rows(TrainingResult)],
    }


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without infinities and not-a-numbers, which JSON lacks."""
    return {
        name: known(value) if isinstance(value, float) else value
        for name, value in row.items()
    }


def tables(run: Run) -> list[Table]:
    """Return the run's tables: claims, error by depth, and what studies add."""
    return run_tables(run, judged_claims(run))


def notices(run: Run) -> list[str]:
    """Return what a reader must know before believing the tables."""
    return caveats(run)


def published(run: Run) -> list[Table]:
    """Return published figures beside the run's own."""
    table = view_published.published_table(run)
    return [table] if table else []


def headline(run: Run) -> list[str]:
    """Return what the run says, in a few sentences."""
    return summary(judged_claims(run))


def figures(run: Run) -> dict[str, Figure]:
    """Return the run's figures by name, leaving out what was not measured."""
    drawn = {name: draw(run) for name, draw in FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows."""
    return Shown(
        json=json_object(run),
        tables=tables(run),
        notices=notices(run),
        headline=headline(run),
        published=published(run),
        draw=partial(figures, run),
    )
