"""What a list says of stored runs: one line each, without reading their records."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from resnet_bench.errors import InputOutputError
from resnet_bench.present.machines import machine_title
from resnet_bench.present.tables import Table
from resnet_bench.store.checking import naming
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_outline

DAMAGED = "damaged"
NARROW = ("run", "when", "status", "cells", "command")


@dataclass(frozen=True)
class ListedRun:
    """A stored run in one line; most fields of a damaged one are unknown."""

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
    command: str | None = None
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
    """Return a run in one line; raises InputOutputError for odd content."""
    with naming(run):
        return ListedRun(
            run=run.id,
            experiment=run.experiment,
            status=run.status,
            when=started_at(run.id),
            machine=machine_title(run.environment, run.device),
            cells=f"{len(run.cells) - len(run.failed)}/{len(run.grid)}",
            failed=len(run.failed),
            records=len(run.records),
            machine_key=run.machine_key,
            commit=run.header.get("commit"),
            command=run.command.removeprefix("resnet-bench "),
        )


def list_of_runs(results: Path, experiment: str | None = None) -> list[ListedRun]:
    """Return every run (of one experiment), oldest first, damaged ones included.

    Records are not checked against their types, as those who show them do.
    """
    rows = []
    for folder in run_folders(results, experiment):
        try:
            rows.append(listed(read_outline(folder)))
        except InputOutputError as error:
            name, parent = folder.name, folder.parent.name
            when = started_at(name)
            rows.append(ListedRun(name, parent, DAMAGED, when, problem=str(error)))
    return rows


def listing_table(rows: Sequence[ListedRun]) -> Table:
    """Return the runs as a table."""
    frame = pd.DataFrame([asdict(row) for row in rows], dtype=object)
    return Table(
        name="runs",
        title=f"{len(rows)} run{'s' if len(rows) != 1 else ''}",
        frame=frame,
        narrow=NARROW,
        headers={"when": "when (UTC)", "cells": "done"},
    )
