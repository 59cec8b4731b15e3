import json
import os
from pathlib import Path

import pytest

from resnet_bench.errors import InputOutputError, NotComparableError, UsageError
from resnet_bench.gate.baselines import commit_of, keep_baseline, read_baseline
from resnet_bench.gate.spec import BaselineConfig
from resnet_bench.output import Output
from resnet_bench.store.reading import read_run
from resnet_bench.store.writing import create_run

RESULTS = Path("results")


def stored(name: str, *, dirty: bool = False, status: str = "complete") -> None:
    header = {
        "run": name,
        "experiment": "check",
        "commit": f"commit-of-{name}",
        "dirty": dirty,
        "environment": {"machine_key": "m"},
    }
    with create_run(RESULTS / "check" / name, header) as writer:
        writer.end(status)


def ask(*words: str, json: bool = False) -> BaselineConfig:
    return BaselineConfig(request=words, json=json)


FINE = {
    "name": "odd",
    "run": "r1",
    "experiment": "check",
    "commit": None,
    "machine_key": None,
    "saved": "2026-01-01T00:00:00Z",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_saved_baseline_keeps_its_run(output: Output) -> None:
    stored("20260101T000000Z_a")
    keep_baseline(ask("save", "v1"), output)
    assert commit_of(RESULTS, "v1") == "commit-of-20260101T000000Z_a"
    assert read_run(RESULTS / "baselines" / "v1.jsonl").machine_key == "m"


def test_saving_again_needs_accept(output: Output) -> None:
    stored("20260101T000000Z_a")
    keep_baseline(ask("save", "v1"), output)
    stored("20260102T000000Z_b")
    with pytest.raises(UsageError, match="baseline accept v1"):
        keep_baseline(ask("save", "v1"), output)
    assert commit_of(RESULTS, "v1").endswith("a")
    keep_baseline(ask("accept", "v1"), output)
    assert commit_of(RESULTS, "v1").endswith("b")


def test_a_run_can_be_named(output: Output) -> None:
    stored("20260101T000000Z_a")
    stored("20260102T000000Z_b")
    keep_baseline(ask("save", "v1", "20260101T000000Z_a"), output)
    assert read_baseline(RESULTS, "v1").run == "20260101T000000Z_a"


def test_only_a_saved_baseline_can_be_accepted(output: Output) -> None:
    with pytest.raises(NotComparableError, match="no baseline 'v1'"):
        keep_baseline(ask("accept", "v1"), output)


def test_uncommitted_changes_are_no_baseline(output: Output) -> None:
    stored("20260101T000000Z_a", dirty=True)
    with pytest.raises(UsageError, match="uncommitted"):
        keep_baseline(ask("save", "v1"), output)


def test_a_partial_run_is_no_baseline(output: Output) -> None:
    stored("20260101T000000Z_a", status="interrupted")
    with pytest.raises(UsageError, match="partial"):
        keep_baseline(ask("save", "v1"), output)


def test_baselines_are_listed(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_baseline(ask("list"), output)
    assert "no baselines" in capsys.readouterr().err
    stored("20260101T000000Z_a")
    keep_baseline(ask("save", "v1"), output)
    keep_baseline(ask("list"), output)
    assert capsys.readouterr().out.startswith("v1  check  commit-of-20")
    keep_baseline(ask("list", json=True), output)
    found = json.loads(capsys.readouterr().out)["baselines"]
    assert [row["name"] for row in found] == ["v1"]


def test_a_damaged_baseline_is_an_error(output: Output) -> None:
    folder = RESULTS / "baselines"
    folder.mkdir(parents=True)
    (folder / "v1.json").write_text("{")
    with pytest.raises(InputOutputError, match="cannot read baseline"):
        read_baseline(RESULTS, "v1")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[]", '{"name": 1}', json.dumps({**FINE, "commit": 3})],
    ids=["nested", "a list", "too few", "odd"],
)
def test_an_odd_baseline_is_named_and_the_others_are_listed(
    text: str, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    stored("20260101T000000Z_a")
    keep_baseline(ask("save", "v1"), output)
    (RESULTS / "baselines" / "odd.json").write_text(text)
    keep_baseline(ask("list"), output)
    said = capsys.readouterr()
    assert said.out.startswith("v1  check")
    assert "warning: cannot read baseline results/baselines/odd.json" in said.err


def test_a_pipe_beside_baselines_is_named_and_not_waited_for(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    (RESULTS / "baselines").mkdir(parents=True)
    os.mkfifo(RESULTS / "baselines" / "pipe.json")
    keep_baseline(ask("list"), output)
    assert "pipe.json: not a regular file" in capsys.readouterr().err


def test_a_baseline_measured_outside_git_has_no_commit(output: Output) -> None:
    stored("20260101T000000Z_a")
    keep_baseline(ask("save", "v1"), output)
    place = RESULTS / "baselines" / "v1.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "commit": None}))
    with pytest.raises(NotComparableError, match="outside git: expected one of a"):
        commit_of(RESULTS, "v1")
