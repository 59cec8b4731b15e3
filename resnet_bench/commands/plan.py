"""Config, cells, executor, run file: how an experiment is carried out."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_bench.engine.cpu import bytes_left
from resnet_bench.errors import InputOutputError, ResnetBenchError, UsageError
from resnet_bench.execution.base import (
    Ended,
    Event,
    Executor,
    Job,
    Recorded,
    Task,
    machine_environment,
)
from resnet_bench.experiments.base import Experiment, Note
from resnet_bench.interrupts import Terminated
from resnet_bench.options import option_fields, readable
from resnet_bench.records import Cell, to_json
from resnet_bench.store.folders import new_run_id
from resnet_bench.store.format import SCHEMA_VERSION, portable
from resnet_bench.store.reading import Run, assemble, read_run
from resnet_bench.store.writing import RunWriter, create_run, reopen_run

#: Share of the memory left, of the machine or the container, that living cells may plan
#: to use together.
MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class Plan:
    """What will be run: the resolved config, its grid, and where."""

    experiment: Experiment[Any, Any]
    config: Any
    cells: tuple[Cell, ...]
    environment: dict[str, Any]
    #: The environments of a cluster's nodes.
    nodes: dict[str, Any] = field(default_factory=dict)
    #: How many processes share one cell.
    ranks: int = 1

    @property
    def header(self) -> dict[str, Any]:
        """What the first line of the run file says, but for its id and argv."""
        git = self.environment.get("git") or {}
        several = {"ranks": self.ranks} if self.ranks > 1 else {}
        return {
            "experiment": self.experiment.name,
            "config": {**portable(to_json(self.config)), **several},
            "environment": self.environment,
            **({"nodes": self.nodes} if self.nodes else {}),
            "commit": git.get("commit"),
            "dirty": git.get("dirty"),
            "cells": {cell.key: portable(cell.parameters) for cell in self.cells},
        }


def shortened_paths(config: Any) -> dict[str, Path]:
    """Return the path options that a run file does not keep as they were given."""
    values = {name: getattr(config, name) for name in option_fields(type(config))}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, Path) and portable(str(value)) != str(value)
    }


def unheard(_: str) -> None:
    """Tell nobody."""


def make_plan(
    experiment: Experiment[Any, Any],
    config: Any,
    executor: Executor,
    *,
    dry: bool = False,
    note: Note = unheard,
) -> Plan:
    """Resolve the config where cells will run, expand it, and note the environment.

    With `dry` nothing is tried out that takes long; `note` hears what is tried.

    Raises UsageError when the config asks for what that machine cannot do.
    """
    resolved = executor.call(experiment.prepare, config)
    if not dry:
        resolved = experiment.fitted(resolved, executor, note)
    environment = executor.call(machine_environment)
    cells = tuple(experiment.expand(resolved))
    if not cells:
        raise UsageError(f"{experiment.name}: these options leave nothing to run")
    return Plan(
        experiment, resolved, cells, environment, executor.nodes(), executor.ranks
    )


@dataclass
class OpenRun:
    """A run file open for writing, and what is left to run.

    `lines` holds what the file says so far, for live views.
    """

    writer: RunWriter
    tasks: tuple[Task, ...]
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def live(self) -> Run:
        """The run as it stands, records of running cells included."""
        return assemble(self.writer.folder, self.lines, committed_only=False)


def open_new(plan: Plan, results: Path, argv: Sequence[str]) -> OpenRun:
    """Start a new run in `results`; raises InputOutputError."""
    run_id = _unused_run_id(plan, results)
    header = {"run": run_id, **plan.header, "argv": portable(list(argv))}
    writer = create_run(results / plan.experiment.name / run_id, header)
    line = {"kind": "run", "schema_version": SCHEMA_VERSION, **header}
    return OpenRun(writer, tuple(Task(cell) for cell in plan.cells), [line])


def _unused_run_id(plan: Plan, results: Path) -> str:
    """Several runs may start within a second of each other."""
    run_id = new_run_id(plan.header["commit"])
    while (results / plan.experiment.name / run_id).exists():
        run_id = new_run_id(plan.header["commit"])
    return run_id


def open_again(plan: Plan, folder: Path) -> OpenRun:
    """Go on with a run: what is not committed, or failed, is to be run.

    Raises UsageError when its experiment or config differs, or another process
    writes it.
    """
    writer, run = reopen_run(folder)
    try:
        _refuse_a_different(plan, run)
        writer.resume(plan.environment, plan.nodes)
    except ResnetBenchError:
        writer.close()
        raise
    tasks = tuple(
        Task(cell, attempt=run.attempts.get(cell.key, 0) + 1)
        for cell in plan.cells
        if (end := run.cells.get(cell.key)) is None or end.status != "ok"
    )
    return OpenRun(writer, tasks, _lines_of(run))


def complete_run(plan: Plan, folder: Path) -> Run | None:
    """Return the run in `folder` if nothing of the plan is left to do in it.

    Raises UsageError when its experiment or config differs.
    """
    run = read_run(folder)
    _refuse_a_different(plan, run)
    done = run.status == "complete" and not run.failed and not run.missing
    return run if done else None


def _lines_of(run: Run) -> list[dict[str, Any]]:
    ends = [
        {"kind": "cell", "cell": key, **to_json(end)} for key, end in run.cells.items()
    ]
    return [run.header, *({"kind": "record", **row} for row in run.records), *ends]


def _refuse_a_different(plan: Plan, run: Run) -> None:
    if run.experiment != plan.experiment.name:
        raise UsageError(f"run {run.id} is of experiment {run.experiment}")
    wanted = plan.header["config"]
    stored = readable(type(plan.config), run.config)
    for name in sorted(wanted.keys() | stored.keys()):
        if wanted.get(name) != stored.get(name):
            raise UsageError(
                f"run {run.id} had {name.replace('_', '-')} {stored.get(name)}, "
                f"now it is {wanted.get(name)}: resume with the same options"
            )
    _refuse_another_machine(plan, run)
    if set(run.grid) != {cell.key for cell in plan.cells}:
        raise UsageError(
            f"run {run.id} has another grid of cells than this version makes of the "
            "same options: start a new run"
        )


def _refuse_another_machine(plan: Plan, run: Run) -> None:
    """Times are set against each other within a run: they need one machine."""
    here = plan.environment.get("machine_key")
    if plan.experiment.schedule == "rounds" and run.machine_key != here:
        raise UsageError(
            f"run {run.id} was timed on another machine ({run.machine_key}, this one "
            f"is {here}): start a new run here"
        )


def run_cells(
    plan: Plan,
    opened: OpenRun,
    executor: Executor,
    workers: int,
    listener: Callable[[Event], None],
) -> None:
    """Run the open tasks and keep every result; the listener hears each event.

    On Ctrl-C or SIGTERM the run file is ended as partial and the exception goes on.
    """
    job = Job(
        run=plan.experiment.run,
        schedule=plan.experiment.schedule,
        tasks=opened.tasks,
        workers=workers,
        seed=getattr(plan.config, "seed", 0),
        memory_bytes=MEMORY_SHARE * bytes_left(),
    )
    try:
        for event in executor.run(job):
            _keep(event, opened)
            listener(event)
    except KeyboardInterrupt:
        _end_if_possible(opened.writer, "interrupted")
        raise
    except Terminated:
        _end_if_possible(opened.writer, "terminated")
        raise
    except ResnetBenchError as error:
        _end_if_possible(opened.writer, "failed", error=str(error))
        raise
    finally:
        executor.close()
    opened.writer.end("complete")


def _end_if_possible(writer: RunWriter, status: str, **details: str) -> None:
    """Say why the run is partial, unless the disk is what refused."""
    with contextlib.suppress(InputOutputError):
        writer.end(status, **details)


def _keep(event: Event, opened: OpenRun) -> None:
    if isinstance(event, Recorded):
        opened.writer.record(event.key, event.attempt, event.content)
        identity = {"cell": event.key, "attempt": event.attempt}
        opened.lines.append({"kind": "record", **identity, **event.content})
    elif isinstance(event, Ended):
        details = {
            "seconds": event.seconds,
            "error": event.error,
            "group": event.group,
            **({"node": event.node} if event.node else {}),
        }
        opened.writer.commit(event.key, event.attempt, event.status, **details)
        identity = {"cell": event.key, "attempt": event.attempt}
        line = {"kind": "cell", **identity, "status": event.status, **details}
        opened.lines.append(line)
