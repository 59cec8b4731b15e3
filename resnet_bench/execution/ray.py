"""Cells as tasks of a Ray cluster; no shared disk is assumed.

On its node a task runs the cell as the process executor does, in a child of its
own, and streams the events back: a record is kept as soon as it is made.
"""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

# Before the import: nothing is reported to anybody, and no advice is printed.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray._private import services
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from resnet_bench.errors import ResnetBenchError, UsageError
from resnet_bench.execution.base import describe_failure, describe_loss
from resnet_bench.execution.events import (
    Ended,
    Event,
    Job,
    Place,
    Started,
    Task,
    next_try,
)
from resnet_bench.execution.ray_address import knock, located, own_handlers
from resnet_bench.execution.ray_node import (
    Setting,
    call_here,
    describe_node,
    refuse_another_version,
    run_here,
    setting_here,
)
from resnet_bench.execution.scheduling import run_once
from resnet_bench.execution.source import source_digest
from resnet_bench.options import check

#: How often a cell is tried whose child, worker or node dies.
TRIES = 3

_describe = ray.remote(describe_node)
_call = ray.remote(call_here)


@ray.remote
def _run(setting: Setting, job: Job) -> Iterator[Event]:
    node = short(ray.get_runtime_context().get_node_id())
    yield from run_here(setting, job, node)


class _Remote:
    """A job under way on some node, and which of its cells have not ended."""

    def __init__(self, setting: Setting, job: Job, resources: dict[str, float]) -> None:
        self.begin = time.perf_counter()
        self.open = {task.cell.key: task for task in job.tasks}
        #: The cells to try again, which died with worker or node.
        self.again: list[Task] = []
        remote = _run.options(num_returns="streaming", max_retries=0, **resources)
        self.stream: Any = remote.remote(setting, job)

    def news(self) -> list[Event]:
        """Wait for the next event; for the ends of all that died with the node.

        Raises UsageError for a node that does not hold this version.
        """
        try:
            event: Event = ray.get(next(self.stream))
        except (RayError, StopIteration) as error:
            return self._given_up(error)
        if isinstance(event, Started):
            self._note_attempt(event)
        elif isinstance(event, Ended) and not event.again:
            del self.open[event.key]
        return [event]

    def _note_attempt(self, started: Started) -> None:
        """Attempts that were made on the node itself are tries too."""
        task = self.open[started.key]
        more = started.attempt - task.attempt
        self.open[started.key] = Task(
            task.cell, started.attempt, tries=task.tries + more
        )

    def _given_up(self, error: Exception) -> list[Event]:
        seconds, why = time.perf_counter() - self.begin, describe_loss(error)
        tasks = list(self.open.values())
        self.open.clear()
        worth = [task for task in tasks if task.tries < TRIES]
        self.again = [next_try(task) for task in worth]
        return [
            Ended(
                task.cell.key, task.attempt, "failed", seconds, why, again=task in worth
            )
            for task in tasks
        ]


class RayExecutor:
    """Runs cells on a Ray cluster, or on a Ray of its own on this machine.

    Raises UsageError when the cluster cannot be reached or its nodes hold another
    version of this package.
    """

    ranks = 1

    def __init__(self, place: Place) -> None:
        self._place = place
        self._living: list[_Remote] = []
        self._setting = setting_here(())
        self._descriptions: dict[str, Any] = {}
        self._connected = _connect(place.ray_address)

    def warm(self, modules: tuple[str, ...]) -> None:
        """Ask all nodes at once to load what cells import, and to describe themselves.

        Ray gives the node's next task without a GPU to the worker that did so.
        """
        self._setting = setting_here(modules)
        self._descriptions = {
            node["NodeID"]: _describe.options(
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(
                    node["NodeID"], soft=False
                ),
            ).remote(self._setting)
            for node in _alive()
        }

    def nodes(self) -> dict[str, Any]:
        """Return the environment of every node, by the beginning of its Ray id."""
        if not self._descriptions:
            self.warm(self._setting.modules)
        answers = {
            short(name): _description(short(name), promised)
            for name, promised in self._descriptions.items()
        }
        return {name: answer for name, answer in answers.items() if answer}

    def call(self, module: str, function: str, *arguments: Any) -> Any:
        """Call the function on a node that cells may run on.

        Raises ResnetBenchError when it cannot be carried out there.
        """
        gpus = min(1.0, _most("GPU"))
        # Workers that load now are those to take.
        ray.wait(list(self._descriptions.values()), num_returns=len(self._descriptions))
        remote = _call.options(num_cpus=1, num_gpus=gpus)
        try:
            answer = ray.get(remote.remote(self._setting, module, function, arguments))
        except RayError as error:
            raise ResnetBenchError(
                f"{module}.{function}: {describe_loss(error)}"
            ) from error
        if isinstance(answer, ResnetBenchError):
            raise answer
        return answer

    def run(self, job: Job) -> Iterator[Event]:
        """Run the job's cells: each as a task, or all as one if they are timed."""
        job = replace(job, tries=TRIES)
        try:
            if job.schedule == "rounds":
                yield from self._together(job)
            else:
                yield from run_once(job, self)
        finally:
            self.close_tasks()

    def start(self, job: Job, task: Task) -> tuple[Event, ...]:
        """Submit a cell as a task, which tells itself when it starts."""
        self._submit(replace(job, tasks=(task,)))
        return ()

    def news(self) -> list[Event]:
        """Wait for news of one task."""
        streams = {remote.stream: remote for remote in self._living}
        (spoken,), _ = ray.wait(list(streams), num_returns=1, fetch_local=False)
        remote = streams[spoken]
        events = remote.news()
        if any(isinstance(event, Ended) for event in events):
            self._living.remove(remote)
        return events

    def _together(self, job: Job) -> Iterator[Event]:
        """Timed cells share one machine, and nothing shares it with them."""
        tasks = job.tasks
        while tasks:
            remote = self._submit(replace(job, tasks=tasks))
            while remote.open:
                yield from remote.news()
            self._living.remove(remote)
            tasks = tuple(remote.again)

    def _submit(self, job: Job) -> _Remote:
        remote = _Remote(self._setting, job, self._resources(job))
        self._living.append(remote)
        return remote

    def _resources(self, job: Job) -> dict[str, float]:
        """Return what Ray must keep free for a job; raises UsageError if it cannot."""
        cell = job.tasks[0].cell
        on_gpu = str(getattr(cell, "device", "cpu")).startswith("cuda")
        whole = job.schedule == "rounds" and not on_gpu
        threads = float(getattr(cell, "threads", None) or 1)
        cpus = self._place.cpus_per_cell or threads
        gpus = self._place.gpus_per_cell
        if gpus is None:
            gpus = 1.0 if on_gpu else 0.0
        if on_gpu and job.schedule == "rounds":
            check(gpus >= 1, "--gpus-per-cell", gpus, "whole GPUs, because it is timed")
        wanted = {"CPU": _most("CPU") if whole else cpus, "GPU": gpus}
        for kind, amount in wanted.items():
            if amount > _most(kind):
                raise UsageError(
                    f"--executor ray: a cell needs {amount:g} {kind}, the largest node "
                    f"has {_most(kind):g}"
                )
        return {"num_cpus": wanted["CPU"], "num_gpus": wanted["GPU"]}

    def close_tasks(self) -> None:
        """End what still runs; children of a worker end with it."""
        living, self._living = self._living, []
        for remote in living:
            ray.cancel(remote.stream, force=True)

    def close(self) -> None:
        """End what still runs and leave the cluster."""
        if self._connected and ray.is_initialized():
            self.close_tasks()
            ray.shutdown()
        self._connected = False


def _description(node: str, promised: Any) -> dict[str, Any] | None:
    """Wait for a node's environment; None when it died meanwhile.

    Raises UsageError when it does not hold the version that runs here.
    """
    try:
        answer: dict[str, Any] = ray.get(promised)
    except RayTaskError as error:
        raise UsageError(
            f"--executor ray: node {node} cannot run resnet-bench: "
            f"{describe_failure(error.cause)}: install the same one on every node"
        ) from error
    except RayError:
        return None
    refuse_another_version(node, answer["source"], source_digest())
    environment: dict[str, Any] = answer["environment"]
    return environment


def short(node_id: str) -> str:
    """Return how run files call a node."""
    return node_id[:12]


def _alive() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()
    return [node for node in nodes if node["Alive"]]


def _most(kind: str) -> float:
    """Return how much of a resource the largest node has."""
    return max((node["Resources"].get(kind, 0.0) for node in _alive()), default=0.0)


def _connect(address: str | None) -> bool:
    """Join a cluster, or start one here; returns whether this process joined."""
    if ray.is_initialized():
        return False
    try:
        # Not public: where it is gone, Ray itself may wait for a cluster that left.
        resolve = getattr(services, "canonicalize_bootstrap_address", str)
        where = located(address, resolve)
        knock(where)
        with own_handlers():
            ray.init(
                address=where,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"--ray-address {address}: no Ray cluster to be reached there ({reason})"
        ) from error
    return True
