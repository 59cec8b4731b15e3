"""Several ranks share each cell: one tool, whatever becomes of a rank."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_bench.commands.run import RunRequest
from resnet_bench.errors import ExitCode, ResnetBenchError, UsageError
from resnet_bench.execution import ranks as ranked
from resnet_bench.execution.base import Ended, Job, Recorded, Task
from resnet_bench.execution.choice import make_executor
from resnet_bench.execution.ranks import (
    RankedExecutor,
    _verdict,
    let_rank_0_speak,
    rank_of,
)
from tests.toys.toy import TOY
from tests.toys.toy.spec import Config, ToyCell


def test_a_process_is_a_rank_only_among_several() -> None:
    assert rank_of({}) is None
    assert rank_of({"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert rank_of({"RANK": "1", "WORLD_SIZE": "2"}) == 1


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "\u00b2"])
def test_a_variable_of_torchrun_that_is_no_number_is_refused(value: str) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        environment = {"WORLD_SIZE": "2", "RANK": "0", name: value}
        with pytest.raises(UsageError, match=f"{name} .*: expected a whole number"):
            rank_of(environment)


@pytest.mark.parametrize(
    ("rank", "code", "waits"),
    [
        ("1", ExitCode.USAGE, True),
        ("1", ExitCode.INTERNAL, True),
        ("1", ExitCode.OK, False),
        ("1", ExitCode.INTERRUPTED, False),
        ("0", ExitCode.USAGE, False),
    ],
)
def test_a_follower_that_refuses_a_command_lets_rank_0_speak_first(
    rank: str, code: ExitCode, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("resnet_bench.execution.ranks.time.sleep", waited.append)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        let_rank_0_speak(code)
        # What ends the job ends the waiting, too.
        assert waits == (signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(waited) == waits


@pytest.fixture
def joined_alone(monkeypatch: pytest.MonkeyPatch) -> RankedExecutor:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return RankedExecutor()


def job(*behaviours: str) -> Job:
    cells = [ToyCell(behaviour=b, index=i, size=2) for i, b in enumerate(behaviours)]
    return Job(TOY.run, "once", tuple(map(Task, cells)))


def test_one_rank_runs_cells_as_if_it_were_inline(joined_alone: RankedExecutor) -> None:
    joined_alone.warm(TOY.preload)
    assert joined_alone.ranks == 1
    assert joined_alone.nodes() == {}
    assert joined_alone.call(TOY.estimate, Config(), TOY.expand(Config())) == 1.5
    events = list(joined_alone.run(job("count", "count")))
    assert len([event for event in events if isinstance(event, Recorded)]) == 4
    joined_alone.close()


def test_a_failed_cell_stops_the_job_after_its_end_was_told(
    joined_alone: RankedExecutor,
) -> None:
    events: list[object] = []
    with pytest.raises(ResnetBenchError, match="the ranks stop: ValueError"):
        events.extend(joined_alone.run(job("fail", "count")))
    assert [event.status for event in events if isinstance(event, Ended)] == ["failed"]
    # Nobody is told to leave: nobody would listen.
    joined_alone.close()


def test_ranks_run_inline_and_not_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_bench.execution.choice.rank_of", lambda _: 0)
    assert isinstance(make_executor("processes"), RankedExecutor)
    with pytest.raises(UsageError, match="under torchrun"):
        make_executor("ray")


def test_fewer_gpus_than_one_are_refused() -> None:
    with pytest.raises(UsageError, match="--gpus 0"):
        RunRequest(gpus=0)


def test_a_rank_sees_one_gpu_and_followers_are_silent(tmp_path: Path) -> None:
    program = (
        "import os; from resnet_bench.execution.ranks import settle; settle(); "
        "print('said', flush=True); "
        "os.write(1, os.environ['CUDA_VISIBLE_DEVICES'].encode())"
    )
    said = {}
    for rank in ("0", "1"):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}
        visible = {"CUDA_VISIBLE_DEVICES": "4,7"}
        said[rank] = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **place, **visible},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert said == {"0": "said\n4", "1": "7"}


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ({0: 4}, ExitCode.INCOMPLETE),
        ({0: 2, 1: 143}, ExitCode.USAGE),
        ({0: 1, 1: 1}, ExitCode.INTERNAL),
        ({0: 4, 1: -9}, ExitCode.INCOMPLETE),
        ({0: 1, 1: -9}, r"rank 1 died \(SIGKILL"),
        ({0: 1, 1: -15, 2: -9}, r"rank 2 died \(SIGKILL"),
        ({0: 143, 1: -9}, r"rank 1 died \(SIGKILL"),
        ({0: -15, 1: 1}, r"rank 1 died \(exit code 1"),
        ({0: -11, 1: 1}, r"rank 0 died \(SIGSEGV"),
        ({0: 143, 1: 143}, ExitCode.TERMINATED),
    ],
)
def test_rank_0_decides_unless_another_died(
    codes: dict[int, int], told: ExitCode | str
) -> None:
    if isinstance(told, ExitCode):
        assert _verdict(codes) == told
    else:
        with pytest.raises(ResnetBenchError, match=told):
            _verdict(codes)


def test_a_rank_ends_with_what_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(os, "_exit", ended.append)
    ranked._end_with(2)
    assert ended == [ExitCode.INTERNAL]
