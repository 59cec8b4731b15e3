"""The executors, one row each; each is imported only when chosen."""

import importlib
import os

from resnet_bench.errors import UsageError
from resnet_bench.execution.base import HERE, Executor, Place
from resnet_bench.execution.ranks import RankedExecutor, rank_of

#: Name on the command line -> class, as module:name.
EXECUTORS = {
    "processes": "resnet_bench.execution.processes:ProcessExecutor",
    "inline": "resnet_bench.execution.inline:InlineExecutor",
    "ray": "resnet_bench.execution.ray:RayExecutor",
}

#: Executors that need a package of their own name, which is not in the core.
EXTRAS = ("ray",)


def make_executor(name: str, place: Place = HERE) -> Executor:
    """Return the executor of that name, ready to be called.

    A process that is one of several ranks runs cells with the others, wherever it
    was told to. Raises UsageError when a package is missing that it needs, and for
    a cluster's options without a cluster.
    """
    for option, value in vars(place).items():
        if name != "ray" and value is not None:
            flag = f"--{option.replace('_', '-')}"
            raise UsageError.for_option(flag, value, "only with --executor ray")
    if rank_of(os.environ) is not None:
        accepted = "inline or processes under torchrun"
        if name not in ("inline", "processes"):
            raise UsageError.for_option("--executor", name, accepted)
        return RankedExecutor(place)
    module, _, class_name = EXECUTORS[name].partition(":")
    try:
        executor_class = getattr(importlib.import_module(module), class_name)
    except ModuleNotFoundError as error:
        if name not in EXTRAS or error.name != name:
            raise
        raise UsageError(
            f"--executor {name}: {name} is not installed: pip install {name}"
        ) from error
    executor: Executor = executor_class(place)
    return executor
