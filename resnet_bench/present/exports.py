"""Printing a result: tables for people, JSON, and exports to files."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from resnet_bench.options import STDOUT, ExportOptions
from resnet_bench.output import Output
from resnet_bench.present.shown import Shown

#: Notes below the tables at the end of a run; -v prints all.
MAXIMUM_NOTES = 3


def show(shown: Shown, options: ExportOptions, output: Output) -> None:
    """Print a result as JSON or as tables, and write its exports.

    Raises InputOutputError when an export cannot be written.
    """
    if options.json:
        output.write(_json_text(shown))
    elif for_people(options):
        _print(shown, options, output)
    export(shown, options, output)


def conclude(shown: Shown, options: ExportOptions, output: Output) -> None:
    """Print what a run found, as `show` but on one screen unless -v is given."""
    if not for_people(options):
        show(shown, options, output)
        return
    brief = shown if output.display.verbose else _on_one_screen(shown)
    for sentence in brief.notices:
        output.say(sentence)
    for sentence in brief.headline:
        output.write(sentence)
    if brief.headline and brief.tables:
        output.write("")
    _print(replace(brief, notices=()), options, output)
    export(shown, options, output)


def _on_one_screen(shown: Shown) -> Shown:
    """Return a result without details and what its headline already says."""
    said = {*shown.headline, *shown.notices}
    left = MAXIMUM_NOTES
    tables = []
    for table in shown.tables:
        if not table.detail:
            notes = [note for note in table.notes if note not in said][:left]
            left -= len(notes)
            tables.append(replace(table, notes=notes))
    notices = [each for each in shown.notices if each not in shown.headline]
    return replace(shown, tables=tables, notices=notices)


def for_people(options: ExportOptions) -> bool:
    """Whether tables are printed: neither JSON nor an export takes stdout."""
    return not options.json and STDOUT not in options.exports.values()


def _print(shown: Shown, options: ExportOptions, output: Output) -> None:
    from resnet_bench.present.terminal import print_table

    for notice in shown.notices:
        output.say(notice)
    console = output.console()
    for table in shown.tables:
        legend = () if output.display.quiet else table.notes
        print_table(replace(table, notes=legend), console, wide=options.wide)
    for sentence in shown.conclusion:
        output.write(sentence)


def check_exports(options: ExportOptions, output: Output) -> None:
    """Raise InputOutputError for a file that cannot be written, before measuring."""
    for path in options.exports.values():
        output.check_export(path)


def export(shown: Shown, options: ExportOptions, output: Output) -> None:
    """Write a result's exports; raises InputOutputError."""
    from resnet_bench.present.tables import csv_text

    texts: dict[str, Callable[[], str]] = {
        "json": lambda: _json_text(shown) + "\n",
        "csv": lambda: csv_text(shown.tables[0]) if shown.tables else "",
        "markdown": lambda: markdown_text(shown, wide=options.wide),
    }
    for name, path in options.exports.items():
        if name in texts:
            output.export(path, texts[name]())


def _json_text(shown: Shown) -> str:
    return json.dumps(finite(shown.json), allow_nan=False)


def markdown_text(shown: Shown, *, wide: bool = False) -> str:
    """Return tables, and what follows from them, as one Markdown text."""
    from resnet_bench.present.tables import escaped, markdown

    parts = [markdown(table, wide=wide) for table in shown.tables]
    parts += [f"{escaped(sentence)}\n" for sentence in shown.conclusion]
    return "\n".join(parts)


def finite(value: Any) -> Any:
    """Return `value` with null for the numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
