"""Giving a report to whoever asked: terminal, files, a workflow's summary."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_bench.errors import InputOutputError, NotComparableError
from resnet_bench.gate.spec import CheckConfig, CompareConfig
from resnet_bench.output import STDOUT, Output

if TYPE_CHECKING:
    from resnet_bench.gate.check_report import Report

#: GitHub names the file here that becomes the summary of a step.
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


def targets(config: CheckConfig | CompareConfig) -> dict[str, Path]:
    """Return the files asked for, by format."""
    asked = {"markdown": config.markdown, "junit": getattr(config, "junit", None)}
    return {name: path for name, path in asked.items() if path is not None}


def check_targets(config: CheckConfig | CompareConfig) -> None:
    """Raise InputOutputError for a file that cannot be written, before measuring."""
    for path in targets(config).values():
        folder = path.parent
        usable = path == STDOUT or (folder.is_dir() and os.access(folder, os.W_OK))
        if not usable or path.is_dir():
            raise InputOutputError(f"cannot write {path}: expected a writable folder")


def emit(report: "Report", config: CheckConfig | CompareConfig, output: Output) -> None:
    """Print the report and write what was asked for; raises InputOutputError."""
    if not config.json and STDOUT not in targets(config).values():
        _print(report, config, output)
    _export(report, config, output)


def emit_refusal(
    command: str,
    error: NotComparableError,
    config: CheckConfig | CompareConfig,
    output: Output,
) -> None:
    """Write a refusal for machines; a person gets the error itself, in one line."""
    from resnet_bench.gate.check_report import refusal

    _export(refusal(command, error), config, output)


def _export(
    report: "Report", config: CheckConfig | CompareConfig, output: Output
) -> None:
    from resnet_bench.gate.check_formats import FORMATS
    from resnet_bench.gate.check_report import report_json

    if config.json:
        output.write(json.dumps(report_json(report), allow_nan=False))
    for name, path in targets(config).items():
        output.export(path, FORMATS[name](report))
    if isinstance(config, CheckConfig) and config.github_summary:
        _tell_github(report, output)


def _print(
    report: "Report", config: CheckConfig | CompareConfig, output: Output
) -> None:
    from resnet_bench.gate.check_tables import tables_of
    from resnet_bench.present.terminal import print_table

    console = output.console()
    for table in tables_of(report):
        print_table(table, console, wide=False)
    for line in report.explanations if config.explain else report.troubles:
        output.write(line)
    for notice in report.notices:
        output.say(notice)
    output.write(report.summary)


def _tell_github(report: "Report", output: Output) -> None:
    from resnet_bench.gate.check_formats import annotations_of, markdown_of

    for line in annotations_of(report):
        # GitHub reads workflow commands from either stream; stdout is the result's.
        output.say(line)
    place = os.environ.get(SUMMARY_VARIABLE)
    if place is None:
        output.warn(f"--github-summary: {SUMMARY_VARIABLE} is not set")
        return
    try:
        with Path(place).open("a", encoding="utf-8") as summary:
            summary.write(markdown_of(report))
    except OSError as error:
        raise InputOutputError(f"cannot write {place}: {error.strerror}") from error
