"""What runs on a node of a cluster, inside one of its workers."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from resnet_bench.errors import ResnetBenchError, UsageError
from resnet_bench.execution.allocator import VARIABLE
from resnet_bench.execution.child import set_variables
from resnet_bench.execution.events import Ended, Event, Job
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.execution.source import source_digest

ENVIRONMENT = "resnet_bench.engine.machine"

#: Variables that the command hands on, unset ones included: they change times, and
#: Ray sets some of them for its workers.
VARIABLES = (VARIABLE, "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")


@dataclass(frozen=True)
class Setting:
    """What children of a worker have in common with those of the command.

    `modules` are imported before they are forked; None is a variable that is not set.
    """

    modules: tuple[str, ...]
    variables: dict[str, str | None]
    source: str


def setting_here(modules: tuple[str, ...]) -> Setting:
    """Return the setting of this process."""
    variables = {name: os.environ.get(name) for name in VARIABLES}
    return Setting(modules, variables, source_digest())


def describe_node(setting: Setting) -> dict[str, Any]:
    """Return the environment of this node's cells and the digest of its source."""
    environment = _executor(setting).call(ENVIRONMENT, "collect")
    return {"environment": environment, "source": source_digest()}


def call_here(
    setting: Setting, module: str, function: str, arguments: tuple[Any, ...]
) -> Any:
    """Return what the function returns, or the error meant for a person."""
    try:
        return _executor(setting).call(module, function, *arguments)
    except ResnetBenchError as error:
        return error


def run_here(setting: Setting, job: Job, node: str) -> Iterator[Event]:
    """Run a job in children of this worker.

    Cells that are timed together are tried again here; one that is a task of its
    own may be tried again elsewhere. Raises UsageError on a node, come later than
    the run, that holds another version.
    """
    refuse_another_version(node, source_digest(), setting.source)
    for event in _executor(setting).run(job):
        if not isinstance(event, Ended):
            yield event
            continue
        yield replace(event, node=node)
        if job.schedule == "once":
            return


def refuse_another_version(node: str, source: str, ours: str) -> None:
    """Raise UsageError where a node's package is not the one of the command."""
    if source != ours:
        raise UsageError(
            f"--executor ray: node {node} has another version of resnet-bench: "
            "install the same one on every node, then resume"
        )


def _executor(setting: Setting) -> ProcessExecutor:
    """Return an executor whose children do not take Ray's worker for their main."""
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None):
        del main.__file__
    set_variables(setting.variables)
    executor = ProcessExecutor()
    executor.warm(setting.modules)
    return executor
