"""The toy experiment's measuring side."""

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.toys.toy.spec import Config, LastToySample, ToyCell, ToySample, refuse


def prepare(config: Config) -> Config:
    if "impossible" in config.behaviours:
        refuse("--behaviours impossible: expected something possible")
    if "broken" in config.behaviours:
        raise KeyError("broken")
    return config


def rehearse(config: Config) -> None:
    if "unreachable" in config.behaviours:
        refuse("--behaviours unreachable: cannot be downloaded")


def run(cell: ToyCell, ranks: Any) -> Iterator[ToySample]:
    for step in range(cell.size):
        if step == 1:
            _come_to_grief(cell.behaviour)
        if cell.behaviour == "sleep":
            time.sleep(0.05)
        kind, _, marker = cell.behaviour.partition(":")
        if kind == "forever" or (kind == "rank-1-forever" and ranks.rank == 1):
            _stay_forever(Path(marker))
        if kind == "rank-1-forever":
            ranks.share(None)
        value = math.nan if cell.behaviour == "nan" else float(cell.index + step)
        sample = LastToySample if cell.behaviour == "last" else ToySample
        yield sample(step=step, value=value)


def _come_to_grief(behaviour: str) -> None:
    if behaviour == "fail":
        raise ValueError("the toy\nbroke")
    if behaviour == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour.startswith("die-once:"):
        _die_once(Path(behaviour.removeprefix("die-once:")))
    if behaviour == "kill-worker":
        _kill_worker()
    if behaviour == "leave":
        os._exit(7)
    if behaviour == "devour":
        _devour()


def _devour() -> None:
    """Take memory until somebody objects; pages count once they are written."""
    taken = []
    while True:
        taken.append(b"x" * 2**26)


def _stay_forever(marker: Path) -> None:
    marker.write_text(str(os.getpid()))
    while True:
        time.sleep(0.01)


def _kill_worker() -> None:
    """Kill the Ray worker of this child's fork server, and nothing else."""
    worker = psutil.Process().parents()[1]
    if worker.cmdline()[0].startswith("ray::"):
        worker.kill()
    time.sleep(60)


def _die_once(marker: Path) -> None:
    if not marker.exists():
        marker.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
