"""What a person sees of `pretrain`: the checkpoints and how to use them."""

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.pretrain.spec import SourceResult
from resnet_bench.present.machines import machine_title
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

NARROW = (
    "network",
    "seed",
    "source_accuracy_percent",
    "training_seconds",
    "steps",
    "reused",
    "sha256",
)


def json_object(run: Run) -> dict[str, Any]:
    """Return a row per checkpoint, in SI units."""
    return {"run": run.id, "rows": run.rows(SourceResult)}


def tables(run: Run) -> list[Table]:
    """Return the table of checkpoints."""
    rows = sorted(run.rows(SourceResult), key=lambda row: (row["variant"], row["seed"]))
    if not rows:
        return []
    frame = pd.DataFrame(
        [
            {
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
            for row in rows
        ],
        dtype=object,
    )
    device = str(run.config.get("device", "cpu"))
    machine = machine_title(run.environment, device)
    return [
        Table(
            name="checkpoints",
            title=f"Source checkpoints: {run.config['dataset']} · {machine}",
            frame=frame,
            narrow=NARROW,
            notes=[_use(run)],
            headers={"source_accuracy_percent": "accuracy", "reused": "was there"},
        )
    ]


def _use(run: Run) -> str:
    if run.config.get("into"):
        return "Use one with: resnet-bench finetune --weights suite:FILE"
    return (
        "They are in the cache: resnet-bench finetune --weights suite finds those "
        "trained with the same --source options."
    )


def figures(run: Run) -> dict[str, Figure]:
    """Return no figures: a checkpoint is a means to an end."""
    return {}


def notices(run: Run) -> list[str]:
    """Return a sentence for what could not be trained."""
    unfinished = len(run.missing) + len(run.failed)
    return [f"{unfinished} checkpoints could not be trained"] if unfinished else []


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows."""
    return Shown(
        json=json_object(run),
        tables=tables(run),
        notices=notices(run),
        draw=partial(figures, run),
    )
