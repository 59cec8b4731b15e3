"""`resnet-bench list`: the stored runs, one line each."""

import datetime as dt
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from resnet_bench.commands.readers import ListConfig
from resnet_bench.errors import ExitCode, InputOutputError
from resnet_bench.output import Output
from resnet_bench.present.machine import machine_title
from resnet_bench.present.tables import Table
from resnet_bench.present.terminal import print_table
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_run

DAMAGED = "damaged"
# A run id begins with the time: a column for it would not fit 80 characters.
NARROW = ("run", "experiment", "status", "machine", "cells")


@dataclass(frozen=True)
class ListedRun:
    """A stored run in one line; of a damaged one little is known."""

    run: str
    experiment: str
    status: str
    when: str | None
    machine: str | None = None
    cells: str | None = None
    failed: int | None = None
    records: int | None = None
    machine_key: str | None = None
    commit: str | None = None
    problem: str | None = None


def started_at(run_id: str) -> str | None:
    """Return the UTC time that a run id begins with, to the minute."""
    stamp = run_id.partition("_")[0]
    try:
        moment = dt.datetime.strptime(stamp, "%Y%m%dT%H%M%S%z")
    except ValueError:
        return None
    return f"{moment:%Y-%m-%d %H:%M}"


def listed(run: Run) -> ListedRun:
    """Return a run in one line."""
    device = str(run.config.get("device") or "cpu")
    return ListedRun(
        run=run.id,
        experiment=run.experiment,
        status=run.status,
        when=started_at(run.id),
        machine=machine_title(run.environment, device),
        cells=f"{len(run.cells) - len(run.failed)}/{len(run.grid)}",
        failed=len(run.failed),
        records=len(run.records),
        machine_key=run.machine_key,
        commit=run.header.get("commit"),
    )


def list_of_runs(results: Path) -> list[ListedRun]:
    """Return every run below `results`, oldest first, damaged ones included."""
    rows = []
    for folder in run_folders(results):
        try:
            rows.append(listed(read_run(folder)))
        except InputOutputError as error:
            name, parent = folder.name, folder.parent.name
            when = started_at(name)
            rows.append(ListedRun(name, parent, DAMAGED, when, problem=str(error)))
    return rows


def list_runs(config: ListConfig, output: Output) -> ExitCode:
    """Carry out `list`; damaged runs are named in warnings and do not stop it."""
    rows = list_of_runs(config.results)
    if config.json:
        output.write(json.dumps({"runs": [asdict(row) for row in rows]}))
        return ExitCode.OK
    if not rows:
        output.say(
            f"no runs in {config.results} yet: 'resnet-bench speed' makes the first"
        )
        return ExitCode.OK
    print_table(listing_table(rows), output.console(), wide=config.wide)
    for row in rows:
        if row.problem:
            output.warn(row.problem)
    return ExitCode.OK


def listing_table(rows: list[ListedRun]) -> Table:
    """Return the runs as a table."""
    frame = pd.DataFrame([asdict(row) for row in rows], dtype=object)
    return Table(
        name="runs",
        title=f"{len(rows)} run{'s' if len(rows) != 1 else ''}",
        frame=frame,
        narrow=NARROW,
        headers={"when": "when (UTC)", "cells": "done"},
    )
