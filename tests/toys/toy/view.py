"""The toy experiment's shown side."""

from typing import Any

import pandas as pd

from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run


def json_object(run: Run) -> dict[str, Any]:
    rows = [
        {"step": row["step"], "value": row["value"]} for row in run.rows("toy_sample")
    ]
    return {"run": run.id, "rows": rows}


def tables(run: Run) -> list[Table]:
    columns = ["behaviour", "step", "value"]
    frame = pd.DataFrame(run.rows("toy_sample"), columns=columns)
    return [Table("table", "Toy samples", frame, columns)]


def live_table(run: Run) -> Table | None:
    return tables(run)[0] if run.records else None


def figures(run: Run) -> dict[str, Any]:
    return {}


def notices(run: Run) -> list[str]:
    return ["This is a toy."]
