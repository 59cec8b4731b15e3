"""How a stored noise measurement is shown again."""

import json
from typing import Any

from resnet_bench.gate.noise import noise_json, noise_table
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run


def json_object(run: Run) -> dict[str, Any]:
    """Return the noise as one JSON-ready object."""
    content: dict[str, Any] = json.loads(noise_json(run, run.config["effects"]))
    return content


def tables(run: Run) -> list[Table]:
    """Return the one table."""
    return [noise_table(run, run.config["effects"])]


def notices(run: Run) -> list[str]:
    """Return nothing: the table has its own notes."""
    return []
