"""Signals at bad moments: nothing is left behind, nothing finished is lost."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from resnet_bench.errors import ExitCode
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.gate.workers import Launch, WorkerProcess
from resnet_bench.interrupts import CLOSING_SECONDS, Stopping, Terminated, held
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import read_run
from tests.faults.programs import LIGHT_STARTER, members, started, wait_for
from tests.toys import stopped


def is_written(marker: Path) -> bool:
    return marker.exists() and bool(marker.read_text())


def test_ctrl_c_twice_while_torch_is_being_loaded_leaves_nothing(
    tmp_path: Path,
) -> None:
    process = started(tmp_path, "toy")
    # The fork server and its resource tracker, which import for some seconds.
    wait_for(lambda: len(members(process.pid)) == 3)
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "error: interrupted"
    wait_for(lambda: not members(process.pid))


def test_no_process_outlives_a_killed_tool_and_what_ended_is_kept(
    tmp_path: Path,
) -> None:
    marker = tmp_path / "pid"
    behaviours = f"count,forever:{marker}"
    process = started(tmp_path, "toy", "--behaviours", behaviours, "--jobs", "1")
    wait_for(lambda: is_written(marker))
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not members(process.pid), seconds=10)
    (folder,) = run_folders(tmp_path / "results")
    run = read_run(folder)
    assert run.status == "partial"
    assert len(run.rows("toy_sample")) == 2


def catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Say whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = (line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("first_seconds", [0.0, 1.0])
def test_ctrl_c_again_and_again_ends_with_the_promised_code_and_line(
    first_seconds: float, tmp_path: Path
) -> None:
    arguments = ("toy", "--behaviours", "sleep", "--size", "1000")
    process = started(tmp_path, *arguments, starter=LIGHT_STARTER)
    wait_for(lambda: catches(process, signal.SIGTERM))
    time.sleep(first_seconds)
    while process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.001)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert [line for line in err.splitlines() if line.startswith("error")] == [
        "error: interrupted"
    ]
    assert "Traceback" not in err
    wait_for(lambda: not members(process.pid))


def test_a_hangup_closes_the_run_file_and_says_how_to_resume(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    behaviours = f"count,forever:{marker}"
    arguments = ("toy", "--behaviours", behaviours, "--jobs", "1")
    process = started(tmp_path, *arguments, starter=LIGHT_STARTER)
    wait_for(lambda: is_written(marker))
    os.killpg(process.pid, signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.TERMINATED
    assert "--resume" in err
    assert err.splitlines()[-1] == "error: terminated"
    wait_for(lambda: not members(process.pid), seconds=10)
    (folder,) = run_folders(tmp_path / "results")
    last = (folder / "run.jsonl").read_text().splitlines()[-1]
    assert '"kind":"end"' in last
    assert '"status":"terminated"' in last
    assert len(read_run(folder).rows("toy_sample")) == 2


def block_and_ignore() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def test_signals_are_heard_whatever_the_caller_did_to_them(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    behaviours = f"die,forever:{marker}"
    arguments = ("toy", "--behaviours", behaviours, "--jobs", "1")
    process = started(
        tmp_path, *arguments, starter=LIGHT_STARTER, preexec_fn=block_and_ignore
    )
    wait_for(lambda: is_written(marker))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.TERMINATED
    assert "was killed by SIGKILL" in err


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stopping().installed():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_time_in_which_a_process_was_stopped_is_not_measured() -> None:
    assert ProcessExecutor().call(stopped.visit) == (1, False)


def test_a_leg_in_which_a_worker_was_stopped_is_taken_again() -> None:
    launch = Launch(
        Path(stopped.__file__).parents[2], "tests.toys.stopped:subject", 1, 0
    )
    with WorkerProcess(launch) as worker:
        worker.ask("open")
        leg = worker.ask("leg", name="net", method="forward", loops=1)
    assert leg["stopped"] == 1
    assert leg["seconds"] < stopped.STOPPED_SECONDS


@pytest.mark.slow
def test_a_stopped_session_and_its_children_close_the_run_file(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    behaviours = f"count,forever:{marker}"
    process = started(tmp_path, "toy", "--behaviours", behaviours, "--jobs", "1")
    wait_for(lambda: is_written(marker))
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (ExitCode.INTERRUPTED, ExitCode.TERMINATED)
    assert "Traceback" not in err
    assert "--resume" in err
    wait_for(lambda: not members(process.pid), seconds=10)
    (folder,) = run_folders(tmp_path / "results")
    last = (folder / "run.jsonl").read_text().splitlines()[-1]
    assert '"kind":"end"' in last


def test_the_second_signal_waits_until_closing_has_had_its_time() -> None:
    now = [0.0]
    stopping = Stopping(clock=lambda: now[0])
    with pytest.raises(KeyboardInterrupt):
        stopping.hear(signal.SIGINT, None)
    stopping.hear(signal.SIGINT, None)
    stopping.hear(signal.SIGTERM, None)
    now[0] = CLOSING_SECONDS
    with pytest.raises(Terminated):
        stopping.hear(signal.SIGTERM, None)


def test_installed_handlers_hear_both_signals() -> None:
    with Stopping().installed(), pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)
    with Stopping().installed(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_held_signal_arrives_after_the_block() -> None:
    reached = []
    # A shell's background job starts with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def hold_and_interrupt() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end of the block")

    try:
        with pytest.raises(KeyboardInterrupt):
            hold_and_interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == ["the end of the block"]
