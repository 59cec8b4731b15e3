"""Tables: raw numbers inside, people's units only when shown.

A frame keeps SI units and full precision. How a column is shown follows from its
name: the suffix gives the unit (`forward_seconds` is shown in ms), and columns
`NAME_low` and `NAME_high` beside `NAME` are its interval, `NAME_rounds` how few
visits there were where bounds lack; none is a column of its own on screen.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any

import pandas as pd
from tabulate import tabulate

from resnet_bench.output import printable
from resnet_bench.present.numbers import rounded, rounded_short
from resnet_bench.statistics.intervals import Interval

UNKNOWN = "—"
NEW_LINE = "\n"
MAXIMUM_NARROW_COLUMNS = 8

#: What may stand beside a column and is shown with it.
BESIDE = ("low", "high", "rounds")

#: An interval whose ends differ by this factor is shown by its ends, not as ±.
WIDE_RATIO = 2.0


@dataclass(frozen=True)
class Scale:
    """How a quantity of a frame is shown: unit, and what to multiply by.

    A column is shown so while its largest value stays below `below`.
    """

    unit: str
    factor: float = 1.0
    below: float = math.inf


#: Suffixes of column names; the first that fits decides (`images_per_second`
#: also ends in `per_second`). Each lists scales from small to large.
SCALES: dict[str, tuple[Scale, ...]] = {
    "images_per_second": (Scale("images/s"),),
    "per_second": (Scale("1/s"),),
    "seconds": (
        Scale("µs", 1e6, 1e3),
        Scale("ms", 1e3, 1e4),
        Scale("s", 1.0, 600.0),
        Scale("min", 1 / 60),
    ),
    "bytes": (
        Scale("KiB", 2.0**-10, 1024.0),
        Scale("MiB", 2.0**-20, 512.0),
        Scale("GiB", 2.0**-30),
    ),
    "percent": (Scale("%"),),
    "points": (Scale("pp"),),
    "fraction": (Scale("%", 100.0),),
    "ratio": (Scale("x"),),
    "gmac": (Scale("GMAC"),),
    "gflop": (Scale("GFLOP"),),
}


@dataclass(frozen=True)
class Table:
    """A table as data, with its columns at 80 characters and its notes.

    `frame` is in SI units; `narrow` names at most eight of its columns; `headers`
    overrides the words of a column (not its unit); `page` names the columns that the
    report, which is wider, shows at first instead of `narrow`. A `detail` is left out
    at the end of a run and printed by `show`. With `by_bounds` every interval is shown
    by its ends, never as ±.
    """

    name: str
    title: str
    frame: pd.DataFrame
    narrow: Sequence[str]
    notes: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    page: Sequence[str] = ()
    detail: bool = False
    by_bounds: bool = False

    def __post_init__(self) -> None:
        """Check that the narrow columns exist and are few enough."""
        missing = [
            name for name in (*self.narrow, *self.page) if name not in self.frame
        ]
        if missing:
            raise ValueError(f"table {self.name} lacks columns {', '.join(missing)}")
        if len(self.narrow) > MAXIMUM_NARROW_COLUMNS:
            raise ValueError(f"table {self.name}: more than eight columns at 80")

    @cached_property
    def rows(self) -> list[dict[Any, Any]]:
        """The rows as plain values; whole numbers stay whole beside gaps."""
        return self.frame.astype(object).to_dict("records")

    def values(self, column: str) -> list[Any]:
        """Return the known values of a column."""
        return [row[column] for row in self.rows if not is_missing(row[column])]


def interval_columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    """Return an interval as three columns of a frame.

    Without an interval all are unknown, without bounds these are.
    """
    low, high = f"{name}_low", f"{name}_high"
    if interval is None:
        return dict.fromkeys((name, low, high))
    if not interval.bounded:
        return {name: interval.estimate, low: None, high: None}
    return {name: interval.estimate, low: interval.low, high: interval.high}


@dataclass(frozen=True)
class Shown:
    """One value as text, with its uncertainty apart."""

    text: str
    spread: str = ""
    bounds: str = ""


def suffix_of(column: str) -> str:
    """Return the suffix of a column's name that gives its unit, or nothing."""
    return next((suffix for suffix in SCALES if column.endswith(suffix)), "")


def scale_of(table: Table, column: str) -> Scale:
    """Return how a column is shown, from its name's suffix and its largest value."""
    scales = SCALES.get(suffix_of(column), (Scale(""),))
    numbers = [abs(value) for value in table.values(column) if is_number(value)]
    # Without a number the unit is a guess; ms is a better one than µs.
    largest = max((value for value in numbers if math.isfinite(value)), default=0.01)
    fitting = (scale for scale in scales if largest * scale.factor < scale.below)
    return next(fitting, scales[-1])


def columns_shown(table: Table, *, wide: bool) -> list[str]:
    """Return the columns on screen; bounds are part of the column they bound."""
    if not wide:
        return list(table.narrow)
    names = list(table.frame.columns)
    bounds = {f"{name}_{side}" for name in names for side in BESIDE}
    return [name for name in names if name not in bounds]


def header(table: Table, column: str) -> str:
    """Return a column's words and unit on two lines."""
    unit = scale_of(table, column).unit
    words = table.headers.get(column)
    if words is None:
        words = column.removesuffix(f"_{suffix_of(column)}").replace("_", " ")
    words = printable(words)
    return f"{words}\n{unit}" if unit else words


def heading(table: Table, column: str) -> str:
    """Return a column's words and unit on one line."""
    words, _, unit = header(table, column).partition("\n")
    return f"{words} ({unit})" if unit else words


def is_missing(value: Any) -> bool:
    """Return whether a value of a frame is unknown."""
    return value is None or value is pd.NaT or (value != value)


def is_number(value: Any) -> bool:
    """Return whether a value is a number to be scaled and rounded."""
    return isinstance(value, Real) and not isinstance(value, bool)


def number(value: Any, scale: Scale) -> str:
    """Return a scaled number as text; whole numbers keep all their digits."""
    if scale.factor == 1.0 and math.isfinite(value) and int(value) == value:
        return f"{int(value):,}" if value >= 10_000 else str(int(value))
    return rounded(float(value) * scale.factor)


def spread_of(value: float, low: float, high: float, scale: Scale) -> str:
    """Return the wider side of an interval behind a plus-minus sign.

    Relative to the value, in percent, unless the value is itself in percent or
    points (or 0), where a percentage of it would be misread.
    """
    side = max(value - low, high - value)
    if scale.unit in ("%", "pp") or value == 0:
        return f"±{rounded_short(side * scale.factor)}"
    return f"±{rounded_short(100 * side / abs(value))} %"


def shown(row: Mapping[Any, Any], column: str, scale: Scale) -> Shown:
    """Return a row's value under `column` as it is shown to people."""
    value = row[column]
    if isinstance(value, (list, tuple)):
        return Shown(printable(", ".join(map(str, value))) or UNKNOWN)
    if is_missing(value):
        return Shown(UNKNOWN)
    if isinstance(value, bool):
        return Shown("yes" if value else "no")
    if not is_number(value):
        return Shown(printable(str(value)))
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    if low is None or high is None or is_missing(low) or is_missing(high):
        rounds = row.get(f"{column}_rounds")
        few = "" if is_missing(rounds) else f"({rounds} round{'s' * (rounds != 1)})"
        return Shown(number(value, scale), few, few)
    bounds = f"[{number(low, scale)}, {number(high, scale)}]"
    wide = scale.unit not in ("%", "pp") and low > 0 and high / low > WIDE_RATIO
    if wide or math.isinf(low) or math.isinf(high):
        return Shown(number(value, scale), bounds, bounds)
    spread = spread_of(float(value), float(low), float(high), scale)
    return Shown(number(value, scale), spread, bounds)


def shown_rows(table: Table, names: Sequence[str]) -> list[list[Shown]]:
    """Return the named columns of all rows as they are shown."""
    scales = {name: scale_of(table, name) for name in names}
    rows = [[shown(row, name, scales[name]) for name in names] for row in table.rows]
    if not table.by_bounds:
        return rows
    return [[replace(value, spread=value.bounds) for value in row] for row in rows]


def is_numeric(table: Table, column: str) -> bool:
    """Return whether a column holds numbers only, which are aligned right."""
    values = table.values(column)
    return bool(values) and all(map(is_number, values))


def markdown(table: Table, *, wide: bool = False) -> str:
    """Return the table as GitHub Markdown with its title and notes."""
    names = columns_shown(table, wide=wide)
    body = tabulate(
        [[_inline(value) for value in row] for row in shown_rows(table, names)],
        headers=[escaped(heading(table, name)) for name in names],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["right" if is_numeric(table, name) else "left" for name in names],
    )
    notes = "\n".join(f"- {escaped(note)}" for note in table.notes)
    parts = [f"### {escaped(table.title.replace(NEW_LINE, ' · '))}", body, notes]
    return "\n\n".join(part for part in parts if part) + "\n"


def _inline(value: Shown) -> str:
    return escaped(f"{value.text} {value.bounds}".strip())


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line, controls as such."""
    flat = " ".join(printable(text).split())
    for special in "\\|<>*_`":
        flat = flat.replace(special, f"\\{special}" if special != "<" else "&lt;")
    return flat.replace("](", "]\\(")


def code(text: str) -> str:
    """Return text as a Markdown code span, whatever backticks and controls it holds."""
    flat = " ".join(printable(text).split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", flat)), default=0))
    return f"{fence} {flat} {fence}" if len(fence) > 1 else f"`{flat}`"


#: What a text begins with that a spreadsheet takes for a formula.
FORMULA = tuple("=+-@\t")


def csv_text(table: Table) -> str:
    """Return every column in SI units and full precision as CSV.

    An apostrophe stands before a text that a spreadsheet would take for a formula.
    """
    rows = [[_flat(value) for value in row.values()] for row in table.rows]
    frame = pd.DataFrame(rows, columns=table.frame.columns, dtype=object)
    return frame.to_csv(index=False, lineterminator="\n")


def _flat(value: Any) -> Any:
    text = ";".join(map(str, value)) if isinstance(value, (list, tuple)) else value
    if not isinstance(text, str):
        return text
    return printable(f"'{text}" if text.lstrip().startswith(FORMULA) else text)
