"""`--gpus N`: the ranks of one job on this machine, started without torchrun."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from resnet_bench.errors import ExitCode, ResnetBenchError
from resnet_bench.execution.base import (
    HERE,
    Arguments,
    Ended,
    Event,
    Job,
    Place,
    Result,
    describe_failure,
    machine_environment,
)
from resnet_bench.execution.inline import InlineExecutor
from resnet_bench.interrupts import Terminated

#: How often a rank looks whether what started it still lives, in seconds.
LOOK_SECONDS = 1.0

#: How long a follower that refuses a command gives rank 0 to say why, in seconds.
PATIENCE_SECONDS = 15.0

#: Ends that concern all ranks at once, with nothing to wait for.
AT_ONCE = (ExitCode.OK, ExitCode.INTERRUPTED, ExitCode.TERMINATED)

#: What rank 0 tells the others besides jobs.
DESCRIBE, LEAVE = "describe", "leave"


def rank_of(environment: Mapping[str, str]) -> int | None:
    """Return the rank that the environment gives this process; None when alone."""
    if int(environment.get("WORLD_SIZE", "1")) < 2 or "RANK" not in environment:
        return None
    return int(environment["RANK"])


def settle() -> None:
    """Prepare a process that is a rank: before torch is imported, once.

    It sees one GPU, so that `cuda` and `cuda:0` mean its own; all but rank 0 are
    silent; and it ends with what started it.
    """
    rank = rank_of(os.environ)
    if rank is None:
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else []
    mine = devices[local] if local < len(devices) else str(local)
    os.environ["CUDA_VISIBLE_DEVICES"] = mine if visible != "" else ""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if rank > 0:
        # What befalls a follower alone is said by `follow`.
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def let_rank_0_speak(code: int, seconds: float = PATIENCE_SECONDS) -> None:
    """Hold a follower back that ends with an error code.

    torchrun ends all ranks as soon as one fails: a silent follower that is the faster
    one to refuse a command would end rank 0 before that has said what is wrong.
    """
    if code not in AT_ONCE and (rank_of(os.environ) or 0) > 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(seconds)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(ExitCode.INTERNAL)


class RankedExecutor:
    """Runs each cell on all ranks; rank 0 tells the others."""

    isolates = False

    def __init__(self, place: Place = HERE) -> None:
        from resnet_bench.engine.ranks import join

        self._ranks = join()
        self._inline = InlineExecutor(place, self._ranks)
        self._in_step = True

    @property
    def ranks(self) -> int:
        """How many ranks share a cell."""
        return self._ranks.world_size

    def warm(self, modules: tuple[str, ...]) -> None:
        """Modules are imported when they are first needed."""

    def call(
        self, function: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Result:
        """Call the function in rank 0."""
        return self._inline.call(function, *arguments)

    def nodes(self) -> dict[str, Any]:
        """Return the environments of the machines, if the ranks are on several."""
        self._ranks.share(DESCRIBE)
        return self._described()

    def _described(self) -> dict[str, Any]:
        found = self._ranks.gather(self._inline.call(machine_environment))
        machines = {str(each["host"]): each for each in found}
        return machines if len(machines) > 1 else {}

    def run(self, job: Job) -> Iterator[Event]:
        """Run the job's cells on all ranks, one after the other.

        Raises ResnetBenchError when a cell fails: the ranks are then no longer in
        step, and nothing after it could be believed.
        """
        self._ranks.share(job)
        self._in_step = False
        yield from self._run(job)
        self._in_step = True

    def _run(self, job: Job) -> Iterator[Event]:
        for event in self._inline.run(job):
            yield event
            if isinstance(event, Ended) and event.status != "ok":
                raise ResnetBenchError(
                    f"a cell failed, so the ranks stop: {event.error}"
                )

    def follow(self) -> ExitCode:
        """Do what rank 0 says until it has nothing more to say."""
        while (order := self._ranks.share(None)) != LEAVE:
            if order == DESCRIBE:
                self._described()
            else:
                for _ in self._run(order):
                    pass
        self._leave()
        return ExitCode.OK

    def close(self) -> None:
        """Let the others go; if they are in the midst of a cell, they notice."""
        if self._in_step:
            self._in_step = False
            self._ranks.share(LEAVE)
            self._leave()

    def _leave(self) -> None:
        from resnet_bench.engine.ranks import leave

        leave()


def follow() -> ExitCode:
    """Be a rank other than 0, until rank 0 lets it go.

    A signal ends it at once: closing the run file is rank 0's affair.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        return RankedExecutor().follow()
    except (ResnetBenchError, RuntimeError) as error:
        told = f"error: rank {rank_of(os.environ)}: {describe_failure(error)}\n"
        os.write(2, told.encode())
        # Nothing is to be tidied up with ranks that are no longer in step.
        os._exit(ExitCode.INTERNAL)


#: How long ranks may take to end by themselves after one of them has, and how long
#: after they were asked to, in seconds.
GRACE_SECONDS = 2.0
LEAVE_SECONDS = 10.0
POLL_SECONDS = 0.1


def launch(count: int, command: Sequence[str]) -> ExitCode:
    """Run `command` as `count` ranks and return rank 0's exit code.

    When one rank ends badly the others are ended. Raises ResnetBenchError that
    names a rank which died while rank 0 did not say why.
    """
    port = _free_port()
    ranks = [_start(rank, count, port, command) for rank in range(count)]
    try:
        while any(rank.poll() is None for rank in ranks) and not _bad(ranks):
            time.sleep(POLL_SECONDS)
    except (KeyboardInterrupt, Terminated):
        _end(ranks)
        raise
    culprit = _bad(ranks)
    _end(ranks)
    code = ranks[0].returncode
    if code > 0 and code in set(ExitCode):
        return ExitCode(code)
    if culprit:
        name, ended = ranks.index(culprit), culprit.returncode
        raise ResnetBenchError(f"rank {name} died ({how_it_ended(ended)})")
    return ExitCode.OK


def _start(
    rank: int, count: int, port: int, command: Sequence[str]
) -> subprocess.Popen[bytes]:
    place = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    return subprocess.Popen(command, env={**os.environ, **place})


def how_it_ended(code: int) -> str:
    """Return an exit code in words, a signal by its name."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def this_command(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs this tool with these arguments."""
    return [sys.executable, "-m", "resnet_bench", *arguments]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bad(ranks: Sequence[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes] | None:
    return next((rank for rank in ranks if rank.poll() not in (None, 0)), None)


def _end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait a little for all ranks to end, then terminate, then kill them."""
    for last_resort in (None, subprocess.Popen.terminate, subprocess.Popen.kill):
        for rank in ranks:
            if last_resort and rank.poll() is None:
                last_resort(rank)
        deadline = time.monotonic() + (LEAVE_SECONDS if last_resort else GRACE_SECONDS)
        while any(rank.poll() is None for rank in ranks):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
