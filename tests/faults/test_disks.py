"""Disks that are full, read-only or swept clean, and two tools on one folder."""

import datetime as dt
import fcntl
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resnet_bench import cli
from resnet_bench.commands.run import Plan, run_cells
from resnet_bench.errors import ExitCode, InputOutputError, UsageError
from resnet_bench.execution.base import Event, Schedule
from resnet_bench.execution.inline import InlineExecutor
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.store import folders, recording, writing
from resnet_bench.store.folders import run_folders
from resnet_bench.store.format import SCHEMA_VERSION
from resnet_bench.store.reading import RUN_FILE, read_run
from resnet_bench.store.recording import go_on, start
from resnet_bench.store.writing import (
    append_whole,
    create_run,
    reopen_run,
    replace_files,
)
from tests.faults.programs import started
from tests.toys.toy import TIMED_TOY, TOY
from tests.toys.toy.spec import Config

HEADER: dict[str, Any] = {"run": "r1", "experiment": "toy", "cells": {"k1": {}}}


@contextmanager
def file_size_limited_to(size: int) -> Iterator[None]:
    """Let the kernel refuse writes past `size` bytes, after a short one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_that_does_not_fit_leaves_no_half_line(tmp_path: Path) -> None:
    with create_run(tmp_path / "r1", HEADER) as writer:
        path = writer.folder / RUN_FILE
        limit = file_size_limited_to(path.stat().st_size + 20)
        with limit, pytest.raises(InputOutputError, match="File too large"):
            writer.record("k1", 1, {"type": "sample", "value": 1.0})
        writer.record("k1", 1, {"type": "sample", "value": 2.0})
        writer.commit("k1", 1, "ok")
    assert [row["value"] for row in read_run(writer.folder).records] == [2.0]


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path: Path) -> None:
    kept = {tmp_path / name: b"before\n" for name in ("history", "one", "other")}
    for path, content in kept.items():
        path.write_bytes(content)
    history, one, other = kept
    with file_size_limited_to(100):
        with pytest.raises(InputOutputError, match="File too large"):
            append_whole(history, b"x" * 200)
        with pytest.raises(InputOutputError, match="File too large"):
            replace_files({one: b"after\n", other: b"x" * 200})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_replaced_file_keeps_its_link_and_its_mode(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_text("before")
    (tmp_path / "file").chmod(0o640)
    replace_files({tmp_path / "link": b"after"})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_half_line_that_cannot_be_removed_stays_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, size: int) -> None:
        raise OSError

    with create_run(tmp_path / "r1", HEADER) as writer:
        path = writer.folder / RUN_FILE
        monkeypatch.setattr(os, "ftruncate", refuse)
        limit = file_size_limited_to(path.stat().st_size + 20)
        with limit, pytest.raises(InputOutputError, match="File too large"):
            writer.end("complete")
        with pytest.raises(InputOutputError, match="its last line is incomplete"):
            writer.end("failed")
    assert "damaged from line" in read_run(writer.folder).problems[0]


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    with file_size_limited_to(10), pytest.raises(InputOutputError, match="too large"):
        create_run(tmp_path / "r1", HEADER)
    assert list(tmp_path.iterdir()) == []


def plan(*behaviours: str, schedule: Schedule = "once", machine: str = "m") -> Plan:
    toy = TOY if schedule == "once" else TIMED_TOY
    environment = {"machine_key": machine, "git": {"commit": "0123456"}}
    return Plan(toy, Config(behaviours=behaviours), _cells(behaviours), environment)


def _cells(behaviours: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(TOY.expand(Config(behaviours=behaviours)))


@pytest.mark.parametrize("fate", ["deleted", "moved"])
def test_a_run_stops_when_its_folder_is_swept_away(tmp_path: Path, fate: str) -> None:
    made = plan("count", "count")
    opened = start(made.beginning, tmp_path / "results", [])

    def sweep(event: Event) -> None:
        if fate == "deleted":
            shutil.rmtree(tmp_path / "results")
        else:
            (tmp_path / "results").rename(tmp_path / "elsewhere")

    with pytest.raises(InputOutputError, match="moved or deleted"), opened:
        run_cells(made, opened, InlineExecutor(), 1, sweep)


def test_runs_that_start_in_the_same_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["same", "same", "other"])
    monkeypatch.setattr(recording, "new_run_id", lambda commit: next(names))
    first = start(plan("count").beginning, tmp_path, [])
    second = start(plan("count").beginning, tmp_path, [])
    for opened in (first, second):
        with opened:
            run_cells(plan("count"), opened, InlineExecutor(), 1, lambda event: None)
    assert [folder.name for folder in run_folders(tmp_path)] == ["other", "same"]
    assert {read_run(folder).status for folder in run_folders(tmp_path)} == {"complete"}


@pytest.mark.slow
def test_two_tools_at_once_in_one_folder_both_finish(tmp_path: Path) -> None:
    both = [started(tmp_path, "toy", "--behaviours", "sleep,sleep") for _ in range(2)]
    codes = [process.communicate(timeout=90) and process.returncode for process in both]
    assert codes == [ExitCode.OK, ExitCode.OK]
    runs = [read_run(folder) for folder in run_folders(tmp_path / "results")]
    assert [(run.status, len(run.records)) for run in runs] == [("complete", 4)] * 2


def test_times_of_two_machines_never_share_a_run(tmp_path: Path) -> None:
    opened = start(plan("count", schedule="rounds").beginning, tmp_path, [])
    opened.close()
    with pytest.raises(UsageError, match="another machine"):
        go_on(plan("count", schedule="rounds", machine="n").beginning, opened.folder)
    # Seeded trainings give the same numbers elsewhere: that is allowed, and noted.
    again = go_on(plan("count", machine="n").beginning, opened.folder)
    again.close()
    assert read_run(opened.folder).resumes[0]["environment"] == {
        "machine_key": "n",
        "git": {"commit": "0123456"},
    }


def test_a_run_of_an_older_schema_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run(tmp_path / "r1", HEADER).close()
    monkeypatch.setattr(writing, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with pytest.raises(UsageError, match="older resnet-bench"):
        reopen_run(tmp_path / "r1")


def test_a_file_system_without_locks_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run(tmp_path / "r1", HEADER).close()

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputOutputError, match="No locks available"):
        reopen_run(tmp_path / "r1")
    with pytest.raises(InputOutputError, match="No locks available"):
        create_run(tmp_path / "r2", HEADER)


def test_a_clock_that_goes_backwards_loses_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(dt.datetime):
        hours = 12

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            cls.hours -= 1
            return dt.datetime(2026, 1, 1, cls.hours, tzinfo=tz)

    monkeypatch.setattr(folders, "dt", SimpleNamespace(UTC=dt.UTC, datetime=Clock))
    for _ in range(2):
        opened = start(plan("count").beginning, tmp_path, [])
        with opened:
            run_cells(plan("count"), opened, InlineExecutor(), 1, lambda event: None)
    runs = [read_run(folder) for folder in run_folders(tmp_path)]
    assert [run.status for run in runs] == ["complete", "complete"]
    assert all((end.seconds or 0) >= 0 for run in runs for end in run.cells.values())


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_one_line_and_keeps_what_fitted(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "results"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "none", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system of 160 kB can be mounted only by root")
    try:
        behaviours = ",".join(["count"] * 4)
        process = started(tmp_path, "toy", "--behaviours", behaviours, "--size", "400")
        _, err = process.communicate(timeout=90)
        (folder,) = run_folders(disk)
        run = read_run(folder)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert process.returncode == ExitCode.INTERNAL
    last = err.splitlines()[-1]
    assert last.startswith("error: cannot write")
    assert "No space left on device" in last
    assert "Traceback" not in err
    assert run.status == "partial"
    counts = [sum(row["cell"] == key for row in run.records) for key in run.cells]
    assert counts == [400] * len(run.cells)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)


def refused(results: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that a run in `results` ends with before it begins."""
    assert cli.run(["toy", "-o", str(results)]) == ExitCode.INTERNAL
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


@pytest.mark.usefixtures("toy")
def test_a_read_only_file_system_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "results"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "none", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a read-only file system can be mounted only by root")
    try:
        line = refused(disk, capsys)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert line == (
        f"error: cannot write to results folder {disk}: Read-only file system"
    )


@contextmanager
def somebody_else() -> Iterator[None]:
    """Have the rights of a user who is nobody, where the tests run as root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.usefixtures("toy")
def test_a_folder_that_belongs_to_somebody_else_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        monkeypatch.chdir(folder)
        with somebody_else():
            line = refused(folder / "results", capsys)
        monkeypatch.undo()
        assert list(folder.iterdir()) == []
        folder.chmod(0o755)
    assert line.endswith(f"{folder / 'results'}: Permission denied")
