"""What a degradation run shows: verdicts, tables, figures and sentences."""

from typing import Any

from resnet_bench.analysis.tables import Table
from resnet_bench.experiments.degradation.claims import claim_row, judged_claims
from resnet_bench.experiments.degradation.measurements import TrainingResult
from resnet_bench.experiments.degradation.view_tables import run_tables
from resnet_bench.experiments.degradation.view_words import caveats
from resnet_bench.store.reading import Run


def json_object(run: Run) -> dict[str, Any]:
    """Return the run id, a verdict per claim and a row per trained network."""
    return {
        "run": run.id,
        "claims": [claim_row(judged, run) for judged in judged_claims(run)],
        "rows": run.rows(TrainingResult),
    }


def tables(run: Run) -> list[Table]:
    """Return the run's tables: claims, error by depth, and what studies add."""
    return run_tables(run, judged_claims(run))


def notices(run: Run) -> list[str]:
    """Return what a reader must know before believing the tables."""
    return caveats(run)
