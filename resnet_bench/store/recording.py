"""The recorder of a run: opens its file or reopens it, keeps results, ends it.

Experiments and the gate's `check` and `noise` record through it alike.
"""

import contextlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_bench.errors import InputOutputError, ResnetBenchError, UsageError
from resnet_bench.interrupts import Terminated
from resnet_bench.store.folders import new_run_id
from resnet_bench.store.format import SCHEMA_VERSION, portable
from resnet_bench.store.reading import Run, assemble
from resnet_bench.store.writing import RunWriter, create_run, reopen_run

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """The first line of a run file, without its id and argv.

    A run is resumed only with the same experiment, cells, contents and versions of
    its `trees`, config except the options in `free_to_change` and, where times within
    a run are compared (`one_machine`), on the same machine.
    `further` holds what else the line says; `nodes` the environments of a cluster.
    """

    experiment: str
    config: Values
    cells: Mapping[str, Values]
    environment: Values
    commit: str | None
    dirty: bool | None
    one_machine: bool
    nodes: Values = field(default_factory=dict)
    trees: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    further: Values = field(default_factory=dict)
    free_to_change: Set[str] = frozenset()

    @property
    def header(self) -> dict[str, Any]:
        """The line's content; paths of this machine are left out."""
        return {
            "experiment": self.experiment,
            "config": portable(dict(self.config)),
            "environment": self.environment,
            **({"nodes": self.nodes} if self.nodes else {}),
            **({"trees": self.trees} if self.trees else {}),
            "commit": self.commit,
            "dirty": self.dirty,
            **self.further,
            "cells": {key: portable(dict(row)) for key, row in self.cells.items()},
        }


class Recorder:
    """An open run file and what it holds; use as a context manager.

    Leaving the block records how it ended and closes the run file.
    """

    def __init__(
        self,
        writer: RunWriter,
        lines: list[dict[str, Any]],
        attempts: Mapping[str, int],
    ) -> None:
        self.folder = writer.folder
        self._writer = writer
        self._lines = lines
        self._attempts = attempts
        run = self.run()
        self._finished = run.cells.keys() - run.failed.keys()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        try:
            self._end(error)
        finally:
            self.close()

    def close(self) -> None:
        """Close the run file and release its lock, without an end line."""
        self._writer.close()

    def _end(self, error: BaseException | None) -> None:
        """Write how the session ended; after an error only where the disk allows."""
        if error is None:
            self._lines.append(self._writer.end("complete"))
        with contextlib.suppress(InputOutputError):
            if isinstance(error, KeyboardInterrupt):
                self._writer.end("interrupted")
            elif isinstance(error, Terminated):
                self._writer.end("terminated")
            elif isinstance(error, ResnetBenchError):
                self._writer.end("failed", error=str(error))

    def holds(self, key: str) -> bool:
        """Whether the results of a cell are committed."""
        return key in self._finished

    def next_attempt(self, key: str) -> int:
        """Return the number of the next attempt at a cell, from 1."""
        return self._attempts.get(key, 0) + 1

    def record(self, key: str, attempt: int, content: Values) -> None:
        """Keep one record of an attempt at a cell; it counts once committed."""
        self._lines.append(self._writer.record(key, attempt, content))

    def commit(self, key: str, attempt: int, status: str, **details: object) -> None:
        """End an attempt at a cell: its records now count if `status` is "ok"."""
        self._lines.append(self._writer.commit(key, attempt, status, **details))
        if status == "ok":
            self._finished.add(key)

    def run(self) -> Run:
        """Return the run as committed so far."""
        return assemble(self.folder, self._lines)

    @property
    def live(self) -> Run:
        """The run as it stands, records of running cells included."""
        return assemble(self.folder, self._lines, committed_only=False)

    def how_to_go_on(self, command: str) -> str:
        """Return the sentence shown after `command` was interrupted."""
        return (
            "Interrupted; finished cells are saved. Resume with: "
            f"{command} --resume {self.folder.name}"
        )


def start(beginning: Beginning, results: Path, argv: Sequence[str]) -> Recorder:
    """Start a new run in `results`; raises InputOutputError."""
    folder = results / beginning.experiment
    run_id = new_run_id(beginning.commit)
    while (folder / run_id).exists():  # several runs may start within a second
        run_id = new_run_id(beginning.commit)
    header = {"run": run_id, **beginning.header, "argv": portable(list(argv))}
    writer = create_run(folder / run_id, header)
    line = {"kind": "run", "schema_version": SCHEMA_VERSION, **header}
    return Recorder(writer, [line], {})


def go_on(beginning: Beginning, folder: Path) -> Recorder:
    """Resume a run.

    Raises UsageError when it began otherwise or another process writes it.
    """
    writer, run = reopen_run(folder)
    try:
        refuse_a_different(beginning, run)
        writer.resume(beginning.environment, beginning.nodes)
    except ResnetBenchError:
        writer.close()
        raise
    return Recorder(writer, _lines_of(run), run.attempts)


def _lines_of(run: Run) -> list[dict[str, Any]]:
    ends = [
        {"kind": "cell", "cell": key, **vars(end)} for key, end in run.cells.items()
    ]
    return [run.header, *({"kind": "record", **row} for row in run.records), *ends]


def refuse_a_different(beginning: Beginning, run: Run) -> None:
    """Raise UsageError, with what differs, unless the run began alike."""
    if run.experiment != beginning.experiment:
        raise UsageError(f"run {run.id} is a run of {run.experiment}")
    wanted = beginning.header["config"]
    stored = run.config
    for name in sorted((wanted.keys() | stored.keys()) - beginning.free_to_change):
        if wanted.get(name) != stored.get(name):
            raise UsageError(
                f"run {run.id} had {name.replace('_', '-')} {stored.get(name)}, "
                f"now it is {wanted.get(name)}: resume with the same options"
            )
    _refuse_another_tree(beginning, run)
    _refuse_another_machine(beginning, run)
    if run.grid.keys() != beginning.cells.keys():
        raise UsageError(
            f"run {run.id} has other cells than this version plans for the same "
            "options: start a new run"
        )


def _refuse_another_tree(beginning: Beginning, run: Run) -> None:
    for side, tree in beginning.trees.items():
        stored = run.header["trees"][side]
        for name, said in (("content", "tree"), ("versions", "environment")):
            if stored.get(name) != tree.get(name):
                raise UsageError(
                    f"run {run.id} measured another {side} {said}: start a new run"
                )


def _refuse_another_machine(beginning: Beginning, run: Run) -> None:
    here = beginning.environment.get("machine_key")
    if beginning.one_machine and run.machine_key != here:
        raise UsageError(
            f"run {run.id} was timed on another machine ({run.machine_key}, this one "
            f"is {here}): start a new run here"
        )
