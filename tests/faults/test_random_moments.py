"""A real study stopped at random moments: the right code, and nothing lost.

The moments are drawn with the signal's name as seed.
"""

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.errors import ExitCode
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_run
from tests.faults.programs import members, python, wait_for

COMMAND: tuple[str, ...] = (
    "degradation",
    "--study",
    "depth",
    "--depths",
    "8,14",
    "--seeds",
    "2",
)
COMMAND += ("--epochs", "8", "--device", "cpu", "--jobs", "1")

#: What the process returns for each signal; the last is the kernel's own answer.
CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGKILL: -signal.SIGKILL,
}
#: Cells take this long in all, roughly, in seconds.
LONGEST = 6.0


def begun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the tool in a session of its own."""
    return python(folder, "-m", "resnet_bench", *arguments)


def stopped(folder: Path, number: signal.Signals, seconds: float) -> Run:
    """Stop a study so long after its run file appeared; return what it left."""
    process = begun(folder, *COMMAND)
    wait_for(lambda: run_folders(folder / "results") or process.poll() is not None)
    time.sleep(seconds)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    wait_for(lambda: not members(process.pid), seconds=10)
    (found,) = run_folders(folder / "results")
    run = read_run(found)
    # A signal that comes when all is done may find nobody.
    done = run.status == "complete" and process.returncode == ExitCode.OK
    assert done or process.returncode == CODES[number]
    return run


def errors(run: Run) -> dict[str, list[Any]]:
    """Return the measured errors of each network."""
    return {
        row["cell"]: [row["train_error_percent"], row["test_error_percent"]]
        for row in run.rows("training_result")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = begun(folder, *COMMAND)
    process.communicate(timeout=100)
    assert process.returncode == 0
    return errors(read_run(run_folders(folder / "results")[0]))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", CODES, ids=lambda one: one.name)
def test_a_study_stopped_at_a_random_moment_is_resumed_with_the_same_numbers(
    number: signal.Signals,
    tmp_path: Path,
    undisturbed: dict[str, list[Any]],
) -> None:
    seconds = random.Random(number.name).uniform(0, LONGEST)
    print(f"{number.name} after {seconds:.3f} s")  # shown when the test fails
    left = stopped(tmp_path, number, seconds)
    assert errors(left).items() <= undisturbed.items()
    if left.status == "complete":
        return
    process = begun(tmp_path, "degradation", "--resume", "--jobs", "1")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    resumed = read_run(left.folder)
    assert resumed.status == "complete"
    assert errors(resumed) == undisturbed
