"""What each kind of line must hold, in the current schema."""

from collections.abc import Mapping
from typing import Any

from resnet_bench.errors import InputOutputError

Types = type | tuple[type, ...]

#: Kind of line -> what it must have; a kind not listed is left alone.
REQUIRED: dict[str, dict[str, Types]] = {
    "run": {"run": str, "experiment": str},
    "record": {"cell": str, "attempt": int, "type": str},
    "cell": {"cell": str, "attempt": int, "status": str},
    "end": {"status": str},
    "resume": {},
}

#: What it may have; null counts as absent.
OPTIONAL: dict[str, dict[str, Types]] = {
    "run": {"config": dict, "environment": dict, "cells": dict, "nodes": dict},
    "cell": {"error": str, "seconds": (int, float), "group": int, "node": str},
    "resume": {"environment": dict, "nodes": dict},
}


def check_line(line: Mapping[str, Any], name: str) -> None:
    """Raise InputOutputError, with `name` for the file, for a line of wrong shape."""
    kind = line.get("kind")
    if not isinstance(kind, str):
        raise InputOutputError(f"{name}: a line lacks 'kind'")
    for field, types in REQUIRED.get(kind, {}).items():
        if not isinstance(line.get(field), types):
            raise InputOutputError(f"{name}: a line of kind {kind} lacks {field!r}")
    for field, types in OPTIONAL.get(kind, {}).items():
        value = line.get(field)
        if value is not None and not isinstance(value, types):
            raise InputOutputError(f"{name}: a line of kind {kind} has an odd {field}")
    if kind == "run" and not _are_cells(line.get("cells") or {}):
        raise InputOutputError(f"{name}: a line of kind run has odd cells")


def _are_cells(cells: Mapping[str, Any]) -> bool:
    return all(isinstance(parameters, dict) for parameters in cells.values())
