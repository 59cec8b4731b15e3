"""The toy experiment's measuring side."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.toys.toy.spec import Config, ToyCell, ToySample, refuse


def prepare(config: Config) -> Config:
    if "impossible" in config.behaviours:
        refuse("--behaviours impossible: expected something possible")
    if "broken" in config.behaviours:
        raise KeyError("broken")
    return config


def estimate(config: Config, cells: list[ToyCell]) -> float:
    return 1.5 * len(cells)


def run(cell: ToyCell, ranks: Any) -> Iterator[ToySample]:
    for step in range(cell.size):
        if cell.behaviour == "fail" and step == 1:
            raise ValueError("the toy\nbroke")
        if cell.behaviour == "die" and step == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if cell.behaviour == "leave" and step == 1:
            os._exit(7)
        if cell.behaviour == "sleep":
            time.sleep(0.05)
        if cell.behaviour.startswith("forever:"):
            Path(cell.behaviour.removeprefix("forever:")).write_text(str(os.getpid()))
            while True:
                time.sleep(0.01)
        yield ToySample(step=step, value=float(cell.index + step))
