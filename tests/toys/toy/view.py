"""The toy experiment's shown side."""

import pandas as pd

from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run


def show(run: Run) -> Shown:
    rows = [
        {"step": row["step"], "value": row["value"]} for row in run.rows("toy_sample")
    ]
    return Shown(
        json={"run": run.id, "rows": rows},
        tables=[table(run)],
        notices=["This is a toy."],
    )


def table(run: Run) -> Table:
    columns = ["behaviour", "step", "value"]
    frame = pd.DataFrame(run.rows("toy_sample"), columns=columns)
    return Table("table", "Toy samples", frame, columns)


def live_table(run: Run) -> Table | None:
    return table(run) if run.records else None
