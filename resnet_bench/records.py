"""The vocabulary of results: grid cells and the records they yield."""

import dataclasses
import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal

Better = Literal["lower", "higher", "neither"]


def measured(
    *,
    unit: str,
    better: Better,
    default: Any = dataclasses.MISSING,
    exact: bool = False,
) -> Any:
    """Declare a measured field of a record with its unit and direction.

    `unit` is an SI unit ("s", "B", "1/s"), "%" or "1" for pure numbers; `exact`
    marks a quantity without measurement noise (a parameter count, a checksum).
    Tables, axes, comparisons and the gate read these.
    """
    metadata = {"unit": unit, "better": better, "measured": True, "exact": exact}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def transient(default: Any = dataclasses.MISSING) -> Any:
    """Declare a field of a cell that does not identify it (a device index)."""
    metadata = {"identity": False}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@lru_cache
def snake_case(name: str) -> str:
    """Turn a class name into the record type that run files carry."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of an experiment's grid; subclasses declare its parameters."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return {
            field.name: to_json(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }

    @cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits that identify the cell across runs."""
        parameters = self.parameters
        identity = {
            field.name: parameters[field.name]
            for field in dataclasses.fields(self)
            if field.metadata.get("identity", True)
        }
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """What progress lines call the cell."""
        return " ".join(f"{name}={value}" for name, value in self.parameters.items())

    @property
    def cost(self) -> float:
        """Relative duration, so that the time left can be estimated."""
        return 1.0

    @property
    def memory_bytes(self) -> float:
        """Memory the cell holds while it lives, estimated; 0 if negligible."""
        return 0.0

    @property
    def passing_bytes(self) -> float:
        """Memory that it takes besides while it is at work, estimated."""
        return 0.0

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of cells that must have ended well before this one starts."""
        return ()


def device_parameters(name: str) -> dict[str, Any]:
    """Return the parameters of a cell on `cpu` or `cuda:N`, the index apart.

    Which of several GPUs it was does not identify a cell.
    """
    kind, _, index = name.partition(":")
    return {"device": kind, "device_index": int(index) if index else None}


def device_name(kind: str, index: int | None) -> str:
    """Return the device as torch writes it."""
    return kind if index is None else f"{kind}:{index}"


#: Keys that a line of a run file has besides a record's fields and its cell's.
RESERVED = frozenset({"kind", "cell", "attempt", "type", "seq", "crc32"})


@dataclass(frozen=True, kw_only=True)
class Record:
    """One result as observed; subclasses declare plain and measured fields.

    With `ends_cell` nothing can follow: the process that yielded it ends at once.
    """

    ends_cell: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Refuse a field that would take the place of a line's own key."""
        taken = RESERVED & set(inspect.get_annotations(cls))
        if taken:
            raise TypeError(f"{cls.__name__} has reserved fields: {sorted(taken)}")

    @classmethod
    def type_name(cls) -> str:
        """The name under which run files keep records of this class."""
        return snake_case(cls.__name__)


@dataclass(frozen=True)
class Measure:
    """The declaration of one measured field."""

    name: str
    unit: str
    better: Better
    exact: bool


def measures(record_class: type[Record]) -> dict[str, Measure]:
    """Return the measured fields of a record class by name."""
    return {
        field.name: Measure(
            name=field.name,
            unit=field.metadata["unit"],
            better=field.metadata["better"],
            exact=field.metadata["exact"],
        )
        for field in dataclasses.fields(record_class)
        if field.metadata.get("measured")
    }


def to_json(value: Any) -> Any:
    """Return dataclasses, tuples and mappings as JSON-ready values, unrounded."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)
