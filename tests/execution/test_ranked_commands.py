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
SCRATCH += ("--weights", "random", "--epochs", "1", "--fractions", "1")
SCRATCH += ("--device", "cpu")
SPEED: tuple[str, ...] = ("speed", "--variants", "18", "--image-size", "32", "-b", "2")
SPEED += ("--profile", "quick", "--max-time", "1", "--device", "cpu")


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


def test_a_degradation_run_of_two_ranks_has_the_grid_of_one_process(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / "alone", tmp_path / "together"]
    for folder in folders:
        folder.mkdir()
    alone, _ = finished(folders[0], *DEPTH, launcher=())
    together, _ = finished(folders[1], *DEPTH)
    assert is_whole(together)
    assert together.config["ranks"] == 2
    assert set(together.grid) == set(alone.grid)
    assert kinds(together) == kinds(alone)


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
def test_a_killed_rank_of_a_real_command_leaves_a_readable_run_and_no_orphan(
    victim: int, tmp_path: Path
) -> None:
    process = command(tmp_path, *DEPTH, "--epochs", "500")
    wait_for(lambda: run_folders(tmp_path / "results"), 200)
    time.sleep(1)
    rank_of(process.pid, victim).send_signal(signal.SIGKILL)
    begin = time.monotonic()
    process.communicate(timeout=60)
    assert time.monotonic() - begin < 30
    assert process.returncode == 1
    wait_for(lambda: not members(process.pid), 30)
    run = read_run(run_folders(tmp_path / "results")[0])
    assert run.status == "partial"
    assert run.problems == []


def rank_of(session: int, rank: int) -> psutil.Process:
    """Return the process that is this rank."""
    return next(
        one
        for one in psutil.Process(session).children(recursive=True)
        if one.environ().get("RANK") == str(rank)
    )
