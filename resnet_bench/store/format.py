"""The version of the run file, and every step from an older one.

To change the schema: raise SCHEMA_VERSION, add one `upgrade_N` that turns the
lines of version N into those of N + 1, list it in UPGRADES, and keep a run file of
version N under tests/data/.
"""

from collections.abc import Callable
from typing import Any

from resnet_bench.errors import InputOutputError

SCHEMA_VERSION = 1

Lines = list[dict[str, Any]]


#: Keyed by the version an upgrade starts from.
UPGRADES: dict[int, Callable[[Lines], Lines]] = {}


def upgraded(lines: Lines, name: str) -> Lines:
    """Return the lines in the current schema.

    Raises InputOutputError, with `name` for the file, when the version is unknown
    or newer than this program.
    """
    version = lines[0].get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputOutputError(f"{name}: no schema version in its first line")
    if version > SCHEMA_VERSION:
        raise InputOutputError(
            f"{name}: written by a newer resnet-bench (schema {version}; "
            f"this one reads up to {SCHEMA_VERSION})"
        )
    for step in range(version, SCHEMA_VERSION):
        lines = UPGRADES[step](lines)
    return lines
