import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resnet_bench.commands.show import ShowConfig, show_stored
from resnet_bench.errors import (
    ExitCode,
    InputOutputError,
    NotComparableError,
    UsageError,
)
from resnet_bench.experiments.speed.grid import resolved
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.gate.check import run_check
from resnet_bench.gate.entries import Entry, appended, entries_of, read_entries
from resnet_bench.gate.history import run_history
from resnet_bench.gate.lineage import line_of, planned_links
from resnet_bench.gate.spec import DEFAULT_SUBJECT, CheckConfig, HistoryConfig
from resnet_bench.gate.trees import bytes_of
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, assemble, read_run
from tests.gate.conftest import SUBJECT, Write, git
from tests.toys.speed_runs import ENVIRONMENT as SPEED_ENVIRONMENT
from tests.toys.speed_runs import header_of, lines_of, unchanged

RESULTS = Path("results")
CONFIG = HistoryConfig(
    subject="project:subject", cases=("a:forward",), measure=8, pairs=3, json=True
)
CAPTURE = pytest.CaptureFixture[str]


def changed(**changes: Any) -> HistoryConfig:
    return dataclasses.replace(CONFIG, **changes)


STORED = changed(measure=None)


def answer(config: HistoryConfig, output: Output, capsys: CAPTURE) -> dict[str, Any]:
    assert run_history(config, output) is ExitCode.OK
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def measurements(found: dict[str, Any]) -> tuple[Any, Any]:
    return found["rows"], found["changes"]


def measured() -> Run:
    return read_run(run_folders(RESULTS, "history")[-1])


def commit(write: Write, repository: Path, subject: str, **changes: Any) -> str:
    write(**changes)
    git(repository, "commit", "--quiet", "--all", "--allow-empty", "--message", subject)
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def commits(write: Write, repository: Path) -> list[str]:
    """Eight commits, oldest first; the sixth is half as slow again."""
    names = [git(repository, "rev-parse", "HEAD")]
    for number in range(1, 8):
        seconds = {**SUBJECT["seconds"], "a:forward": 0.015 if number >= 5 else 0.01}
        subject = f"Commit {number}"
        names.append(commit(write, repository, subject, seconds=seconds, n=number))
    return names


def test_the_commit_that_made_a_case_slower_is_named(
    commits: list[str], output: Output, capsys: CAPTURE
) -> None:
    found = answer(CONFIG, output, capsys)
    assert [row["commit"] for row in found["rows"]] == commits
    assert [row["subject"] for row in found["rows"]][1:3] == ["Commit 1", "Commit 2"]
    (change,) = found["changes"]
    assert change["commits"] == [commits[5]]
    assert change["before"] == commits[4]
    assert change["ratio"]["estimate"] == pytest.approx(1.5, rel=0.02)
    assert found["rows"][-1]["seconds"]["estimate"] == pytest.approx(0.015, rel=0.02)
    assert found["rows"][5]["ratio_to_previous"]["low"] > 1.4


def test_what_was_measured_is_shown_again_with_its_figure(
    commits: list[str], output: Output, capsys: CAPTURE
) -> None:
    first = answer(CONFIG, output, capsys)
    assert answer(STORED, output, capsys) == first
    show_stored(ShowConfig(json=True), output)
    again = json.loads(capsys.readouterr().out)
    assert measurements(again) == measurements(first)
    for name in ("history.svg", "history.png"):
        figure = changed(measure=None, json=False, export_figure=Path(name))
        run_history(figure, output)
        assert Path(name).stat().st_size > 1000
    out, err = capsys.readouterr()
    assert "wrote history.png" in err
    short = commits[5][:7]
    assert f"slower since {short} (Commit 5)" in out
    assert f"{short}" in Path("history.svg").read_text()


def test_a_commit_that_cannot_be_measured_is_one_line_and_a_gap(
    write: Write, repository: Path, output: Output, capsys: CAPTURE
) -> None:
    broken = commit(write, repository, "Break", open={"api": 2})
    lacking = commit(write, repository, "Lack", seconds={"b:step": 0.02})
    for number in range(5):
        commit(write, repository, f"Mend {number}", n=number)
    config = changed(cases=("a:forward", "b:step"), pairs=2)
    run_history(config, output)
    found = capsys.readouterr()
    assert f"commit {broken[:7]} cannot be measured: " in found.err
    assert f"a:forward of commit {lacking[:7]} cannot be measured: " in found.err
    rows = json.loads(found.out)["rows"]
    assert [row["case"] for row in rows].count("a:forward") == 6
    assert [row["case"] for row in rows].count("b:step") == 7
    assert broken not in {row["commit"] for row in rows}


def test_fewer_than_two_measurable_commits_cannot_be_compared(
    write: Write, repository: Path, output: Output
) -> None:
    with pytest.raises(UsageError, match="single commit"):
        run_history(CONFIG, output)
    commit(write, repository, "Break", open={"api": 2})
    with pytest.raises(NotComparableError, match="fewer than two commits"):
        run_history(CONFIG, output)


def test_a_source_that_is_in_no_commit_is_refused(
    commits: list[str], repository: Path, output: Output
) -> None:
    (repository / "new").mkdir()
    with pytest.raises(NotComparableError, match="--source new: HEAD has no such"):
        run_history(changed(source="new"), output)


def test_more_commits_than_the_disk_has_room_for_are_refused(
    commits: list[str], output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = bytes_of(Path(), commits[-1])
    names = git(Path(), "ls-files").splitlines()
    assert size == sum(Path(name).stat().st_size for name in names) > 0
    left = SimpleNamespace(free=3 * size)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: left)
    with pytest.raises(UsageError, match=r"--measure 8: expected at most 3: "):
        run_history(CONFIG, output)


def test_no_timed_case_is_refused(commits: list[str], output: Output) -> None:
    with pytest.raises(UsageError, match="NAME:forward or NAME:step"):
        run_history(changed(cases=()), output)


def test_a_spent_budget_leaves_pairs_that_resuming_measures(
    commits: list[str], output: Output, capsys: CAPTURE
) -> None:
    run_history(changed(budget=1e-9), output)
    said = capsys.readouterr().err
    assert "24 pairs left" in said
    assert "--measure 10" not in said
    resumed = changed(resume="latest")
    git(Path(), "commit", "--quiet", "--allow-empty", "--message", "Newer")
    found = answer(resumed, output, capsys)
    assert len(measured().cells) == len(measured().grid) == 24
    assert len(found["rows"]) == 8


def test_a_pair_that_fails_is_told_and_tried_again_when_resumed(
    commits: list[str], output: Output, capsys: CAPTURE
) -> None:
    def leg_fails(launch: object, *arguments: object) -> list[object]:
        raise NotComparableError("out of luck")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnet_bench.gate.lineage.live_pair", leg_fails)
        run_history(CONFIG, output)
    assert "out of luck" in capsys.readouterr().err
    assert len(measured().failed) == 24
    assert len(answer(changed(resume="latest"), output, capsys)["rows"]) == 8


def test_an_interrupted_history_says_how_to_resume_even_if_quiet(
    commits: list[str], capsys: CAPTURE
) -> None:
    def interrupted(*arguments: object) -> list[object]:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnet_bench.gate.lineage.live_pair", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_history(CONFIG, Output(DisplayOptions(quiet=True)))
    assert "--resume" in capsys.readouterr().err
    assert measured().status == "partial"


def test_checks_of_committed_files_feed_the_history(
    commits: list[str], write: Write, output: Output, capsys: CAPTURE
) -> None:
    config = CheckConfig(
        subject="project:subject",
        cases=("a:forward",),
        against=commits[4],
        pairs=12,
        metrics=("time",),
    )
    run_check(config, output)
    write(n=100)
    run_check(config, output)
    capsys.readouterr()
    found = answer(STORED, output, capsys)
    assert [row["commit"] for row in found["rows"]] == [commits[4], commits[7]]
    ratio = found["rows"][1]["ratio_to_previous"]
    assert ratio["n"] == 12
    assert ratio["estimate"] == pytest.approx(1.5, rel=0.02)
    run_history(changed(measure=None, json=False), output)
    assert "too few measurements" in capsys.readouterr().out


def speed_run(run: str, **header: Any) -> Run:
    config = resolved(Config(variants=(18,)), "cpu", 2)
    environment = {**SPEED_ENVIRONMENT, "machine_key": "m1"}
    first = header_of(config, run=run, environment=environment, **header)
    return assemble(Path(), [first, *lines_of(config, 8, unchanged, {})])


def test_speed_runs_feed_it_in_the_order_of_commits(
    commits: list[str], output: Output, capsys: CAPTURE
) -> None:
    for number, name in enumerate([commits[3], commits[1]]):
        run = speed_run(f"2026010{number}T030405Z_abcdef0_1111", commit=name)
        appended(Path("h.jsonl"), entries_of(run))
    found = answer(changed(measure=None, cases=(), file=("h.jsonl",)), output, capsys)
    assert [row["commit"] for row in found["rows"]] == [commits[1], commits[3]]
    assert found["rows"][0]["case"].startswith("ResNet-18:step, cpu, batch ")


def test_runs_of_no_commit_are_left_out() -> None:
    assert entries_of(speed_run("20260101T030405Z_abcdef0_1111", commit=None)) == []
    dirty = speed_run("20260101T030405Z_abcdef0_1111", commit="c1", dirty=True)
    assert entries_of(dirty) == []


def entry(number: int, **changes: Any) -> Entry:
    usual: dict[str, Any] = {
        "machine_key": "m1",
        "run": f"run{number}",
        "case": "a:forward",
        "head": f"c{number}",
        "seconds": [1.0 + number / 100],
    }
    return Entry(**{**usual, **changes})


def entries(count: int, **changes: Any) -> list[Entry]:
    return [entry(number, **changes) for number in range(count)]


def shown(output: Output, capsys: CAPTURE, **changes: Any) -> dict[str, Any]:
    return answer(HistoryConfig(json=True, **changes), output, capsys)


def test_a_file_gets_each_entry_once_and_is_shown(
    commits: list[str], output: Output, capsys: CAPTURE
) -> None:
    first = answer(changed(append_to=Path("kept/h.jsonl")), output, capsys)
    written = Path("kept/h.jsonl").read_text()
    again = answer(
        changed(measure=None, append_to=Path("kept/h.jsonl")), output, capsys
    )
    assert measurements(again) == measurements(first)
    assert Path("kept/h.jsonl").read_text() == written
    other = shown(output, capsys, results=Path("none"), file=("kept/h.jsonl",))
    assert measurements(other) == measurements(first)


def test_a_file_is_read_from_the_branch_that_keeps_it(
    repository: Path, output: Output, capsys: CAPTURE
) -> None:
    assert appended(Path("h.jsonl"), entries(3)) == 3
    git(repository, "checkout", "--quiet", "-b", "numbers")
    git(repository, "add", "h.jsonl")
    git(repository, "commit", "--quiet", "--message", "Keep")
    git(repository, "checkout", "--quiet", "main")
    assert not Path("h.jsonl").exists()
    found = shown(output, capsys, file=("numbers:h.jsonl",))
    assert [row["commit"] for row in found["rows"]] == ["c0", "c1", "c2"]
    with pytest.raises(UsageError, match=r"--file nowhere:h\.jsonl: "):
        shown(output, capsys, file=("nowhere:h.jsonl",))
    with pytest.raises(UsageError, match="expected a file, or REVISION:FILE"):
        shown(output, capsys, file=("nothing.jsonl",))


def test_a_torn_end_of_the_file_does_not_spoil_what_is_appended(
    repository: Path,
) -> None:
    path = Path("h.jsonl")
    appended(path, entries(2))
    path.write_text(path.read_text().rstrip("\n"))
    assert appended(path, entries(3)) == 1
    assert len(read_entries("h.jsonl", Path())) == 3


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "{}",
        '{"machine_key": "m", "run": "r", "case": "a", "head": "c", "seconds": [0]}',
        '{"machine_key": "m", "run": "r", "case": "a", "head": "c", "seconds": []}',
        '{"machine_key": "m", "run": "r", "case": "a", "head": 1, "seconds": [1]}',
        '{"machine_key": "m", "run": "r", "case": "a", "head": "c", "seconds": ["x"]}',
        '{"machine_key": "m", "run": "r", "case": "a", "head": "", "seconds": [1]}',
        '{"machine_key": "m", "run": "r", "case": "a", "head": "c", "seconds": [2e9]}',
        '{"machine_key": "m", "run": "r", "case": "a", "head": "c", "seconds": [-1]}',
    ],
)
def test_an_odd_line_of_the_file_is_named(repository: Path, line: str) -> None:
    Path("h.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(InputOutputError, match=r"h\.jsonl, line 2: no entry"):
        read_entries("h.jsonl", Path())


def test_entries_too_far_apart_to_be_joined_are_one_line(
    repository: Path, output: Output, capsys: CAPTURE
) -> None:
    steps = [
        entry(n, base=f"c{n - 1}", seconds=[1e9, 1e9], base_seconds=[1e-9, 1e-9])
        for n in range(1, 41)
    ]
    appended(Path("h.jsonl"), steps)
    with pytest.raises(InputOutputError, match="differ by more than can be computed"):
        shown(output, capsys, file=("h.jsonl",))


@pytest.mark.parametrize("place", ["pipe", "zero"])
def test_what_is_no_file_is_not_appended_to(repository: Path, place: str) -> None:
    os.mkfifo("pipe")
    Path("zero").symlink_to("/dev/zero")
    with pytest.raises(InputOutputError, match="not a regular file"):
        appended(Path(place), entries(2))


def test_a_file_of_nobodys_home_is_no_file(repository: Path) -> None:
    with pytest.raises(UsageError, match="expected a file, or REVISION:FILE"):
        read_entries("~nobody-of-that-name/h.jsonl", Path())


@pytest.mark.parametrize(
    "subject", ["a\u2028b", "a\x0cb", "a\x1eb", "a\x85b", "a\x1fb", "\x1b[31m"]
)
def test_a_subject_may_hold_any_character(repository: Path, subject: str) -> None:
    git(repository, "config", "i18n.logOutputEncoding", "latin1")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", f"é{subject}")
    assert [row.subject for row in line_of(repository)] == ["Start", f"é{subject}"]


def test_one_machine_is_shown_and_the_others_are_named(
    repository: Path, output: Output, capsys: CAPTURE
) -> None:
    newest = [entry(9, machine_key="m2"), entry(8, machine_key="m2")]
    appended(Path("h.jsonl"), [*entries(4), *newest])
    found = shown(output, capsys, file=("h.jsonl",))
    assert found["machine_key"] == "m2"
    assert "other machines are left out: --machine m1" in found["notices"]
    assert shown(output, capsys, file=("h.jsonl",), machine="m1")["machine_key"] == "m1"
    with pytest.raises(UsageError, match="--machine x: expected one of m1, m2"):
        shown(output, capsys, file=("h.jsonl",), machine="x")


def test_only_the_cases_asked_for_are_shown(
    repository: Path, output: Output, capsys: CAPTURE
) -> None:
    others = entries(3, case="ResNet-18:step, cpu, batch 4")
    appended(Path("h.jsonl"), [*entries(3), *others])
    asked: dict[str, Any] = {"file": ("h.jsonl",), "cases": ("ResNet-18:step",)}
    found = shown(output, capsys, **asked)
    assert {row["case"] for row in found["rows"]} == {"ResNet-18:step, cpu, batch 4"}
    with pytest.raises(UsageError, match="--cases b:step: expected a:forward; ResNet"):
        shown(output, capsys, file=("h.jsonl",), cases=("b:step",))


def test_a_case_of_one_commit_is_no_history(
    repository: Path, output: Output, capsys: CAPTURE
) -> None:
    appended(Path("h.jsonl"), [*entries(3), entry(1, case="alone")])
    run_history(HistoryConfig(file=("h.jsonl",)), output)
    found = capsys.readouterr()
    assert "1 case measured at one commit only" in found.err
    assert "alone" not in found.out


def test_nothing_stored_says_how_to_begin(
    repository: Path, output: Output, capsys: CAPTURE
) -> None:
    run_history(HistoryConfig(export_figure=Path("h.svg")), output)
    found = capsys.readouterr().err
    assert "history --measure 10" in found
    assert "h.svg: not written" in found
    assert not Path("h.svg").exists()


def test_without_the_extra_the_table_is_shown_and_what_to_install(
    repository: Path,
    output: Output,
    capsys: CAPTURE,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    appended(Path("h.jsonl"), entries(12))
    run_history(HistoryConfig(file=("h.jsonl",)), output)
    found = capsys.readouterr().out
    assert "'pip install ruptures'" in found
    assert "c11" in found


@pytest.mark.parametrize(
    "changes",
    [
        {"measure": None, "resume": "latest"},
        {"export_figure": Path("h.gif")},
        {"measure": 1},
    ],
)
def test_options_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        changed(**changes)


@pytest.mark.parametrize("count", [2, 3, 7, 30])
def test_a_round_measures_each_commit_twice_and_never_against_itself(
    count: int,
) -> None:
    names = [f"{number:02}" for number in range(count)]
    links: Sequence[tuple[str, str]] = planned_links(names, 3)
    assert len(links) == 3 * count
    for begin in range(0, len(links), count):
        ends = [name for link in links[begin : begin + count] for name in link]
        assert {ends.count(name) for name in names} == {2}
    assert all(base < head for base, head in links)
    assert links[0] == (names[0], names[1])


def test_a_history_of_a_project_without_a_subject_is_told_at_once(
    commits: list[str], output: Output
) -> None:
    config = dataclasses.replace(CONFIG, subject=DEFAULT_SUBJECT)
    with pytest.raises(NotComparableError, match="this project has no subject"):
        run_history(config, output)
