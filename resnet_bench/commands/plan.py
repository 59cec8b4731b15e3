"""Config, cells, executor, run file: how an experiment is carried out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_bench.engine.cpu import bytes_left
from resnet_bench.errors import UsageError
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
from resnet_bench.options import option_fields
from resnet_bench.records import Cell, to_json
from resnet_bench.store.format import portable
from resnet_bench.store.reading import Run, read_run
from resnet_bench.store.recording import Beginning, Recorder, refuse_a_different

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
    def beginning(self) -> Beginning:
        """What the run file begins with."""
        git = self.environment.get("git") or {}
        several = {"ranks": self.ranks} if self.ranks > 1 else {}
        return Beginning(
            experiment=self.experiment.name,
            config={**to_json(self.config), **several},
            cells={cell.key: cell.parameters for cell in self.cells},
            environment=self.environment,
            commit=git.get("commit"),
            dirty=git.get("dirty"),
            one_machine=self.experiment.schedule == "rounds",
            nodes=self.nodes,
        )

    def tasks_left(self, recorder: Recorder) -> tuple[Task, ...]:
        """Return what is still to be run: cells that are not committed, or failed."""
        return tuple(
            Task(cell, attempt=recorder.next_attempt(cell.key))
            for cell in self.cells
            if not recorder.holds(cell.key)
        )


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


def complete_run(plan: Plan, folder: Path) -> Run | None:
    """Return the run in `folder` if nothing of the plan is left to do in it.

    Raises UsageError when its experiment or config differs.
    """
    run = read_run(folder)
    refuse_a_different(plan.beginning, run)
    done = run.status == "complete" and not run.failed and not run.missing
    return run if done else None


def run_cells(
    plan: Plan,
    recorder: Recorder,
    executor: Executor,
    workers: int,
    listener: Callable[[Event], None],
) -> None:
    """Run what is left and keep every result; the listener hears each event."""
    job = Job(
        run=plan.experiment.run,
        schedule=plan.experiment.schedule,
        tasks=plan.tasks_left(recorder),
        workers=workers,
        visits=plan.experiment.visits(plan.config, plan.cells),
        memory_bytes=MEMORY_SHARE * bytes_left(),
    )
    try:
        for event in executor.run(job):
            _keep(event, recorder)
            listener(event)
    finally:
        executor.close()


def _keep(event: Event, recorder: Recorder) -> None:
    if isinstance(event, Recorded):
        recorder.record(event.key, event.attempt, event.content)
    elif isinstance(event, Ended):
        details = {
            "seconds": event.seconds,
            "error": event.error,
            "group": event.group,
            **({"node": event.node} if event.node else {}),
        }
        recorder.commit(event.key, event.attempt, event.status, **details)
