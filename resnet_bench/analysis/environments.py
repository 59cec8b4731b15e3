"""What differs between the machines and software of two runs."""

from collections.abc import Iterator, Mapping
from typing import Any

#: Changes from minute to minute, and says nothing about what was set up.
FLEETING = ("load", "memory.available_bytes", "cpu.frequency", "git", "host")


def differences(
    base: Mapping[str, Any], head: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the facts that differ, by dotted name, with both values."""
    left, right = dict(_flat(base)), dict(_flat(head))
    return {
        name: {"base": left.get(name), "head": right.get(name)}
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    }


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if name.startswith(FLEETING):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value
