import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.gate import measuring, workers
from resnet_bench.gate.workers import Start, spawn
from resnet_bench.output import DisplayOptions, Output
from tests.gate.fake_worker import NOISE, FakeWorker

ENVIRONMENT: dict[str, Any] = {
    "machine_key": "0123456789ab",
    "torch": {"version": "2.15"},
}

SUBJECT: dict[str, Any] = {
    "seconds": {"a:forward": 0.01, "b:step": 0.02},
    "exact": {"a": {}, "b": {}},
    "accuracy": {"a": [0.9] * 5},
}

Write = Callable[..., None]


@pytest.fixture
def output() -> Output:
    return Output(DisplayOptions(color="never"))


@contextlib.contextmanager
def no_nurseries(*arguments: object) -> Iterator[Callable[[int], Start]]:
    yield lambda pair: spawn


@pytest.fixture(autouse=True)
def light_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start workers without PyTorch, and know the machine without asking it.

    Every test meets the same noise, whatever ran before it.
    """
    NOISE.seed(0)
    monkeypatch.setattr(workers, "WorkerProcess", FakeWorker)
    for place in (measuring, workers):
        monkeypatch.setattr(place, "nurseries", no_nurseries)
    monkeypatch.setattr(measuring, "collect_environment", lambda: ENVIRONMENT)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    answer = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return answer.stdout.strip()


@pytest.fixture
def write(repository: Path) -> Write:
    """Change the fake subject of the working tree."""

    def change(**changes: Any) -> None:
        text = json.dumps({**SUBJECT, **changes})
        (repository / "subject.json").write_text(text)

    return change


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a fake subject, committed once for all tests."""
    place = tmp_path_factory.mktemp("committed")
    git(place, "init", "--quiet", "--initial-branch", "main", "--template", "")
    (place / "subject.json").write_text(json.dumps(SUBJECT))
    (place / ".gitignore").write_text("results/\n")
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message", "Start")
    return place


@pytest.fixture
def repository(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the committed project; the test runs in it."""
    place = tmp_path / "project"
    shutil.copytree(committed, place)
    monkeypatch.chdir(place)
    return place
