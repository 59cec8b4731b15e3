"""Printing a result: tables for people, JSON, and exports to files."""

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from resnet_bench.options import ExportOptions
from resnet_bench.output import STDOUT, Output
from resnet_bench.present.shown import Shown

if TYPE_CHECKING:
    from resnet_bench.present.tables import Table


def show(shown: Shown, options: ExportOptions, output: Output) -> None:
    """Print a run as asked, and write its exports.

    Raises InputOutputError when an export cannot be written.
    """
    if for_people(options):
        for notice in shown.notices:
            output.say(notice)
    content = finite(shown.json)
    present(content, shown.tables, options, output, shown.conclusion)


def for_people(options: ExportOptions) -> bool:
    """Whether tables are printed: neither JSON nor an export takes stdout."""
    return not options.json and STDOUT not in options.exports.values()


def present(
    content: dict[str, Any],
    tables: "Sequence[Table]",
    options: ExportOptions,
    output: Output,
    conclusion: Sequence[str] = (),
) -> None:
    """Print a result as JSON or as tables and conclusion, and write its exports.

    Raises InputOutputError when an export cannot be written.
    """
    from resnet_bench.present.tables import csv_text
    from resnet_bench.present.terminal import print_table

    if options.json:
        output.write(json.dumps(content, allow_nan=False))
    elif for_people(options):
        console = output.console()
        for table in tables:
            print_table(table, console, wide=options.wide)
        for sentence in conclusion:
            output.write(sentence)
    texts: dict[str, Callable[[], str]] = {
        "json": lambda: json.dumps(content, allow_nan=False) + "\n",
        "csv": lambda: csv_text(tables[0]) if tables else "",
        "markdown": lambda: markdown_text(tables, conclusion, wide=options.wide),
    }
    for name, path in options.exports.items():
        output.export(path, texts[name]())


def markdown_text(
    tables: "Sequence[Table]", conclusion: Sequence[str], *, wide: bool = False
) -> str:
    """Return tables, and what follows from them, as one Markdown text."""
    from resnet_bench.present.tables import escaped, markdown

    parts = [markdown(table, wide=wide) for table in tables]
    return "\n".join([*parts, *(f"{escaped(line)}\n" for line in conclusion)])


def finite(value: Any) -> Any:
    """Return `value` with null for the numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
