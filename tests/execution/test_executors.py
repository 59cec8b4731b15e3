"""Executors: every cell's records arrive, and no failure takes another cell along."""

import builtins
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from resnet_bench.errors import ResnetBenchError, UsageError
from resnet_bench.execution import choice
from resnet_bench.execution.base import (
    Ended,
    Event,
    Executor,
    Job,
    Place,
    Recorded,
    Schedule,
    Started,
    Task,
    describe_failure,
)
from resnet_bench.execution.choice import make_executor
from resnet_bench.execution.processes import (
    ProcessExecutor,
    describe_exit,
)
from tests.faults.programs import wait_for
from tests.toys.toy import TOY
from tests.toys.toy.spec import Config, ToyCell


@pytest.mark.parametrize("length", [95, 140, 250])
def test_a_folder_too_long_for_sockets_is_named_or_not_used(
    length: int, tmp_path: Path
) -> None:
    folder = tmp_path / ("x" * (length - len(str(tmp_path)) - 1))
    folder.mkdir()
    code = "from resnet_bench.execution.processes import *; ProcessExecutor().warm(())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    named = f"UsageError: TMPDIR {folder}: expected a folder with a shorter name"
    # From 3.14 on Python takes /tmp instead.
    works = done.returncode == 0 and not done.stderr
    assert works or named in done.stderr


def test_what_an_ended_child_left_behind_is_removed_without_a_word() -> None:
    left = (
        "import multiprocessing, os; "
        "lock = multiprocessing.get_context('spawn').Lock(); os._exit(0)"
    )
    code = f"""if __name__ == "__main__":
        from resnet_bench.execution.processes import *
        executor = ProcessExecutor()
        executor.warm(())
        try:
            executor.call(exec, {left!r})
        except ResnetBenchError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "the child exited with code 0" in done.stdout
    assert done.stderr == ""


def test_without_ray_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without_ray(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return real(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "resnet_bench.execution.ray", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(UsageError, match="pip install ray"):
        make_executor("ray")


def test_a_missing_package_that_is_no_extra_is_no_usage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(choice.EXECUTORS, "broken", "absent_package.module:Name")
    with pytest.raises(ModuleNotFoundError):
        make_executor("broken")


@pytest.fixture(scope="module", autouse=True)
def torch_is_imported_once() -> None:
    ProcessExecutor().warm(TOY.preload)


@pytest.fixture(params=["inline", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made = make_executor(request.param)
    yield made
    made.close()


def test_a_child_finds_the_variables_of_whoever_started_the_command() -> None:
    assert ProcessExecutor().call(os.getenv, "GLIBC_TUNABLES") == os.environ.get(
        "GLIBC_TUNABLES"
    )


def job(*behaviours: str, schedule: Schedule = "once", workers: int = 1) -> Job:
    cells = [
        ToyCell(behaviour=behaviour, index=index, size=3)
        for index, behaviour in enumerate(behaviours)
    ]
    return Job(
        run=TOY.run,
        schedule=schedule,
        tasks=tuple(Task(cell) for cell in cells),
        workers=workers,
        memory_bytes=150.0,
    )


def ends(events: list[Event]) -> dict[str, Ended]:
    return {event.key: event for event in events if isinstance(event, Ended)}


def values(events: list[Event], key: str) -> list[float]:
    return [
        event.content["value"]
        for event in events
        if isinstance(event, Recorded) and event.key == key
    ]


@pytest.mark.parametrize("schedule", ["once", "rounds"])
def test_every_record_of_every_cell_arrives(
    executor: Executor, schedule: Schedule
) -> None:
    task = job("count", "count", schedule=schedule, workers=2)
    events = list(executor.run(task))
    for index, made in enumerate(task.tasks):
        key = made.cell.key
        assert values(events, key) == [index + step for step in range(3)]
        assert ends(events)[key].status == "ok"
    assert sum(isinstance(event, Started) for event in events) == 2


@pytest.mark.parametrize("schedule", ["once", "rounds"])
def test_a_failing_cell_leaves_the_others_alone(
    executor: Executor, schedule: Schedule
) -> None:
    task = job("fail", "count", schedule=schedule)
    ended = ends(list(executor.run(task)))
    failed = ended[task.tasks[0].cell.key]
    assert failed.status == "failed"
    assert failed.error == "ValueError: the toy broke"
    assert "Traceback" in (failed.detail or "")
    assert ended[task.tasks[1].cell.key].status == "ok"


def test_a_cell_whose_need_failed_is_not_run(executor: Executor) -> None:
    task = job("fail", "dependent")
    events = list(executor.run(task))
    dependent = task.tasks[1].cell
    assert dependent.needs == (task.tasks[0].cell.key,)
    assert "which failed" in (ends(events)[dependent.key].error or "")
    assert values(events, dependent.key) == []


@pytest.mark.parametrize(
    ("behaviour", "message", "again"),
    [
        ("die", "SIGKILL (out of memory", [True, False]),
        ("leave", "exited with code 7", [False]),
    ],
)
@pytest.mark.parametrize("schedule", ["once", "rounds"])
def test_a_child_that_dies_is_a_failed_cell(
    behaviour: str, message: str, again: list[bool], schedule: Schedule
) -> None:
    executor = make_executor("processes")
    task = job(behaviour, "count", schedule=schedule)
    events = list(executor.run(task))
    dead, other = (made.cell.key for made in task.tasks)
    tries = [each for each in events if isinstance(each, Ended) and each.key == dead]
    assert [each.again for each in tries] == again
    assert message in (ends(events)[dead].error or "")
    assert ends(events)[other].status == "ok"


def test_rounds_interleave_the_living_cells() -> None:
    task = job("count", "count", schedule="rounds")
    events = list(make_executor("processes").run(task))
    order = [event.key for event in events if isinstance(event, Recorded)]
    first, second = (made.cell.key for made in task.tasks)
    assert order[:2] == [first, second]
    assert {*order[2:4]} == {first, second}


def test_a_child_ends_with_its_last_record_and_not_with_its_next_visit() -> None:
    executor = ProcessExecutor()
    events = executor.run(job("last", schedule="rounds"))
    assert [type(next(events)) for _ in range(2)] == [Started, Recorded]
    (attempt,) = executor._living.values()
    attempt.child.process.join(10)
    assert attempt.child.process.exitcode == 0
    (end,) = events
    assert isinstance(end, Ended)
    assert end.status == "ok"


def test_cells_that_do_not_fit_in_memory_together_run_in_groups() -> None:
    task = job("large", "large", "count", schedule="rounds")
    events = list(make_executor("processes").run(task))
    groups = [event.group for event in events if isinstance(event, Started)]
    assert groups == [0, 1, 1]
    assert ends(events)[task.tasks[1].cell.key].group == 1


def test_what_a_cell_takes_in_passing_must_fit_beside_what_others_hold() -> None:
    task = job("large", "passing", "passing", "large", schedule="rounds")
    events = list(make_executor("processes").run(task))
    groups = [event.group for event in events if isinstance(event, Started)]
    assert groups == [0, 0, 0, 1]


def test_calls_run_where_cells_run(executor: Executor) -> None:
    config = Config(size=3)
    assert executor.call(TOY.prepare, config) == config
    assert (
        executor.call(
            TOY.estimate, config, TOY.expand(Config(behaviours=("count", "count")))
        )
        == 3.0
    )


def test_an_error_for_people_passes_through_a_call(executor: Executor) -> None:
    with pytest.raises(UsageError, match="something possible"):
        executor.call(TOY.prepare, Config(behaviours=("impossible",)))


def test_an_unforeseen_error_in_a_called_child_is_named() -> None:
    with pytest.raises(ResnetBenchError, match="KeyError"):
        make_executor("processes").call(TOY.prepare, Config(behaviours=("broken",)))


def test_closing_ends_children_that_still_run(tmp_path: Path) -> None:
    executor = ProcessExecutor()
    events = executor.run(job(f"forever:{tmp_path / 'pid'}", workers=2))
    assert isinstance(next(events), Started)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    executor.close()
    wait_for(lambda: not psutil.pid_exists(child))


def test_exits_are_described() -> None:
    assert "fork server was killed (out of memory" in describe_exit(255)
    assert "without an error message" in describe_exit(None)
    assert "SIGTERM" in describe_exit(-15)
    assert "killed by 99" in describe_exit(-99)


def test_failures_are_one_line() -> None:
    assert describe_failure(UsageError("a\nb")) == "a b"
    assert describe_failure(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Place(ray_address="auto"), "--ray-address auto: expected only with"),
        (Place(cpus_per_cell=2), "--cpus-per-cell 2: expected only with"),
    ],
)
def test_the_options_of_a_cluster_need_a_cluster(place: Place, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_executor("processes", place)


def test_a_child_sees_the_gpus_that_its_parent_sees_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A fork server was started before, with what was visible then.
    executor = ProcessExecutor()
    for gpus in ("1", "0,2"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        assert executor.call(os.getenv, "CUDA_VISIBLE_DEVICES") == gpus
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert executor.call(os.getenv, "CUDA_VISIBLE_DEVICES") is None


class TwoVisits:
    """Has every cell visited twice; it knows the cells that it was asked about."""

    def __init__(self) -> None:
        self._heard: dict[str, int] = {}

    def next(self, living: Sequence[str]) -> str | None:
        for key in living:
            self._heard.setdefault(key, 0)
        return next((key for key in living if self._heard[key] < 2), None)

    def hear(self, event: Event) -> None:
        if isinstance(event, Recorded):
            self._heard[event.key] += 1


def test_cells_end_when_they_were_visited_enough(executor: Executor) -> None:
    cells = [ToyCell(behaviour="count", index=i, size=9) for i in range(2)]
    tasks = tuple(Task(cell) for cell in cells)
    events = list(executor.run(Job(TOY.run, "rounds", tasks, visits=TwoVisits())))
    recorded = Counter(e.key for e in events if isinstance(e, Recorded))
    assert recorded == {cell.key: 2 for cell in cells}
    assert {e.status for e in events if isinstance(e, Ended)} == {"ok"}
