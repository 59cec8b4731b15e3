"""The places to run, one row each; a back end is imported when it is chosen."""

import importlib

from resnet_bench.execution.events import Executor

#: Name on the command line -> class, as module:name.
EXECUTORS = {
    "processes": "resnet_bench.execution.processes:ProcessExecutor",
    "inline": "resnet_bench.execution.inline:InlineExecutor",
}


def make_executor(name: str) -> Executor:
    """Return the executor of that name, ready to be called."""
    module, _, class_name = EXECUTORS[name].partition(":")
    executor: Executor = getattr(importlib.import_module(module), class_name)()
    return executor
