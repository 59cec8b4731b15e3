"""Tables whose rows are imported when they are first used, so that help stays quick."""

import importlib
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Row:
    """The entry of an item that is not yet imported from `place`, `module:name`."""

    name: str
    summary: str
    place: str

    def load(self) -> Any:
        """Import the item; a class is called."""
        module, _, name = self.place.partition(":")
        found = getattr(importlib.import_module(module), name)
        return found() if isinstance(found, type) else found


class Rows(MutableMapping[str, Item], Generic[Item]):
    """Items by name; each is imported when it is first asked for."""

    def __init__(self, *rows: Row) -> None:
        self._rows = {row.name: row for row in rows}
        self._items: dict[str, Item] = {}

    def summary(self, name: str) -> str:
        """Return what an item does, in one sentence."""
        return self._rows[name].summary if name in self._rows else ""

    def __getitem__(self, name: str) -> Item:
        """Return the item, imported if it is not yet."""
        if name not in self._items:
            self._items[name] = self._rows[name].load()
        return self._items[name]

    def __setitem__(self, name: str, item: Item) -> None:
        """Add an item, or put it in the place of a row's."""
        self._items[name] = item

    def __delitem__(self, name: str) -> None:
        """Remove an item that was set; a row stays."""
        del self._items[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is an item of that name, without importing it."""
        return name in self._rows or name in self._items

    def __iter__(self) -> Iterator[str]:
        """Yield the names in the order of the rows."""
        return iter([*self._rows, *(self._items.keys() - self._rows.keys())])

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self._rows.keys() | self._items.keys())
