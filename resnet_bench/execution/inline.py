"""Cells one after the other in this process: for torchrun ranks and for debugging."""

import importlib
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from resnet_bench.execution.base import describe_failure
from resnet_bench.execution.events import (
    HERE,
    Ended,
    Event,
    Job,
    Place,
    Recorded,
    Started,
    Task,
)
from resnet_bench.execution.scheduling import run_once
from resnet_bench.records import Record, to_json

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks


def record_content(record: Record) -> dict[str, Any]:
    """Return a record's fields with the name of its type."""
    return {"type": record.type_name(), **to_json(record)}


class InlineExecutor:
    """Runs cells here; without isolation, so timings share one process."""

    ranks = 1

    def __init__(self, place: Place = HERE, ranks: "Ranks | None" = None) -> None:
        self._ranks = ranks

    def warm(self, modules: tuple[str, ...]) -> None:
        """Modules are imported when they are first needed."""

    def call(self, module: str, function: str, *arguments: Any) -> Any:
        """Call the function in this process."""
        return getattr(importlib.import_module(module), function)(*arguments)

    def nodes(self) -> dict[str, Any]:
        """Cells run on this machine alone."""
        return {}

    def run(self, job: Job) -> Iterator[Event]:
        """Run each cell to its end, in grid order, needs first."""
        return run_once(replace(job, workers=1), self)

    def start(self, job: Job, task: Task) -> Iterator[Event]:
        """Run a cell from its beginning to its end."""
        from resnet_bench.engine.ranks import ALONE

        run = importlib.import_module(job.module).run
        return _attempt(task, run, self._ranks or ALONE)

    def news(self) -> tuple[Event, ...]:
        """Nothing runs on between cells."""
        return ()

    def close(self) -> None:
        """Nothing lives on between cells."""


def _attempt(task: Task, run: Any, ranks: Any) -> Iterator[Event]:
    key, attempt = task.cell.key, task.attempt
    yield Started(key, attempt)
    begin = time.perf_counter()
    error = detail = None
    try:
        for record in run(task.cell, ranks):
            yield Recorded(key, attempt, record_content(record))
    except Exception as problem:  # noqa: BLE001 - a cell's failure is a result
        error, detail = describe_failure(problem), traceback.format_exc()
    seconds = time.perf_counter() - begin
    yield Ended(
        key, attempt, "failed" if error else "ok", seconds, error, detail=detail
    )
