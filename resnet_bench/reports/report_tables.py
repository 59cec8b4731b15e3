"""Tables as a page needs them: every value as text, with what it is sorted by."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet_bench.present.tables import (
    Shown,
    Table,
    columns_shown,
    header,
    is_missing,
    is_number,
    is_numeric,
    shown_rows,
)

#: Characters of Chinese, which a screen reader has to be told of.
HAN = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Head:
    """A column's words and unit; `extra` ones are hidden until asked for."""

    words: str
    unit: str
    numeric: bool
    extra: bool


@dataclass(frozen=True)
class PageCell:
    """A value as shown, and what it is sorted by."""

    shown: Shown
    sort: str

    @property
    def language(self) -> str:
        """The language of a quotation, by its script; nothing for English."""
        return "zh" if HAN.search(self.shown.text) else ""


@dataclass(frozen=True)
class PageRow:
    """A row, and the series that it belongs to in the figures."""

    series: str
    cells: list[PageCell]


@dataclass(frozen=True)
class PageTable:
    """A table ready for a page."""

    key: str
    title: str
    heads: list[Head]
    rows: list[PageRow]
    notes: list[str]

    @property
    def has_extra(self) -> bool:
        """Whether columns are hidden at first."""
        return any(head.extra for head in self.heads)


def page_table(table: Table, key: str) -> PageTable:
    """Return a table with a page's columns first, the others hidden at first."""
    first = table.page or table.narrow
    every = columns_shown(table, wide=True)
    names = [*first, *(name for name in every if name not in first)]
    heads = [_head(table, name, extra=name not in first) for name in names]
    rows = [
        PageRow(
            series=series_of(row),
            cells=[
                PageCell(value, _sort_key(row[name]))
                for name, value in zip(names, values, strict=True)
            ],
        )
        for row, values in zip(table.rows, shown_rows(table, names), strict=True)
    ]
    title = table.title.replace("\n", " · ")
    return PageTable(key, title, heads, rows, list(table.notes))


def _head(table: Table, name: str, *, extra: bool) -> Head:
    words, _, unit = header(table, name).partition("\n")
    return Head(words, unit, is_numeric(table, name), extra)


def _sort_key(value: Any) -> str:
    if is_missing(value):
        return ""
    return repr(float(value)) if is_number(value) else str(value)


def series_of(row: Mapping[Any, Any]) -> str:
    """Return the variant or arm that a row is about; nothing if it is no single one."""
    arm = row.get("arm")
    if isinstance(arm, str):
        return arm
    for name in ("variant", "model", "network"):
        found = re.fullmatch(r"(?:ResNet-)?(\d+)", str(row.get(name, "")))
        if found:
            return found[1]
    return ""
