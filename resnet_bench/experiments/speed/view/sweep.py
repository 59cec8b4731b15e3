"""How several ranks scale: a table, when a run had them."""

from typing import Any

import pandas as pd

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.speed.records import ScalingSamples
from resnet_bench.present.tables import Table
from resnet_bench.statistics.intervals import median_interval
from resnet_bench.store.reading import Run

COLUMNS = [
    "name",
    "batch_size",
    "ranks",
    "alone_seconds",
    "together_seconds",
    "efficiency",
    "efficiency_low",
    "efficiency_high",
]


def scaling_tables(run: Run) -> list[Table]:
    """Return one table of scaling efficiencies, or none.

    Every rank works on a batch of its own, so the efficiency, throughput of all over
    that of one times their number, is the time of a step alone over that together.
    """
    rows = [_row(row) for row in run.rows(ScalingSamples)]
    if not rows:
        return []
    return [
        Table(
            name="scaling",
            title="Scaling: a training step on all ranks against one rank alone",
            frame=pd.DataFrame(rows, columns=COLUMNS),
            narrow=COLUMNS,
            notes=["a batch per rank; slowest rank; blocks in turns, medians of pairs"],
            headers={
                "alone_seconds": "alone (s)",
                "together_seconds": "together (s)",
                "efficiency_low": "low",
                "efficiency_high": "high",
            },
        )
    ]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    alone, together = row["alone_step_seconds"], row["together_step_seconds"]
    ratio = median_interval([a / b for a, b in zip(alone, together, strict=True)])
    variant = row.get("variant")
    return {
        "name": VARIANTS[variant].title if variant else row.get("model"),
        "batch_size": row.get("batch_size"),
        "ranks": row["ranks"],
        "alone_seconds": median_interval(alone).estimate,
        "together_seconds": median_interval(together).estimate,
        "efficiency": ratio.estimate,
        "efficiency_low": ratio.low,
        "efficiency_high": ratio.high,
    }
