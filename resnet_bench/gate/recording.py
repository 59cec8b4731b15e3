"""The run file of a check: every pair is committed, so that none is lost."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from resnet_bench.errors import ResnetBenchError, UsageError
from resnet_bench.execution.base import machine_environment
from resnet_bench.execution.choice import make_executor
from resnet_bench.gate.records import Grid, Side
from resnet_bench.gate.spec import SubjectConfig
from resnet_bench.interrupts import Terminated
from resnet_bench.records import Cell, Record, to_json
from resnet_bench.store.folders import find_run, new_run_id
from resnet_bench.store.format import portable
from resnet_bench.store.reading import Run, read_run
from resnet_bench.store.writing import RunWriter, create_run, reopen_run

#: Options that may differ when a check is resumed: they change no measurement.
FREE_TO_CHANGE = frozenset(
    [
        "budget",
        "explain",
        "github_summary",
        "json",
        "junit",
        "markdown",
        "results",
        "resume",
        "strict",
    ]
)


@dataclass(frozen=True)
class Identity:
    """What makes two checks the same: kind, options, both trees' contents.

    The environment may still be being read; it is waited for when it is written.
    """

    experiment: str
    config: SubjectConfig
    trees: Mapping[Side, Mapping[str, str | None]]
    thresholds: Sequence[str]
    environment: Future[dict[str, Any]]

    @property
    def header(self) -> dict[str, Any]:
        """The part of the run file's first line that says so."""
        return {
            "experiment": self.experiment,
            "config": portable(to_json(self.config)),
            "trees": to_json(self.trees),
            "thresholds": list(self.thresholds),
        }


class Recording:
    """An open run file and the keys of the cells that it already holds."""

    def __init__(self, writer: RunWriter, finished: Iterable[str] = ()) -> None:
        self.folder = writer.folder
        self._writer = writer
        self._finished = set(finished)

    def holds(self, cell: Cell) -> bool:
        """Whether an earlier session finished the cell."""
        return cell.key in self._finished

    def keep(self, cell: Cell, records: Sequence[Record], seconds: float) -> None:
        """Write the cell's records and commit them; they are then never lost."""
        for record in records:
            content = {"type": record.type_name(), **to_json(record)}
            self._writer.record(cell.key, 1, content)
        self._writer.commit(cell.key, 1, "ok", seconds=seconds)
        self._finished.add(cell.key)

    def run(self) -> Run:
        """Return the run as committed so far."""
        return read_run(self.folder)

    def close(self) -> None:
        """Let go of the run file."""
        self._writer.__exit__(None, None, None)

    def end(self, status: str) -> None:
        """Close the account of this session."""
        self._writer.end(status)


def collect_environment() -> dict[str, Any]:
    """Return what the machine is, read in a child process, which imports PyTorch."""
    executor = make_executor("processes")
    try:
        found = executor.call(machine_environment)
    finally:
        executor.close()
    return found


def open_recording(identity: Identity, grid: Grid, seeds: int) -> Recording:
    """Start the run file of a check, or go on with the one it is to resume.

    Raises InputOutputError, and UsageError when another check is to be resumed.
    """
    if identity.config.resume:
        return reopened(identity, identity.config.resume)
    return started(identity, grid, seeds)


def started(identity: Identity, grid: Grid, seeds: int) -> Recording:
    """Start the run file of a new check; raises InputOutputError."""
    head = identity.trees["head"]
    run_id = new_run_id(head["commit"])
    header = {
        "run": run_id,
        **identity.header,
        "environment": identity.environment.result(),
        "commit": head["commit"],
        "dirty": head["content"] != head["committed"],
        "timed": [case.text for case in grid.timed],
        "cells": {
            cell.key: cell.parameters for cell in grid.cells(identity.config, seeds)
        },
        "argv": portable(sys.argv[1:]),
    }
    folder = identity.config.results / identity.experiment / run_id
    return Recording(create_run(folder, header))


def reopened(identity: Identity, name: str) -> Recording:
    """Go on with an interrupted check.

    Raises UsageError when its options or one of its trees differ.
    """
    folder = find_run(identity.config.results, name, identity.experiment)
    writer, run = reopen_run(folder)
    try:
        refuse_a_different(run, identity)
    except UsageError:
        writer.__exit__(None, None, None)
        raise
    writer.resume({})
    return Recording(writer, run.cells)


def refuse_a_different(run: Run, identity: Identity) -> None:
    """Raise UsageError unless the run was started with the same identity."""
    header = identity.header
    wanted: Mapping[str, Any] = header["config"]
    for name in sorted(wanted.keys() - FREE_TO_CHANGE):
        if run.config.get(name) != wanted[name]:
            raise UsageError(
                f"run {run.id} had {name.replace('_', '-')} {run.config.get(name)}, "
                f"now it is {wanted[name]}: resume with the same options"
            )
    for side, tree in header["trees"].items():
        if run.header["trees"][side]["content"] != tree["content"]:
            raise UsageError(
                f"run {run.id} measured another {side} tree: start a new check"
            )


@contextmanager
def kept(recording: Recording, say: Callable[[str], None]) -> Iterator[Recording]:
    """End the run file as what became of the block; the exception goes on."""
    try:
        yield recording
    except (KeyboardInterrupt, Terminated) as stop:
        recording.end("terminated" if isinstance(stop, Terminated) else "interrupted")
        name = recording.folder.name
        say(f"stopped; what is finished is kept. Go on with --resume {name}")
        raise
    except ResnetBenchError:
        recording.end("failed")
        raise
    else:
        recording.end("complete")
    finally:
        recording.close()
