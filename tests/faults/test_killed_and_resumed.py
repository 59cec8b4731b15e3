"""Killed at fifty random moments and resumed: fifty complete, equal grids.

In batches, so that none takes more than a few minutes.
"""

import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from resnet_bench import cli
from resnet_bench.errors import ExitCode
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_run
from tests.faults.programs import LIGHT_STARTER, members, started, wait_for
from tests.toys.toy import TOY

ARGUMENTS = ["toy", "--behaviours", ",".join(["sleep"] * 8), "--size", "5"]
ARGUMENTS += ["--jobs", "2"]
BATCHES, KILLS = 10, 5


def grid(run: Run) -> dict[str, list[Any]]:
    """Return what was measured per cell, without what names the run."""
    return {
        key: [row["value"] for row in run.rows("toy_sample") if row["cell"] == key]
        for key in run.grid
    }


def killed_after(seconds: float, folder: Path) -> Path | None:
    """Start the tool, kill it after its run file has existed for that long."""
    process = started(folder, *ARGUMENTS, starter=LIGHT_STARTER)
    wait_for(lambda: run_folders(folder / "results") or process.poll() is not None)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    wait_for(lambda: not members(process.pid), seconds=15)
    found = run_folders(folder / "results")
    return found[0] if found else None


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_runs_killed_at_random_moments_end_as_the_undisturbed_one(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    ProcessExecutor().warm(TOY.preload)
    whole = tmp_path / "whole"
    whole.mkdir()
    monkeypatch.chdir(whole)
    begin = time.perf_counter()
    assert cli.run(ARGUMENTS) == ExitCode.OK
    longest = time.perf_counter() - begin
    undisturbed = read_run(run_folders(whole / "results")[0])
    moments = random.Random(batch)
    for number in range(KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        found = killed_after(moments.uniform(0, longest), folder)
        assert found is not None
        assert cli.run(["toy", "--resume", "--jobs", "2"]) == ExitCode.OK
        resumed = read_run(found)
        assert resumed.status == "complete"
        assert grid(resumed) == grid(undisturbed)
