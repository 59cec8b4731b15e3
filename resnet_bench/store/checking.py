"""Checks the content of a run file against the classes of its records.

A checksum only tells that a line is as somebody wrote it. What stands in it may still
be missing, of another type, or a time that cannot be.
"""

import contextlib
import dataclasses
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from resnet_bench.errors import InputOutputError
from resnet_bench.records import Record
from resnet_bench.store.reading import Run, read_run

Fits = Callable[[Any], bool]

#: Units of quantities that are finite and never below zero.
NEVER_NEGATIVE = frozenset({"s", "B", "1/s", "B/s", "FLOP/s"})

#: What content raises that no check foresaw, where a run is shown.
ODD_CONTENT = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


class OddContentError(InputOutputError):
    """A run in `folder` with content that the checks did not expect."""

    def __init__(self, folder: Path, cause: BaseException, done: str) -> None:
        super().__init__(f"{folder}: cannot be {done} ({_in_short(cause)})")
        self.folder = folder


#: Characters of a cause that are quoted.
CAUSE_LENGTH = 200


def _in_short(cause: BaseException) -> str:
    return f"{type(cause).__name__}: {cause}"[:CAUSE_LENGTH]


def checked_run(place: Path, records: Callable[[str], Sequence[type[Record]]]) -> Run:
    """Read a run and check its records; `records` gives the types of an experiment.

    Raises InputOutputError where the file is damaged or a record is odd.
    """
    run = read_run(place)
    check_records(run, records(run.experiment))
    return run


def check_records(run: Run, classes: Sequence[type[Record]]) -> None:
    """Raise InputOutputError for a record that is not as its class declares.

    Records of other types are left alone: an older or newer version wrote them.
    """
    checks = {each.type_name(): _fields(each) for each in classes}
    for row in run.records:
        for name, (fits, required) in checks.get(row["type"], {}).items():
            if not (fits(row[name]) if name in row else not required):
                raise InputOutputError(
                    f"{run.folder}: a record {row['type']} of cell {row['cell']} "
                    f"{'has an invalid' if name in row else 'lacks'} {name}"
                )


@contextlib.contextmanager
def naming(run: Run, done: str = "shown") -> Iterator[None]:
    """Turn errors that odd content raises in the block into an OddContentError.

    `done` says in its message what the run cannot be.
    """
    try:
        yield
    except ODD_CONTENT as error:
        raise OddContentError(run.folder, error, done) from error


def odd_fields(declared: type, content: Mapping[str, Any]) -> list[str]:
    """Return the names of values, as JSON holds them, that do not fit a dataclass."""
    hints = get_type_hints(declared)
    return [
        name
        for name, value in content.items()
        if name in hints and not _fitting(hints[name])(value)
    ]


def _fields(record: type[Record]) -> dict[str, tuple[Fits, bool]]:
    """Return by field what fits it, and whether it must be there."""
    hints = get_type_hints(record)
    found = {}
    for field in dataclasses.fields(record):
        fits = _fitting(hints[field.name])
        if field.metadata.get("unit") in NEVER_NEGATIVE:
            fits = _both(fits, _possible)
        required = (
            field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        )
        found[field.name] = (fits, required)
    return found


def _both(one: Fits, other: Fits) -> Fits:
    return lambda value: one(value) and other(value)


def _possible(value: Any) -> bool:
    """Return whether all numbers in a value are finite and not negative."""
    if isinstance(value, (list, tuple)):
        return all(map(_possible, value))
    if isinstance(value, dict):
        return all(map(_possible, value.values()))
    return value is None or 0 <= value < math.inf


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


#: Plain types as JSON holds them; what is not listed is not checked.
PLAIN: dict[Any, Fits] = {
    type(None): lambda value: value is None,
    bool: lambda value: isinstance(value, bool),
    float: _number,
    int: _whole,
    str: lambda value: isinstance(value, str),
    Path: lambda value: isinstance(value, str),
}


def _row(each: Sequence[Fits]) -> Fits:
    """Return a test whether a list has that many values, each of its own type."""
    return lambda value: (
        isinstance(value, (list, tuple))
        and len(value) == len(each)
        and all(fits(one) for fits, one in zip(each, value, strict=True))
    )


def _fitting(hint: Any) -> Fits:
    """Return a test whether a value read from JSON is of a type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        choices = [_fitting(each) for each in inner]
        return lambda value: any(fits(value) for fits in choices)
    if origin is Literal:
        return lambda value: value in inner
    if isinstance(origin, type) and issubclass(origin, Mapping):
        held = _fitting(inner[1])
        return lambda value: isinstance(value, dict) and all(map(held, value.values()))
    if origin is tuple and inner[-1] is not Ellipsis:
        return _row(list(map(_fitting, inner)))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        held = _fitting(inner[0])
        return lambda value: isinstance(value, (list, tuple)) and all(map(held, value))
    return PLAIN.get(hint, lambda value: True)
