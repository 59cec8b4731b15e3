"""Real commands under torchrun, on two CPU ranks: one tool, whole grids."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from resnet_bench.errors import ExitCode
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_run
from tests.faults.programs import members, python, wait_for

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(400)]

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
DEPTH: tuple[str, ...] = (
    "degradation",
    "--study",
    "depth",
    "--depths",
    "8",
    "--seeds",
    "1",
)
DEPTH += ("--epochs", "1", "--device", "cpu")
SCRATCH: tuple[str, ...] = (
    "finetune",
    "--variants",
    "18",
    "--strategy",
    "scratch",
    "--seeds",
    "1",
)
SCRATCH += ("--weights", "random", "--epochs", "1", "--dataset", "digits-5-9")
SCRATCH += ("--device", "cpu")
SPEED: tuple[str, ...] = ("speed", "--variants", "18", "--image-size", "32", "-b", "2")
SPEED += ("--mode", "train", "--profile", "quick", "--budget", "15", "--device", "cpu")


def command(
    folder: Path, *arguments: str, launcher: tuple[str, ...] = TORCHRUN
) -> subprocess.Popen[str]:
    """Start the tool itself in a session of its own, as two ranks."""
    return python(folder, *launcher, "-m", "resnet_bench", *arguments)


def finished(folder: Path, *arguments: str, **options: Any) -> tuple[Run, Any]:
    """Run a command to its end; return its only run and what it printed as JSON."""
    process = command(folder, *arguments, "--json", **options)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    wait_for(lambda: not members(process.pid), 30)
    (found,) = run_folders(folder / "results")
    return read_run(found), json.loads(out)


def is_whole(run: Run) -> bool:
    """Say whether every cell of the grid ended well, once, with nothing left out."""
    statuses = {(end.status, end.attempt) for end in run.cells.values()}
    whole = run.status == "complete" and not run.missing and not run.problems
    return whole and statuses == {("ok", 1)}


def kinds(run: Run) -> list[tuple[str, str]]:
    """Return what was recorded, without the numbers."""
    return sorted((record["cell"], record["type"]) for record in run.records)


def test_a_finetune_run_of_two_ranks_is_whole(tmp_path: Path) -> None:
    run, shown = finished(tmp_path, *SCRATCH)
    assert is_whole(run)
    assert run.config["ranks"] == 2
    assert shown["rows"]


def test_a_speed_run_of_two_ranks_tells_its_scaling_efficiency(tmp_path: Path) -> None:
    run, _ = finished(tmp_path, *SPEED)
    assert is_whole(run)
    assert "efficiency" in (run.folder / "table.md").read_text()


def test_torchrun_itself_returns_1_and_shows_the_code_of_the_tool(
    tmp_path: Path,
) -> None:
    process = command(tmp_path, *DEPTH, "--seeds", "0")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    assert err.count("error: --seeds 0") == 1
    assert re.search(rf"exitcode +: {ExitCode.USAGE.value} ", err)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_under_torchrun_leaves_a_readable_run_and_no_orphan(
    victim: int, tmp_path: Path
) -> None:
    process = command(tmp_path, *DEPTH, "--epochs", "500")
    ranks = running_ranks(process, tmp_path)
    ranks[victim].send_signal(signal.SIGKILL)
    begin = time.monotonic()
    process.communicate(timeout=60)
    assert time.monotonic() - begin < 30
    assert process.returncode == 1
    assert_all_ended(ranks)
    assert partial_run(tmp_path).problems == []


#: What the program is told where there is no GPU: it runs on two CPU ranks.
TWO_GPUS = """
import sys
import torch
from resnet_bench.__main__ import main
torch.cuda.device_count = lambda: 2
main()
"""


def on_two_gpus(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the tool as a user of two GPUs does."""
    (folder / "two_gpus.py").write_text(TWO_GPUS)
    return python(folder, "two_gpus.py", *arguments, "--gpus", "2")


def running_ranks(
    process: subprocess.Popen[str], folder: Path
) -> dict[int, psutil.Process]:
    """Return the ranks by number once the first of them writes its run."""
    wait_for(lambda: run_folders(folder / "results"), 200)
    time.sleep(1)
    children = psutil.Process(process.pid).children(recursive=True)
    return {int(one.environ()["RANK"]): one for one in children if is_rank(one)}


def is_rank(process: psutil.Process) -> bool:
    return "RANK" in process.environ() and "resnet_bench" in process.cmdline()


def assert_all_ended(ranks: dict[int, psutil.Process]) -> None:
    assert sorted(ranks) == [0, 1]
    wait_for(lambda: not any(one.is_running() for one in ranks.values()), 30)


def partial_run(folder: Path) -> Run:
    run = read_run(run_folders(folder / "results")[0])
    assert run.status == "partial"
    return run


def test_a_run_on_two_gpus_has_the_grid_of_one_process(tmp_path: Path) -> None:
    folders = [tmp_path / "alone", tmp_path / "together"]
    for folder in folders:
        folder.mkdir()
    alone, _ = finished(folders[0], *DEPTH, launcher=())
    process = on_two_gpus(folders[1], *DEPTH, "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert json.loads(out)
    assert_only_our_words(err)
    together = read_run(run_folders(folders[1] / "results")[0])
    assert is_whole(together)
    assert together.config["ranks"] == 2
    assert set(together.grid) == set(alone.grid)
    assert kinds(together) == kinds(alone)


def assert_only_our_words(err: str) -> None:
    """No traceback, and nothing that torch logs about its own affairs."""
    for foreign in ("Traceback", "elastic", "c10d", "[W", "W1"):
        assert foreign not in err


def test_a_refused_command_is_explained_once_and_by_rank_0(tmp_path: Path) -> None:
    process = on_two_gpus(tmp_path, *DEPTH, "--seeds", "0")
    _, err = process.communicate(timeout=200)
    assert process.returncode == ExitCode.USAGE
    (line,) = err.splitlines()
    assert line.startswith("error: --seeds 0")


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED, "interrupted"),
        (signal.SIGTERM, ExitCode.TERMINATED, "terminated"),
    ],
)
def test_a_signal_ends_all_ranks_and_closes_the_run(
    number: signal.Signals, code: ExitCode, status: str, tmp_path: Path
) -> None:
    process = on_two_gpus(tmp_path, *DEPTH, "--epochs", "500")
    ranks = running_ranks(process, tmp_path)
    process.send_signal(number)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "--resume" in err
    assert err.splitlines()[-1] == f"error: {status}"
    assert_only_our_words(err)
    assert_all_ended(ranks)
    last = (partial_run(tmp_path).folder / "run.jsonl").read_text().splitlines()[-1]
    assert f'"status":"{status}"' in last


def test_a_killed_rank_is_named_in_one_line(tmp_path: Path) -> None:
    process = on_two_gpus(tmp_path, *DEPTH, "--epochs", "500")
    ranks = running_ranks(process, tmp_path)
    ranks[1].send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERNAL
    assert err.splitlines()[-1] == "error: rank 1 died (SIGKILL)"
    assert_only_our_words(err)
    assert_all_ended(ranks)
    partial_run(tmp_path)
