import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from resnet_bench.gate import workers
from resnet_bench.gate.workers import (
    Launch,
    Nursery,
    SilentWorkerError,
    Start,
    WorkerError,
    WorkerProcess,
    nurseries,
    spawn,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")

PROGRAM = """
import json, os, socket, sys, time
number, tree, subject, threads, seed = sys.argv[1:]
end = socket.socket(fileno=int(number))
replies = end.makefile("w")
for line in end.makefile("r"):
    request = json.loads(line)
    if request["do"] == "die":
        print("out of memory", file=sys.stderr)
        sys.exit(9)
    if request["do"] == "vanish":
        os._exit(9)
    if request["do"] == "fail":
        print(json.dumps({"error": "ValueError: no"}), file=replies, flush=True)
        continue
    if request["do"] == "leave":
        end.close(), replies.close(), time.sleep(0.3), os._exit(7)
    if request["do"] == "hang":
        time.sleep(60)
    print("chatter of a subject")
    told = {"threads": os.environ["OMP_NUM_THREADS"], "process": os.getpid(), **request}
    print(json.dumps(told), file=replies, flush=True)
"""


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(workers, "WORKER", program)
    return Launch(tmp_path, "a:b", 3, 0)


@pytest.fixture(params=["spawned", pytest.param("forked", marks=LINUX)])
def start(request: pytest.FixtureRequest, launch: Launch) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:
        if request.param == "spawned":
            yield spawn
        else:
            yield stack.enter_context(Nursery(launch.threads, ["json", "nowhere"])).fork


def test_a_request_gets_its_reply(launch: Launch, start: Start) -> None:
    with WorkerProcess(launch, start) as worker:
        told = dict(worker.ask("leg", name="a"))
        assert told.pop("process") != os.getpid()
        assert told == {"do": "leg", "name": "a", "threads": "3"}


def test_an_error_of_the_subject_is_raised_here(launch: Launch, start: Start) -> None:
    with WorkerProcess(launch, start) as worker, pytest.raises(WorkerError, match="no"):
        worker.ask("fail")


def test_a_dead_worker_is_told_by_its_last_words(launch: Launch, start: Start) -> None:
    with WorkerProcess(launch, start) as worker:
        with pytest.raises(WorkerError, match="out of memory"):
            worker.ask("die")
        with pytest.raises(WorkerError, match="out of memory"):
            worker.ask("leg")


def test_a_worker_that_vanished_is_told_by_its_status(
    launch: Launch, start: Start
) -> None:
    with (
        WorkerProcess(launch, start) as worker,
        pytest.raises(WorkerError, match="status 9"),
    ):
        worker.ask("vanish")


def test_a_worker_that_leaves_slowly_is_told_by_its_own_status(
    launch: Launch, start: Start
) -> None:
    with (
        WorkerProcess(launch, start) as worker,
        pytest.raises(WorkerError, match="status 7"),
    ):
        worker.ask("leave")


def test_a_worker_that_hangs_is_given_up(launch: Launch, start: Start) -> None:
    hasty = dataclasses.replace(launch, patience=0.6)
    with (
        WorkerProcess(hasty, start) as worker,
        pytest.raises(SilentWorkerError, match="no answer for 1 s"),
    ):
        worker.ask("hang")


def test_a_worker_ends_with_its_block(launch: Launch, start: Start) -> None:
    with WorkerProcess(launch, start) as worker:
        process = worker.ask("leg")["process"]
    assert not psutil.pid_exists(process)


@LINUX
def test_workers_end_with_their_nursery(launch: Launch) -> None:
    with contextlib.ExitStack() as stack:
        parent = stack.enter_context(Nursery(launch.threads, []))
        worker = stack.enter_context(WorkerProcess(launch, parent.fork))
        process = worker.ask("leg")["process"]
    assert not psutil.pid_exists(process)


@LINUX
def test_a_nursery_that_was_killed_is_told(launch: Launch) -> None:
    with Nursery(launch.threads, []) as parent:
        worker = WorkerProcess(launch, parent.fork)
        psutil.Process(psutil.Process(worker.ask("leg")["process"]).ppid()).kill()
        with pytest.raises(WorkerError, match="starts workers died: it ended"):
            WorkerProcess(launch, parent.fork)
        with pytest.raises(WorkerError, match="starts workers died"):
            worker.close()


@LINUX
def test_a_nursery_serves_a_few_pairs(launch: Launch) -> None:
    with nurseries({"base": launch, "head": launch}, []) as start_for:
        first = start_for(0)
        assert start_for(3) == first
        assert start_for(4) != first


def test_where_forking_is_not_safe_every_worker_is_spawned(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(launch, python=Path(sys.executable))
    with nurseries({"base": other, "head": launch}, []) as start_for:
        assert start_for(0) is spawn
    monkeypatch.setattr(sys, "platform", "darwin")
    with nurseries({"base": launch, "head": launch}, []) as start_for:
        assert start_for(0) is spawn


def test_a_worker_runs_under_the_interpreter_asked_for(
    launch: Launch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nOMP_NUM_THREADS=7 exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with WorkerProcess(dataclasses.replace(launch, python=python)) as worker:
        assert worker.ask("leg")["threads"] == "7"


def test_a_tree_cannot_change_how_python_starts(
    launch: Launch,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(launch.tree)
    for name in ("sitecustomize", "usercustomize", "json"):
        (launch.tree / f"{name}.py").write_text("open('seen', 'w')")
    with WorkerProcess(launch, start) as worker:
        assert worker.ask("say")["do"] == "say"
    assert not (launch.tree / "seen").exists()
