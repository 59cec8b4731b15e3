"""Carrying out an experiment: run files, resuming, and being stopped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.commands.run import (
    Plan,
    RunRequest,
    Session,
    make_plan,
    run_cells,
    shortened_paths,
)
from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.execution.base import (
    Arguments,
    Event,
    Job,
    Recorded,
    Result,
    machine_environment,
)
from resnet_bench.execution.inline import InlineExecutor
from resnet_bench.experiments import base as contract
from resnet_bench.interrupts import Terminated
from resnet_bench.options import option
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.store.folders import run_folders
from resnet_bench.store.format import portable
from resnet_bench.store.reading import Run, read_run
from resnet_bench.store.recording import Recorder, go_on, start
from resnet_bench.store.writing import RunWriter
from tests.toys.toy import TOY, Toy
from tests.toys.toy.spec import Config

ENVIRONMENT: dict[str, Any] = {
    "machine_key": "m",
    "git": {"commit": "0123456789", "dirty": False},
}


class Other(Toy):
    name = "other"


class ToyExecutor(InlineExecutor):
    """Runs inline, and knows no machine but the one above."""

    def call(
        self,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
        patience: float | None = None,
    ) -> Result:
        if function is machine_environment:
            return ENVIRONMENT  # type: ignore[return-value]
        return super().call(function, *arguments)


def plan(*behaviours: str, size: int = 2) -> Plan:
    config = Config(behaviours=behaviours or ("count",), size=size)
    return make_plan(TOY, config, ToyExecutor(), note=print)


def open_new(made: Plan, folder: Path) -> Recorder:
    return start(made.beginning, folder, ["toy"])


def open_again(made: Plan, folder: Path) -> Recorder:
    return go_on(made.beginning, folder)


def carried_out(
    made: Plan, folder: Path, listener: Callable[[Event], None] = lambda event: None
) -> Run:
    opened = open_new(made, folder)
    with opened:
        run_cells(made, opened, ToyExecutor(), 1, listener)
    return read_run(opened.folder)


def test_a_run_file_says_what_was_asked_and_where(tmp_path: Path) -> None:
    run = carried_out(plan("count", "count"), tmp_path)
    assert run.status == "complete"
    assert run.experiment == "toy"
    assert run.config["size"] == 2
    assert run.header["commit"] == "0123456789"
    assert run.header["argv"] == ["toy"]
    assert run.folder == tmp_path / "toy" / run.id
    assert [row["value"] for row in run.rows("toy_sample")] == [0.0, 1.0, 1.0, 2.0]


def test_a_failed_cell_is_kept_as_failed(tmp_path: Path) -> None:
    run = carried_out(plan("fail", "count"), tmp_path)
    assert [end.error for end in run.failed.values()] == ["ValueError: the toy broke"]
    assert run.status == "complete"
    assert len(run.rows("toy_sample")) == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Terminated])
def test_a_stopped_run_is_partial_and_can_be_resumed(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    made = plan("count", "count", "count")
    heard = []

    def listener(event: Event) -> None:
        heard.append(event)
        if len([item for item in heard if isinstance(item, Recorded)]) == 3:
            raise stop

    opened = open_new(made, tmp_path)
    with pytest.raises(stop), opened:
        run_cells(made, opened, ToyExecutor(), 1, listener)
    partial = read_run(opened.folder)
    assert partial.status == "partial"
    assert len(partial.cells) == 1
    again = open_again(made, opened.folder)
    assert [task.cell.key for task in made.tasks_left(again)] == partial.missing
    with again:
        run_cells(made, again, ToyExecutor(), 1, lambda event: None)
    whole = read_run(opened.folder)
    undisturbed = carried_out(made, tmp_path)
    assert whole.status == "complete"
    assert values_by_cell(whole) == values_by_cell(undisturbed)
    assert len(again.live.rows("toy_sample")) == 6


def values_by_cell(run: Run) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in run.rows("toy_sample"):
        found.setdefault(row["cell"], []).append(row["value"])
    return found


def test_resuming_with_other_options_is_refused(tmp_path: Path) -> None:
    run = carried_out(plan("count"), tmp_path)
    with pytest.raises(UsageError, match="had size 2, now it is 5"):
        open_again(plan("count", size=5), run.folder)
    # The lock was given back.
    open_again(plan("count"), run.folder).close()


def test_resuming_a_run_of_another_experiment_is_refused(tmp_path: Path) -> None:
    run = carried_out(plan("count"), tmp_path)
    made = plan("count")
    other = Other()
    stranger = Plan(other, made.config, made.cells, made.environment)
    with pytest.raises(UsageError, match="is a run of toy"):
        open_again(stranger, run.folder)


def test_resuming_a_run_with_another_grid_is_refused(tmp_path: Path) -> None:
    made = plan("count", "count")
    run = carried_out(made, tmp_path)
    fewer = Plan(TOY, made.config, made.cells[:1], made.environment)
    with pytest.raises(UsageError, match="other cells"):
        open_again(fewer, run.folder)


def test_what_the_disk_refuses_ends_the_run_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise InputOutputError("cannot write: No space left on device")

    monkeypatch.setattr(RunWriter, "record", refuse)
    with pytest.raises(InputOutputError):
        carried_out(plan("count"), tmp_path)
    monkeypatch.setattr(RunWriter, "end", refuse)
    with pytest.raises(InputOutputError):
        carried_out(plan("count"), tmp_path)
    assert {read_run(place).status for place in run_folders(tmp_path)} == {"partial"}


def test_an_empty_grid_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "expand", lambda *_: [])
    with pytest.raises(UsageError, match="nothing to run"):
        plan("count")


def test_absolute_paths_do_not_travel(tmp_path: Path) -> None:
    inside = str(tmp_path / "data")
    told = {"a": [inside, "/somewhere/else/x.pt"], "b": "relative", "c": 3}
    assert portable(told, tmp_path) == {
        "a": ["data", "x.pt"],
        "b": "relative",
        "c": 3,
    }


def test_paths_behind_their_kind_travel_no_further_than_their_name(
    tmp_path: Path,
) -> None:
    typed = ["file:/home/someone/net.pth", "--weights=file:/home/someone/net.pth"]
    assert portable(typed) == ["file:net.pth", "--weights=file:net.pth"]
    assert portable("https://host/net.pth") == "https://host/net.pth"


def test_only_paths_outside_the_working_folder_are_shortened() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Places:
        near: Path = option(Path("data"), help="Near.")
        far: Path = option(Path("/elsewhere/data"), help="Far.")
        none: Path | None = option(None, help="None.")
        behind: str = option("file:/elsewhere/net.pth", help="Behind its kind.")
        name: str = option("imagenet:V1", help="No path.")

    assert shortened_paths(Places()) == {
        "far": "/elsewhere/data",
        "behind": "file:/elsewhere/net.pth",
    }


def test_living_cells_share_what_the_container_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets: list[float] = []

    class Noting(ToyExecutor):
        def run(self, job: Job) -> Iterator[Event]:
            budgets.append(job.memory_bytes)
            return super().run(job)

    monkeypatch.setattr(contract, "bytes_left", lambda: 1000)
    made = plan("count")
    opened = open_new(made, tmp_path)
    with opened:
        run_cells(made, opened, Noting(), 1, lambda event: None)
    assert budgets == [800]


def session() -> Session:
    return Session(TOY, RunRequest(), Output(DisplayOptions()), [])


@pytest.mark.parametrize(
    ("device", "executor", "seconds"),
    [("cpu", "processes", 3.0), ("cuda:0", "processes", 6.0), ("cuda:0", "ray", 3.0)],
)
def test_cells_on_one_gpu_take_turns_in_the_estimate(
    device: str, executor: str, seconds: float
) -> None:
    made = plan("count", "count", "count", "count")
    made = replace(made, config=replace(made.config, device=device))
    asked = RunRequest(jobs=2, executor=executor)
    own = Session(TOY, asked, Output(DisplayOptions()), [])
    assert own._expected_seconds(made, made.cells, ToyExecutor()) == seconds


def test_an_error_that_cells_share_is_said_once_with_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = plan("fail", "fail", "fail")
    session()._run(made, open_new(made, tmp_path), ToyExecutor())
    said = capsys.readouterr().err
    assert said.count("warning: ") == 2
    assert "warning: 3 cells: " in said


def test_load_is_told_before_times_are_taken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    session()._warn_of_load(replace(plan(), environment={"load": 2.0}))
    assert "load 2.00 over the last minute" in capsys.readouterr().err
