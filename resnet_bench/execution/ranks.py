"""Processes, one per GPU, that share each cell: under torchrun or `--gpus N`."""

import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnet_bench.errors import ExitCode, ResnetBenchError, UsageError
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
from resnet_bench.interrupts import STOPPING, Stopping, meaning_of

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig

#: How often a rank looks whether what started it still lives, in seconds.
LOOK_SECONDS = 1.0

#: How long a follower gives rank 0 to say what is wrong, in seconds: while it may
#: still import what it needs, and after the two ran cells together.
REFUSING_SECONDS = 15.0
FAILING_SECONDS = 3.0

#: Ends that concern all ranks at once, with nothing to wait for.
AT_ONCE = (ExitCode.OK, ExitCode.INTERRUPTED, ExitCode.TERMINATED)

#: What rank 0 tells the others besides jobs.
DESCRIBE, LEAVE = "describe", "leave"


def rank_of(environment: Mapping[str, str]) -> int | None:
    """Return the rank that the environment gives this process; None when alone.

    Raises UsageError for a variable that is no number.
    """
    if _number(environment, "WORLD_SIZE", 1) < 2 or "RANK" not in environment:
        return None
    return _number(environment, "RANK", 0)


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name, str(default))
    if not (value.isascii() and value.isdigit()):
        accepted = "a whole number, as torchrun sets it"
        raise UsageError.for_option(name, repr(value), accepted)
    return int(value)


def settle() -> None:
    """Prepare a process that is a rank: before torch is imported, once.

    It sees one GPU, so that `cuda` and `cuda:0` mean its own; all but rank 0 are
    silent; and it ends with what started it.
    """
    rank = rank_of(os.environ)
    if rank is None:
        return
    local = _number(os.environ, "LOCAL_RANK", 0)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else []
    mine = devices[local] if local < len(devices) else str(local)
    os.environ["CUDA_VISIBLE_DEVICES"] = mine if visible != "" else ""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if rank > 0:
        # What befalls a follower alone is said by `follow`.
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def let_rank_0_speak(code: int, seconds: float = REFUSING_SECONDS) -> None:
    """Delay a follower that ends with an error code.

    Torch ends all ranks as soon as one fails. A follower prints nothing, and could
    otherwise end rank 0 before it has printed the error.
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
        self,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
        patience: float | None = None,
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
        """Carry out rank 0's requests until the last."""
        while (order := self._ranks.share(None)) != LEAVE:
            if order == DESCRIBE:
                self._described()
            else:
                for _ in self._run(order):
                    pass
        self._leave()
        return ExitCode.OK

    def close(self) -> None:
        """Release the other ranks, even in the middle of a cell."""
        if self._in_step:
            self._in_step = False
            self._ranks.share(LEAVE)
            self._leave()

    def _leave(self) -> None:
        from resnet_bench.engine.ranks import leave

        leave()


def follow() -> ExitCode:
    """Run as a rank other than 0 until rank 0 releases it.

    A signal ends it at once: closing the run file is rank 0's affair.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    try:
        return RankedExecutor().follow()
    except (ResnetBenchError, RuntimeError) as error:
        told = f"error: rank {rank_of(os.environ)}: {describe_failure(error)}\n"
        os.write(2, told.encode())
        let_rank_0_speak(ExitCode.INTERNAL, FAILING_SECONDS)
        # Nothing is to be tidied up with ranks that are no longer in step.
        os._exit(ExitCode.INTERNAL)


#: How long ranks may take to end after they were asked to, in seconds.
LEAVE_SECONDS = 10

#: How a rank's process ends that was told to: with our code, or before it hears.
TOLD_TO_END = (ExitCode.TERMINATED, -signal.SIGTERM)


def launch(count: int, command: Sequence[str]) -> ExitCode:
    """Run `command` as `count` ranks of this machine and return rank 0's exit code.

    torch starts the ranks, each in a session of its own, and ends all of them when
    one ends badly. Raises ResnetBenchError that names a rank which died,
    KeyboardInterrupt and Terminated after the ranks were ended.
    """
    # Torch logs every signal that it hands on, and of every address without a name.
    logging.disable()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    stopping = Stopping(lambda number: SignalException("", signal.Signals(number)))
    with stopping.installed():
        try:
            elastic_launch(_one_machine(count), command[0])(*command[1:])
        except SignalException as stopped:
            raise meaning_of(stopped.sigval) from None
        except ChildFailedError as error:
            codes = {rank: one.exitcode for rank, one in error.failures.items()}
            return _verdict(codes)
    return ExitCode.OK


def _one_machine(count: int) -> "LaunchConfig":
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        # The ranks' output goes where this process's goes, nothing is kept.
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        # `launch` hears signals itself: torch would be interrupted by a second one.
        signals_to_handle="",
        shutdown_timeout=LEAVE_SECONDS,
    )


def _verdict(codes: Mapping[int, int]) -> ExitCode:
    """Return rank 0's exit code if it chose one; else say which rank died how.

    Torch ends the ranks that live on with SIGTERM: theirs is not the cause. Nor is an
    error of rank 0 when a signal killed another: rank 0 lost its connection to it.
    """
    causes = {rank: code for rank, code in codes.items() if code not in TOLD_TO_END}
    if causes.get(0) == ExitCode.INTERNAL:
        killed = {rank: code for rank, code in causes.items() if code < 0}
        causes = killed or causes
    rank, code = min((causes or codes).items())
    if rank == 0 and code in set(ExitCode):
        return ExitCode(code)
    raise ResnetBenchError(f"rank {rank} died ({how_it_ended(code)})")


def how_it_ended(code: int) -> str:
    """Return an exit code in words, a signal by its name."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def this_command(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs this tool with these arguments."""
    return [sys.executable, "-m", "resnet_bench", *arguments]
