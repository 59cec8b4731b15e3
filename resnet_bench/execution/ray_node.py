"""What runs on a node of a cluster, inside one of its workers."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution.events import Ended, Event, Job
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.execution.source import source_digest


def describe_node() -> dict[str, Any]:
    """Return this node's environment and the digest of its copy of this package."""
    from resnet_bench.engine.environment import collect

    return {"environment": collect(), "source": source_digest()}


def call_here(module: str, function: str, arguments: tuple[Any, ...]) -> Any:
    """Return what the function returns, or the error meant for a person."""
    executor = _executor(module)
    try:
        return executor.call(module, function, *arguments)
    except ResnetBenchError as error:
        return error
    finally:
        executor.close()


def run_here(job: Job, node: str) -> Iterator[Event]:
    """Run a job in children of this worker.

    Cells that are timed together are tried again here; one that is a task of its
    own may be tried again elsewhere.
    """
    for event in _executor(job.module).run(job):
        if not isinstance(event, Ended):
            yield event
            continue
        yield replace(event, node=node)
        if job.schedule == "once":
            return


def _executor(module: str) -> ProcessExecutor:
    """Return an executor whose children do not take Ray's worker for their main."""
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None):
        del main.__file__
    executor = ProcessExecutor()
    executor.warm((module,))
    return executor
