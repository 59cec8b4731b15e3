"""Tables on a terminal, or in a pipe: nothing is ever cut."""

from collections.abc import Sequence
from itertools import takewhile

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from resnet_bench.output import printable
from resnet_bench.present.tables import (
    Shown,
    Table,
    columns_shown,
    header,
    is_numeric,
    shown_rows,
)

#: A pipe has no width; tables that need no more keep to this one.
PIPE_WIDTH = 80

#: Longer texts are folded on a terminal; so is a longer word, as a user model's name.
FOLDED_WIDTH = 18

#: Widths of text columns where it is tight; a table that fills is drawn with these.
NARROW_WIDTHS = (FOLDED_WIDTH, 15, 12)

#: Widths of text columns from which the first that fits is taken; None folds nothing.
TEXT_WIDTHS = (None, 36, 32, 29, 26, 23, 20, *NARROW_WIDTHS)

#: Verdicts of rows and claims that a terminal shows in colour.
VERDICT_STYLES = {
    "ok": "green",
    "pass": "green",
    "SUPPORTED": "green",
    "failed": "bold red",
    "oom": "bold red",
    "regression": "bold red",
    "closure-failed": "red",
    "REFUTED": "red",
}

#: Columns whose text is taken into the next command.
COPIED = frozenset({"run"})


def rich_table(
    table: Table, names: Sequence[str], text_width: int | None = FOLDED_WIDTH
) -> RichTable:
    """Return the named columns for a terminal, each interval below its value.

    Texts longer than `text_width` columns continue on the next line, between words.
    """
    rows = shown_rows(table, names)
    made = RichTable(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for index, name in enumerate(names):
        numeric = is_numeric(table, name)
        # Where it is tight, texts give way; numbers and what is copied stay whole.
        whole = numeric or name in COPIED
        title = header(table, name)
        texts = [title, *(row[index].text for row in rows)]
        made.add_column(
            escape(title),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=whole,
            max_width=None if whole else _unbroken(texts, text_width),
        )
    for row in rows:
        made.add_row(*map(_terminal, row))
    return made


def _unbroken(texts: Sequence[str], text_width: int | None) -> int | None:
    """Return the width of a column, at least that of its words up to FOLDED_WIDTH."""
    if text_width is None:
        return None
    longest = max(cell_len(word) for text in texts for word in text.split() or [""])
    return max(text_width, min(longest, FOLDED_WIDTH))


def _terminal(value: Shown) -> Text:
    text = Text(value.text, style=VERDICT_STYLES.get(value.text, ""))
    if value.spread:
        text.append(f"\n{value.spread}", style="dim")
    return text


def width_of(console: Console, made: RenderableType) -> Measurement:
    """Return the least columns a table takes, and those it takes unfolded."""
    unlimited = console.options.update(width=10_000)
    return Measurement.get(console, unlimited, made)


def fits(made: RenderableType, console: Console) -> bool:
    """Return whether a table needs no more columns than the terminal has."""
    return width_of(console, made).maximum <= console.width


def blocks(table: Table, console: Console, names: Sequence[str]) -> list[list[str]]:
    """Split columns into blocks that fit the terminal.

    Each begins with what tells the rows apart, or with the first column where that
    leaves no room for another one.
    """
    for leading in (_telling_apart(table, names), [*names[:1]]):
        found = [leading]
        for name in names[len(leading) :]:
            longer = [*found[-1], name]
            if found[-1] is leading or fits(rich_table(table, longer), console):
                found[-1] = longer
            else:
                found.append([*leading, name])
        if all(fits(rich_table(table, each), console) for each in found):
            break
    return found


def _telling_apart(table: Table, names: Sequence[str]) -> list[str]:
    """Return the fewest leading text columns in which no two rows are the same."""
    texts = list(takewhile(lambda name: not is_numeric(table, name), names))
    for count in range(1, len(texts) + 1):
        different = {
            tuple(str(row[name]) for name in texts[:count]) for row in table.rows
        }
        if len(different) == len(table.rows):
            return texts[:count]
    return [*names[:1]]


def _made(table: Table, console: Console, names: Sequence[str]) -> list[RichTable]:
    """Return the table folded as little as the terminal allows, or in blocks."""
    if not console.is_terminal:
        return [rich_table(table, names, None)]
    if made := widest(table, console, names):
        return [made]
    return [
        widest(table, console, each) or rich_table(table, each, TEXT_WIDTHS[-1])
        for each in blocks(table, console, names)
    ]


def widest(
    table: Table,
    console: Console,
    names: Sequence[str],
    widths: Sequence[int | None] = TEXT_WIDTHS,
) -> RichTable | None:
    """Return the columns with texts as wide as fits; None where no width does."""
    tried = (rich_table(table, names, width) for width in widths)
    return next((made for made in tried if fits(made, console)), None)


def terminal_renderables(
    table: Table, console: Console, *, wide: bool = False
) -> list[RenderableType]:
    """Return title, table and notes, in blocks where a terminal is too narrow."""
    names = columns_shown(table, wide=wide)
    made = _made(table, console, names)
    return [
        Text(printable(table.title), style="bold"),
        "",
        *(part for block in made for part in (block, "")),
        *(Text(printable(note), style="dim") for note in table.notes),
        *([""] if table.notes else []),
    ]


def print_table(table: Table, console: Console, *, wide: bool = False) -> None:
    """Print a table and its notes, as wide as it must be where a line has no end.

    On a terminal that is too narrow for two columns the lines are broken, not cut.
    """
    parts = terminal_renderables(table, console, wide=wide)
    before = console.width
    if console.is_terminal:
        made = [part for part in parts if isinstance(part, RichTable)]
        least = [width_of(console, part).maximum for part in made]
        console.width = max([before, *least])
    else:
        widths = [width_of(console, p).maximum for p in parts if not isinstance(p, str)]
        console.width = max(PIPE_WIDTH, *widths)
    try:
        console.print(*parts, sep="\n", soft_wrap=False)
    finally:
        console.width = before
