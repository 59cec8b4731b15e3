"""Children that die: the cell is tried again, others do not notice."""

import math
import os
import signal
from pathlib import Path

import pytest

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution import processes as children
from resnet_bench.execution.base import Ended, Job, Recorded, Schedule, Task
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.records import Cell
from tests.toys.toy import TOY
from tests.toys.toy.spec import ToyCell


@pytest.fixture(scope="module", autouse=True)
def torch_is_imported_once() -> None:
    ProcessExecutor().warm(TOY.preload)


def job(*cells: Cell, schedule: Schedule = "once", workers: int = 1) -> Job:
    return Job(TOY.run, schedule, tuple(Task(cell) for cell in cells), workers)


@pytest.mark.parametrize("schedule", ["once", "rounds"])
def test_a_cell_whose_child_was_killed_is_tried_again(
    tmp_path: Path, schedule: Schedule
) -> None:
    cell = ToyCell(behaviour=f"die-once:{tmp_path / 'died'}", index=0, size=3)
    other = ToyCell(behaviour="count", index=1, size=3)
    events = list(ProcessExecutor().run(job(cell, other, schedule=schedule)))
    ends = [event for event in events if isinstance(event, Ended)]
    mine = [end for end in ends if end.key == cell.key]
    assert [(end.attempt, end.status, end.again) for end in mine] == [
        (1, "failed", True),
        (2, "ok", False),
    ]
    values = [
        event.content["value"]
        for event in events
        if isinstance(event, Recorded) and event.key == cell.key and event.attempt == 2
    ]
    assert values == [0.0, 1.0, 2.0]


def test_a_cell_that_kills_its_child_every_time_is_given_up() -> None:
    cell = ToyCell(behaviour="die", index=0, size=3)
    events = ProcessExecutor().run(job(cell))
    ends = [event for event in events if isinstance(event, Ended)]
    assert [end.again for end in ends] == [True, False]
    assert "SIGKILL (out of memory is the usual cause)" in (ends[-1].error or "")


def test_a_killed_fork_server_is_started_again() -> None:
    from multiprocessing import forkserver

    executor = ProcessExecutor()
    cell = ToyCell(behaviour="count", index=0, size=1)
    assert len(list(executor.run(job(cell)))) == 3
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(server, signal.SIGKILL)
    ends = [e for e in executor.run(job(cell)) if isinstance(e, Ended)]
    assert ends[-1].status == "ok"


def test_a_child_that_cannot_be_started_is_a_clear_error() -> None:
    class Never:
        def start(self) -> None:
            raise EOFError

    with pytest.raises(ResnetBenchError, match="the fork server died"):
        children._start(Never())


def test_a_diverged_number_arrives_as_not_a_number() -> None:
    events = ProcessExecutor().run(job(ToyCell(behaviour="nan", index=0, size=1)))
    values = [e.content["value"] for e in events if isinstance(e, Recorded)]
    assert len(values) == 1
    assert math.isnan(values[0])
