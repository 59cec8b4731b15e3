"""What `pretrain` shows: the checkpoints and how to use them."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.pretrain.spec import SourceResult
from resnet_bench.present.machines import machine_title
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

Row = dict[str, Any]


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows: a row per checkpoint."""
    rows = run.rows(SourceResult)
    unfinished = len(run.missing) + len(run.failed)
    return Shown(
        json={"run": run.id, "rows": rows},
        tables=[_table(run, rows)] if rows else [],
        notices=[f"{unfinished} checkpoints could not be trained"] * bool(unfinished),
    )


def _table(run: Run, rows: Sequence[Row]) -> Table:
    ordered = sorted(rows, key=lambda row: (row["variant"], row["seed"]))
    machine = machine_title(run.environment, str(run.config.get("device", "cpu")))
    columns = [_columns(row) for row in ordered]
    return Table(
        name="checkpoints",
        title=f"Source checkpoints: {run.config['dataset']} · {machine}",
        frame=pd.DataFrame(columns, dtype=object),
        narrow=[name for name in columns[0] if name not in ("data_sha256", "file")],
        notes=[_use(run)],
        headers={"source_accuracy_percent": "accuracy", "reused": "was there"},
    )


def _columns(row: Row) -> Row:
    return {
        "network": VARIANTS[row["variant"]].title,
        "seed": row["seed"],
        "source_accuracy_percent": row["source_accuracy_percent"],
        "training_seconds": row["training_seconds"],
        "steps": row["steps"],
        "reused": row["reused"],
        "sha256": row["sha256"][:12],
        "data_sha256": row["data_sha256"][:12],
        "file": row["file"],
    }


def _use(run: Run) -> str:
    if run.config.get("into"):
        return "Use one with: resnet-bench finetune --weights suite:FILE"
    return (
        "They are in the cache: resnet-bench finetune --weights suite finds those "
        "trained with the same --source options."
    )
