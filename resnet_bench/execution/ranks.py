"""`--gpus N`: the ranks of one job on this machine, started without torchrun."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from resnet_bench.errors import ExitCode, ResnetBenchError
from resnet_bench.interrupts import Terminated

#: How long ranks may take to end by themselves after one of them has, and how long
#: after they were asked to, in seconds.
GRACE_SECONDS = 2.0
LEAVE_SECONDS = 10.0
LOOK_SECONDS = 0.1


def launch(count: int, command: Sequence[str]) -> ExitCode:
    """Run `command` as `count` ranks and return rank 0's exit code.

    When one rank ends badly the others are ended. Raises ResnetBenchError that
    names a rank which died while rank 0 did not say why.
    """
    port = _free_port()
    ranks = [_start(rank, count, port, command) for rank in range(count)]
    try:
        while any(rank.poll() is None for rank in ranks) and not _bad(ranks):
            time.sleep(LOOK_SECONDS)
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
            time.sleep(LOOK_SECONDS)
