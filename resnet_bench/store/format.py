"""The version of the run file, and every step from an older one.

To change the schema: write one `upgrade_N` that turns the
lines of version N into those of N + 1, append it to UPGRADES, and keep a run file of
version N under tests/data/.
"""

import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resnet_bench.errors import InputOutputError

CHECKSUM = "crc32"
#: Each line carries its place in the file: a lost or doubled line is noticed too.
NUMBER = "seq"


class DamagedLineError(ValueError):
    """A line that is no JSON object, or whose checksum or number does not fit."""


class ExcessiveLineError(DamagedLineError):
    """A line larger than any that is written: no crash leaves it."""


def encode(content: Mapping[str, Any], number: int) -> bytes:
    """Return line `number` (from 0) for `content`, checksum and line end included.

    JSON has no notation for not-a-number and the infinities; they are written as
    `{"_number": "NaN"}` and so on, because a diverged loss must not read as unknown.
    """
    plain = {**_plain(content), NUMBER: number}
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    return f'{text[:-1]},"{CHECKSUM}":"{_checksum(text.encode())}"}}\n'.encode()


def decode(line: bytes, number: int) -> dict[str, Any]:
    """Return the content of what should be line `number`.

    Raises DamagedLineError.
    """
    content = _checked(line)
    if content.pop(NUMBER, None) != number:
        raise DamagedLineError("it is out of place")
    restored = _restored(content)
    return restored if isinstance(restored, dict) else content


#: How the line of a record begins, and all that a list needs of it.
RECORD = re.compile(
    rb'\{"kind":"record","cell":"(\w+)","attempt":(\d{1,9}),"type":"(\w+)"'
)


def decode_outline(line: bytes, number: int) -> dict[str, Any]:
    """Return what `decode` does, of a record only which one it is.

    Its values are not looked at, damage to the line is noticed. Raises
    DamagedLineError.
    """
    head = RECORD.match(line)
    if not head or not _sound(line).endswith(f',"{NUMBER}":{number}}}'.encode()):
        return decode(line, number)
    cell, attempt, kind = (each.decode() for each in head.groups())
    return {"kind": "record", "cell": cell, "attempt": int(attempt), "type": kind}


def is_whole(line: bytes) -> bool:
    """Say whether a line is undamaged, wherever it belongs."""
    try:
        _checked(line)
    except DamagedLineError:
        return False
    return True


def _sound(line: bytes) -> bytes:
    """Return a line without its checksum, which fits."""
    if len(line) > LONGEST_LINE:
        raise ExcessiveLineError("it is too long")
    body, mark, tail = line.rstrip(b"\r\n").rpartition(f',"{CHECKSUM}":"'.encode())
    if not mark or tail[8:] != b'"}' or tail[:8] != _checksum(body + b"}").encode():
        raise DamagedLineError("the checksum does not match")
    return body + b"}"


def _checked(line: bytes) -> dict[str, Any]:
    body = _sound(line)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DamagedLineError("not JSON") from error
    if not isinstance(content, dict):
        raise DamagedLineError("not a JSON object")
    return content


def _checksum(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_WRAPPER = "_number"

#: Lists and mappings within each other; what is written needs fewer than ten.
DEEPEST = 64

#: Bytes of a line. The first one holds the grid; with 10,000 cells it has 4 MB.
LONGEST_LINE = 20_000_000

#: Characters of a text. An argument of a command line has 131,072 at most (execve(2)).
LONGEST_TEXT = 200_000

#: Whole numbers are counts and seeds; Python's own have no limit, and floats have.
LARGEST_NUMBER = 10**300


def _plain(value: Any) -> Any:
    """Wrap the floats that JSON has no notation for."""
    if isinstance(value, float):  # most values
        if math.isfinite(value):
            return value
        name = "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
        return {_WRAPPER: name}
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _restored(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, float):  # most values
        return value
    if not isinstance(value, (dict, list)):
        _check_size(value)
        return value
    if depth > DEEPEST:
        raise ExcessiveLineError("it is nested too deeply")
    if isinstance(value, list):
        return [_restored(item, depth + 1) for item in value]
    name = value.get(_WRAPPER)
    if value.keys() == {_WRAPPER} and isinstance(name, str) and name in _NOT_FINITE:
        return _NOT_FINITE[name]
    return {key: _restored(item, depth + 1) for key, item in value.items()}


def _check_size(value: str | int) -> None:
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise ExcessiveLineError("a text is too long")
    elif abs(value) > LARGEST_NUMBER:
        raise ExcessiveLineError("a number is too large")


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
    "run": {
        "config": dict,
        "environment": dict,
        "cells": dict,
        "nodes": dict,
        "argv": list,
        "commit": str,
        "dirty": bool,
        "trees": dict,
    },
    "cell": {"error": str, "seconds": (int, float), "group": int, "node": str},
    "resume": {"environment": dict, "nodes": dict},
}


#: A run's id, which names a folder and stands in commands, links and pages.
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
            raise InputOutputError(f"{name}: a line of kind {kind} has a bad {field}")
    if kind == "run":
        _check_header(line, name)


def _check_header(line: Mapping[str, Any], name: str) -> None:
    if not RUN_ID.fullmatch(line["run"]):
        raise InputOutputError(f"{name}: {line['run']!r} is not a run id")
    machine = (line.get("environment") or {}).get("machine_key")
    if machine is not None and not isinstance(machine, str):
        raise InputOutputError(f"{name}: a line of kind run has an invalid machine_key")
    cells = line.get("cells") or {}
    if not all(isinstance(parameters, dict) for parameters in cells.values()):
        raise InputOutputError(f"{name}: a line of kind run has invalid cells")


Lines = list[dict[str, Any]]

#: The first starts from version 1, the next from 2, and so on.
UPGRADES: tuple[Callable[[Lines], Lines], ...] = ()

SCHEMA_VERSION = len(UPGRADES) + 1


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
    for upgrade in UPGRADES[version - 1 :]:
        lines = upgrade(lines)
    return lines


#: An absolute path, alone or behind what says its kind (`file:/…`, `--weights=/…`).
ABSOLUTE = re.compile(r"(?P<before>(?:[a-z-]+[:=])*)(?P<path>/[^/].*)", re.DOTALL)


def portable(value: Any, base: Path | None = None) -> Any:
    """Return `value` with absolute paths made relative, or cut to their last part.

    A run file travels; where somebody's home is must not travel with it.
    """
    base = base or Path.cwd()
    if isinstance(value, dict):
        return {key: portable(item, base) for key, item in value.items()}
    if isinstance(value, list):
        return [portable(item, base) for item in value]
    found = ABSOLUTE.fullmatch(value) if isinstance(value, str) else None
    if found:
        path = Path(found["path"])
        short = path.relative_to(base) if path.is_relative_to(base) else path.name
        return f"{found['before']}{short}"
    return value
