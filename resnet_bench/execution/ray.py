"""Cells as tasks of a Ray cluster; no shared disk is assumed.

On its node a task runs the cell as the process executor does, in a child of its
own, and streams the events back: a record is kept as soon as it is made.
"""

import hashlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import ray
from ray._private import services
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from resnet_bench.errors import ResnetBenchError, UsageError
from resnet_bench.execution.base import (
    Arguments,
    Ended,
    Event,
    Job,
    Place,
    Result,
    Started,
    Task,
    describe_failure,
    machine_environment,
    name_of,
    next_try,
    run_once,
)
from resnet_bench.execution.processes import ProcessExecutor, set_variables
from resnet_bench.options import check

# Ray reads them when it starts: nothing is reported to anybody, no advice is printed.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

PACKAGE_FOLDER = Path(__file__).resolve().parent.parent

#: How often a cell is tried whose child, worker or node dies.
TRIES = 3

#: How long to wait for an answer at a cluster's address.
KNOCK_SECONDS = 5.0

#: The client's opening and an empty frame of settings, which every server that speaks
#: HTTP/2, as gRPC does, answers with a frame of type 4 (RFC 9113, 3.4 and 6.5).
OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS_FRAME = 4

#: Variables that the command hands on, unset ones included: they change times, and
#: Ray sets some of them for its workers.
VARIABLES = ("GLIBC_TUNABLES", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")


@cache
def source_digest(folder: Path = PACKAGE_FOLDER) -> str:
    """Return twelve hexadecimal digits that depend on every source file."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def located(address: str | None, resolve: Callable[[str], str | None]) -> str:
    """Return the address for Ray; without one, Ray starts locally.

    `auto` is resolved by Ray's own function, `resolve`, so that the address can be
    tried first: Ray would wait for a cluster that is gone. Raises ConnectionError where
    none runs.
    """
    if address is None:
        return "local"
    if address != "auto":
        return address
    return os.environ.get("RAY_ADDRESS") or resolve(address) or address


def knock(address: str) -> None:
    """Raise OSError where no Ray answers: Ray itself would wait for minutes.

    Behind TLS only the connection is tried. Raises ValueError for what is no address.
    """
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isascii() and port.isdigit()):
        raise ValueError("expected auto or HOST:PORT")
    with socket.create_connection((host, int(port)), KNOCK_SECONDS) as door:
        if os.environ.get("RAY_USE_TLS", "0") == "0":
            door.sendall(OPENING)
            with door.makefile("rb") as answers:
                answer = answers.read(4)
            if answer[3:] != bytes([SETTINGS_FRAME]):
                raise OSError("another program than Ray answers there")


@contextmanager
def own_handlers() -> Iterator[None]:
    """Keep our meaning of SIGTERM: Ray installs one of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class Setting:
    """The settings that a worker's children share with the command's.

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
    environment = _executor(setting).call(machine_environment)
    return {"environment": environment, "source": source_digest()}


def call_here(
    setting: Setting, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> Any:
    """Return what the function returns, or the error meant for a person."""
    try:
        return _executor(setting).call(function, *arguments)
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
    """Raise UsageError if a node's package differs from the command's."""
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
        """Count attempts made on the node itself as tries too."""
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
    isolates = False

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

    def call(
        self,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
        patience: float | None = None,
    ) -> Result:
        """Call the function on a node that cells may run on.

        Raises ResnetBenchError when it cannot be carried out there.
        """
        gpus = min(1.0, _most("GPU"))
        # Workers that load now are those to take.
        ray.wait(list(self._descriptions.values()), num_returns=len(self._descriptions))
        remote = _call.options(num_cpus=1, num_gpus=gpus)
        try:
            answer = ray.get(remote.remote(self._setting, function, arguments))
        except RayError as error:
            raise ResnetBenchError(
                f"{name_of(function)}: {describe_loss(error)}"
            ) from error
        if isinstance(answer, ResnetBenchError):
            raise answer
        result: Result = answer
        return result

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
        """Wait for events of one task."""
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
    """Return a node's name in run files."""
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
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"--ray-address {address}: no Ray cluster can be reached there ({reason})"
        ) from error
    return True


def describe_loss(error: Exception) -> str:
    """Return why Ray gave up a task; `error` has a `cause` if its code raised it.

    Raises a UsageError that was the cause: no other node would do better.
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, UsageError):
        raise cause
    if isinstance(cause, Exception):
        return f"its Ray task failed ({describe_failure(cause)})"
    return f"its Ray worker or node died ({type(error).__name__})"
