"""Stored runs put together in memory from a config's cells and their records."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from resnet_bench.records import Cell, Record, to_json
from resnet_bench.store.reading import Run, assemble

ENVIRONMENT = {
    "machine_key": "m1",
    "cpu": {"model": "Test Processor", "usable_cores": 2},
}


def assembled(
    folder: Path,
    config: Any,
    cells: Sequence[Cell],
    records_of: Callable[[Any], Iterable[Record]],
) -> Run:
    """Return the complete run; the folder's parent names its experiment."""
    header = {
        "kind": "run",
        "schema_version": 1,
        "run": folder.name,
        "experiment": folder.parent.name,
        "config": to_json(config),
        "environment": ENVIRONMENT,
        "cells": {cell.key: cell.parameters for cell in cells},
    }
    lines: list[dict[str, Any]] = [header]
    for cell in reversed(cells):  # children end in any order
        identity = {"cell": cell.key, "attempt": 1}
        for record in records_of(cell):
            content = {"type": record.type_name(), **to_json(record)}
            lines.append({"kind": "record", **identity, **content})
        lines.append({"kind": "cell", **identity, "status": "ok"})
    return assemble(folder, [*lines, {"kind": "end", "status": "complete"}])
