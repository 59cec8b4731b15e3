import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from resnet_bench.commands.show import ShowConfig, show_stored
from resnet_bench.errors import (
    ExitCode,
    InputOutputError,
    NotComparableError,
    UsageError,
)
from resnet_bench.gate import check as gate_check
from resnet_bench.gate import measuring
from resnet_bench.gate.baselines import keep_baseline
from resnet_bench.gate.check import run_check
from resnet_bench.gate.measuring import live_pair
from resnet_bench.gate.records import PairTiming
from resnet_bench.gate.spec import (
    DEFAULT_SUBJECT,
    INSTRUCTIONS,
    BaselineConfig,
    CheckConfig,
)
from resnet_bench.gate.workers import WorkerError
from resnet_bench.output import Output
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_run
from resnet_bench.store.recording import Recorder
from tests.gate.conftest import Write, git

CONFIG = CheckConfig(
    subject="project:subject",
    cases=("a:forward",),
    against="HEAD",
    pairs=12,
    metrics=("time", "exact"),
    json=True,
)


def changed(**changes: Any) -> CheckConfig:
    return dataclasses.replace(CONFIG, **changes)


def latest() -> Run:
    return read_run(run_folders(Path("results"), "check")[-1])


def run_id_of(config: CheckConfig, output: Output) -> str:
    """Carry out a check; two in one second cannot be told apart as the latest."""
    before = set(run_folders(Path("results"), "check"))
    run_check(config, output)
    (folder,) = set(run_folders(Path("results"), "check")) - before
    return folder.name


def verdicts(text: str) -> dict[tuple[str, str], str]:
    rows = json.loads(text)["rows"]
    return {(row["case"], row["metric"]): row["verdict"] for row in rows}


def test_unchanged_code_passes(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(CONFIG, output) is ExitCode.OK
    found = verdicts(capsys.readouterr().out)
    assert found["a:forward", "seconds"] == "pass"
    assert set(found.values()) == {"pass"}
    assert git(repository, "worktree", "list").count("\n") == 0


def test_slower_code_is_a_regression_and_a_second_time_too(
    repository: Path, write: Write, output: Output
) -> None:
    write(seconds={"a:forward": 0.013})
    assert run_check(CONFIG, output) is ExitCode.REGRESSION
    assert run_check(CONFIG, output) is ExitCode.REGRESSION


def test_a_baseline_is_not_moved_by_a_check(
    repository: Path, write: Write, output: Output
) -> None:
    first = run_id_of(CONFIG, output)
    keep_baseline(BaselineConfig(request=("save", "release", first)), output)
    write(seconds={"a:forward": 0.013})
    git(repository, "commit", "--quiet", "--all", "--message", "Slower")
    against_baseline = changed(against=None, baseline="release")
    assert run_check(against_baseline, output) is ExitCode.REGRESSION
    slower = run_id_of(against_baseline, output)
    assert run_check(against_baseline, output) is ExitCode.REGRESSION
    keep_baseline(BaselineConfig(request=("accept", "release", slower)), output)
    assert run_check(against_baseline, output) is ExitCode.OK


def test_one_more_operation_is_caught_without_timing(
    repository: Path,
    write: Write,
    output: Output,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(exact={"a": {"forward_operations": 4}})
    assert run_check(changed(metrics=("exact",)), output) is ExitCode.REGRESSION
    found = verdicts(capsys.readouterr().out)
    assert found["a:exact", "forward_operations"] == "regression"
    assert found["a:exact", "parameters"] == "pass"


def test_a_case_missing_on_one_side_is_incomplete(
    repository: Path,
    write: Write,
    output: Output,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(
        seconds={"a:forward": 0.01, "new:forward": 0.01},
        exact={"a": {}, "new": {}},
        open={"cases": ["a", "new"]},
    )
    config = changed(cases=(), pairs=12)
    assert run_check(config, output) is ExitCode.INCOMPLETE
    found = verdicts(capsys.readouterr().out)
    assert found["new:forward", "seconds"] == "missing"
    assert found["new:exact", "exact"] == "missing"
    assert found["a:forward", "seconds"] == "pass"


def test_a_regression_beats_a_missing_case(
    repository: Path, write: Write, output: Output
) -> None:
    write(seconds={"a:forward": 0.013, "new:forward": 0.01})
    config = changed(cases=("a:forward", "new:forward"), metrics=("time",))
    assert run_check(config, output) is ExitCode.REGRESSION


def test_a_case_that_fails_on_both_sides_is_failed(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    config = changed(cases=("nowhere:forward",))
    assert run_check(config, output) is ExitCode.INCOMPLETE
    found = verdicts(capsys.readouterr().out)
    assert found["nowhere:forward", "seconds"] == "failed"


def test_another_interface_is_not_comparable_in_every_output(
    repository: Path, write: Write, output: Output
) -> None:
    write(open={"api": 2})
    config = changed(junit=Path("junit.xml"))
    with pytest.raises(NotComparableError, match="SUBJECT_API = 2") as caught:
        run_check(config, output)
    assert caught.value.exit_code is ExitCode.NOT_COMPARABLE
    suite = ET.parse("junit.xml").getroot()
    assert suite.get("errors") == "1"


def test_a_subject_from_another_place_is_not_comparable(
    repository: Path, write: Write, output: Output
) -> None:
    write(open={"inside": False})
    with pytest.raises(NotComparableError, match="imported from outside"):
        run_check(CONFIG, output)


def test_a_worker_that_dies_is_told_by_its_last_words(
    repository: Path, write: Write, output: Output
) -> None:
    write(dies_at="open")
    with pytest.raises(NotComparableError, match="killed for the test"):
        run_check(CONFIG, output)


def test_no_baseline_is_not_comparable(repository: Path, output: Output) -> None:
    with pytest.raises(NotComparableError, match="no baseline: give --against"):
        run_check(changed(against=None), output)
    with pytest.raises(NotComparableError, match="'resnet-bench baseline save x'"):
        run_check(changed(against=None, baseline="x"), output)


def test_a_baseline_whose_commit_is_gone_is_named(
    repository: Path, output: Output
) -> None:
    run = run_id_of(changed(metrics=("exact",)), output)
    keep_baseline(BaselineConfig(request=("save", "old", run)), output)
    place = Path("results/baselines/old.json")
    place.write_text(json.dumps({**json.loads(place.read_text()), "commit": "1" * 40}))
    told = (
        r"--baseline old \(commit 111111111111\): expected a branch, tag or commit of"
    )
    with pytest.raises(UsageError, match=told):
        run_check(changed(against=None, baseline="old"), output)


def test_a_subject_without_cases_needs_some(repository: Path, output: Output) -> None:
    with pytest.raises(UsageError, match="give --cases"):
        run_check(changed(cases=()), output)


def test_a_case_that_neither_tree_knows_is_refused_by_name(
    repository: Path, write: Write, output: Output
) -> None:
    write(open={"cases": ["a:forward", "b:step", "a:exact"]})
    with pytest.raises(UsageError, match=r"--cases foo:step: .* of a, b") as caught:
        run_check(changed(cases=("a:forward", "foo:step")), output)
    assert caught.value.exit_code is ExitCode.USAGE
    assert not Path("results/check").exists()


def test_a_rule_for_a_case_that_nobody_has_is_refused(
    repository: Path, output: Output
) -> None:
    rule = "aa:forward=50%"
    with pytest.raises(UsageError, match=r"--threshold aa.*: expected a case of a, or"):
        run_check(changed(threshold=(rule,)), output)


@pytest.mark.parametrize("rule", ["a:loss=8%", "*:memory=8%", "a:activations=1%"])
def test_a_limit_that_no_check_measures_is_refused(
    repository: Path, output: Output, rule: str
) -> None:
    with pytest.raises(UsageError, match=f"{re.escape(rule)}: check does not measure"):
        run_check(changed(threshold=(rule,)), output)
    assert not Path("results/check").exists()


def test_a_refusal_is_one_line_to_a_person(
    repository: Path,
    write: Write,
    output: Output,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(open={"api": None})
    with pytest.raises(NotComparableError) as caught:
        run_check(changed(json=False), output)
    assert str(caught.value) == (
        "the head tree's project has no SUBJECT_API = 1 (a subject is a module with "
        f"SUBJECT_API and CASES; see {INSTRUCTIONS})"
    )
    assert capsys.readouterr().out == ""


def test_a_project_without_a_subject_is_told_so_before_anything_is_measured(
    repository: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(gate_check, "measured")
    with pytest.raises(NotComparableError, match="no subject: write one") as caught:
        run_check(changed(subject=DEFAULT_SUBJECT), output)
    assert "give --subject MODULE:FUNCTION" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_newcomer_is_told_to_read_exists() -> None:
    page, _, heading = INSTRUCTIONS.partition(", ")
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    assert f"\n## {json.loads(heading)}\n" in text


@pytest.mark.parametrize(
    ("lacking", "advice"),
    [
        ("project", "the first commit that can be a base is the one that adds it"),
        ("project.parts", "holds only committed files: commit the missing ones"),
        ("pro", "holds only committed files: commit the missing ones"),
    ],
)
def test_a_base_without_the_subject_is_told_from_one_that_lacks_files(
    repository: Path, write: Write, output: Output, lacking: str, advice: str
) -> None:
    words = f"ModuleNotFoundError: No module named '{lacking}'"
    write(dies_at="open", last_words=words)
    git(repository, "commit", "--quiet", "--all", "--message", "Incomplete")
    write()
    with pytest.raises(NotComparableError, match=f"the base tree .*{advice}"):
        run_check(CONFIG, output)


def test_a_subject_that_neither_tree_has_is_not_blamed_on_the_base(
    repository: Path, write: Write, output: Output
) -> None:
    write(dies_at="open", last_words="ModuleNotFoundError: No module named 'project'")
    git(repository, "commit", "--quiet", "--all", "--message", "Without a subject")
    with pytest.raises(NotComparableError, match=r"the head tree .* 'project'$"):
        run_check(CONFIG, output)


def test_a_case_asked_for_twice_is_measured_once(
    repository: Path, output: Output
) -> None:
    run_check(changed(cases=("a:forward", "a:forward")), output)
    assert len(latest().rows(PairTiming)) == 12 * len(("a:forward", "control"))


def test_a_subject_that_names_no_proper_case_is_not_comparable(
    repository: Path, write: Write, output: Output
) -> None:
    write(open={"cases": ["a:sideways"]})
    with pytest.raises(NotComparableError, match="CASES of the head tree's subject: a"):
        run_check(CONFIG, output)


def test_a_module_taken_from_the_other_tree_is_not_comparable(
    repository: Path, write: Write, output: Output
) -> None:
    write(open={"borrowed": "mylibrary"})
    with pytest.raises(NotComparableError, match="mylibrary from the base tree"):
        run_check(CONFIG, output)


def test_a_moved_control_leaves_times_undecided(
    repository: Path,
    write: Write,
    output: Output,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(seconds={"a:forward": 0.013}, control=1.2)
    config = changed(metrics=("time",))
    assert run_check(config, output) is ExitCode.OK
    assert verdicts(capsys.readouterr().out)["a:forward", "seconds"] == "inconclusive"
    strict = dataclasses.replace(config, strict=True)
    assert run_check(strict, output) is ExitCode.NOT_COMPARABLE
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == ExitCode.NOT_COMPARABLE
    show_stored(ShowConfig(json=True), output)
    assert json.loads(capsys.readouterr().out)["exit_code"] == told["exit_code"]


def test_legs_in_which_a_process_was_stopped_are_told(
    repository: Path,
    write: Write,
    output: Output,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(stopped=1)
    assert run_check(changed(metrics=("time",), pairs=12), output) is ExitCode.OK
    notices = json.loads(capsys.readouterr().out)["notices"]
    # The working tree's two legs of the case in each of twelve pairs.
    assert "stopped (SIGSTOP, Ctrl-Z) in 24 tries of a leg" in notices[0]


def test_a_spent_budget_leaves_times_undecided(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(changed(budget=1e-6), output) is ExitCode.NOT_COMPARABLE
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert row["because"] == "the budget ran out before the first pair"


def test_a_noisy_case_is_told_what_it_would_take(
    repository: Path,
    write: Write,
    output: Output,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(noise=3.0)
    git(repository, "commit", "--quiet", "--all", "--message", "Noisy")
    assert run_check(changed(metrics=("time",)), output) is ExitCode.OK
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["verdict"] == "inconclusive"
    assert re.search(r"a spread of \d+ %, 12 pairs find \d+ % or more", row["because"])


def test_a_worker_lost_among_the_pairs_ends_the_run_file(
    repository: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*arguments: Any) -> list[PairTiming]:
        raise WorkerError("out of memory")

    monkeypatch.setattr(measuring, "live_pair", lost)
    with pytest.raises(WorkerError, match="out of memory"):
        run_check(CONFIG, output)
    assert latest().status == "partial"


def test_a_budget_that_ends_before_the_first_look_is_not_comparable(
    repository: Path,
    output: Output,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(measuring, "_refuse_a_short", lambda *arguments: None)
    ticks = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    config = changed(metrics=("time",), budget=15.0)
    assert run_check(config, output) is ExitCode.NOT_COMPARABLE
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert "the first look is after 12" in row["because"]
    said = re.fullmatch(
        r"The budget ended after (\d+) of 12 pairs\.", found["notices"][0]
    )
    assert said
    assert int(said[1]) == found["pairs"] < 12


def test_a_check_that_was_decided_early_does_not_blame_the_budget(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(changed(metrics=("time",), pairs=20), output) is ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"] < 20
    assert not any("budget" in notice for notice in found["notices"])


def test_a_budget_too_short_for_the_first_look_is_refused_with_the_seconds(
    repository: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    with pytest.raises(UsageError, match=r"--budget 15: expected at least \d+ s"):
        run_check(changed(metrics=("time",), budget=15.0), output)
    assert len(latest().rows(PairTiming)) <= 4


def test_fewer_pairs_than_the_first_look_takes_are_refused(
    repository: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_check, "first_look", lambda cases: 14)
    with pytest.raises(UsageError, match="--pairs 12: expected at least 14 for 1"):
        run_check(CONFIG, output)


class Stopper:
    """Lets two pairs pass, then acts like Ctrl-C."""

    def __init__(self) -> None:
        self.pairs = 0

    def __call__(self, *arguments: Any) -> list[PairTiming]:
        self.pairs += 1
        if self.pairs > 2:
            raise KeyboardInterrupt
        return live_pair(*arguments)


def test_an_interrupted_check_goes_on_with_the_same_pairs(
    repository: Path,
    output: Output,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(measuring, "live_pair", Stopper())
        with pytest.raises(KeyboardInterrupt):
            run_check(CONFIG, output)
    assert git(repository, "worktree", "list").count("\n") == 0
    stopped = latest()
    assert stopped.status == "partial"
    assert "--resume" in capsys.readouterr().err
    assert run_check(changed(resume="latest", budget=200.0), output) is ExitCode.OK
    resumed = latest()
    before, after = stopped.rows(PairTiming), resumed.rows(PairTiming)
    assert resumed.id == stopped.id
    assert after[: len(before)] == before
    assert [row["pair"] for row in after if row["case"] == "a:forward"] == [*range(12)]
    assert len({row["loops"] for row in after if row["case"] == "a:forward"}) == 1


def test_a_pair_that_was_cut_off_before_its_commit_counts_once(
    repository: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Recorder.commit

    def cut_off(recorder: Recorder, key: str, *end: Any, **details: Any) -> None:
        if recorder.run().grid[key].get("pair") == 3:
            raise KeyboardInterrupt
        commit(recorder, key, *end, **details)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "commit", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run_check(CONFIG, output)
    run_check(changed(resume="latest"), output)
    timed = [row for row in latest().rows(PairTiming) if row["case"] == "a:forward"]
    assert [row["pair"] for row in timed] == [*range(12)]


def test_a_check_of_other_trees_or_options_is_not_resumed(
    repository: Path, write: Write, output: Output
) -> None:
    run_check(changed(metrics=("exact",)), output)
    with pytest.raises(UsageError, match="had metrics"):
        run_check(changed(resume="latest"), output)
    write(seconds={"a:forward": 0.5})
    with pytest.raises(UsageError, match="another head tree"):
        run_check(changed(resume="latest", metrics=("exact",)), output)


def test_identical_predictions_need_one_seed(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    config = changed(cases=("a:accuracy",), metrics=("accuracy",))
    assert run_check(config, output) is ExitCode.OK
    assert len(latest().rows("accuracy")) == 2
    assert verdicts(capsys.readouterr().out)["a:accuracy", "accuracy"] == "pass"


def test_lower_accuracy_over_five_seeds_is_a_regression(
    repository: Path, write: Write, output: Output
) -> None:
    write(accuracy={"a": [0.85, 0.86, 0.85, 0.86, 0.85]})
    config = changed(cases=("a:accuracy",), metrics=("accuracy",))
    assert run_check(config, output) is ExitCode.REGRESSION


def test_a_later_seed_with_the_same_predictions_does_not_end_the_training(
    repository: Path, write: Write, output: Output
) -> None:
    write(accuracy={"a": [0.85, 0.9, 0.85, 0.9, 0.85]})
    run_check(changed(cases=("a:accuracy",), metrics=("accuracy",)), output)
    assert len(latest().rows("accuracy")) == 2 * 5


def test_training_that_fails_on_one_side_is_missing_after_one_seed(
    repository: Path, write: Write, output: Output
) -> None:
    write(accuracy={})
    config = changed(cases=("a:accuracy",), metrics=("accuracy",))
    assert run_check(config, output) is ExitCode.INCOMPLETE
    assert len(latest().rows("accuracy")) == 2


def test_thresholds_come_from_the_projects_file(
    repository: Path, write: Write, output: Output
) -> None:
    (repository / "resnet-bench.toml").write_text(
        '[check]\nthreshold = ["a:forward=50%"]\n'
    )
    write(seconds={"a:forward": 0.013})
    assert run_check(CONFIG, output) is ExitCode.OK
    assert latest().header["thresholds"] == ["a:forward=50%"]


def test_every_output_is_written(
    repository: Path,
    write: Write,
    output: Output,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    write(seconds={"a:forward": 0.013})
    config = changed(
        json=False,
        explain=True,
        export_markdown=Path("check.md"),
        junit=Path("check.xml"),
        github_summary=True,
    )
    assert run_check(config, output) is ExitCode.REGRESSION
    said = capsys.readouterr()
    assert "a:forward seconds: regression, because low bound" in said.out
    assert "::error title=regression%3A a:forward seconds" not in said.err
    assert "::error title=regression%3A a%3Aforward seconds::" in said.err
    text = Path("check.md").read_text()
    assert "### Seconds per call, head against base" in text
    assert text.endswith("check: 1 regression, 6 pass\n")
    heading = "## check: 1 regression, 6 pass\n\n"
    (finding,) = re.findall(r"\Aa is slower \(forward \+3.* the same\.\n\n", said.out)
    assert Path("summary.md").read_text() == heading + finding + text
    suite = ET.parse("check.xml").getroot()
    assert (suite.get("failures"), suite.get("tests")) == ("1", "7")


def test_without_a_summary_to_write_to_there_is_a_warning(
    repository: Path,
    output: Output,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    config = changed(metrics=("exact",), github_summary=True)
    assert run_check(config, output) is ExitCode.OK
    assert "GITHUB_STEP_SUMMARY is not set" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["missing/check.xml", "."])
def test_an_output_that_cannot_be_written_is_told_before_measuring(
    repository: Path, output: Output, place: str
) -> None:
    with pytest.raises(InputOutputError, match="cannot write"):
        run_check(changed(junit=Path(place)), output)
    assert run_folders(Path("results"), "check") == []


def test_a_full_disk_for_the_summary_is_an_error(
    repository: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/dev/full")
    config = changed(metrics=("exact",), github_summary=True)
    with pytest.raises(InputOutputError, match="No space left"):
        run_check(config, output)


def test_a_full_disk_for_an_output_is_an_error(
    repository: Path, output: Output
) -> None:
    (repository / "check.xml").symlink_to("/dev/full")
    config = changed(metrics=("exact",), junit=Path("check.xml"))
    with pytest.raises(InputOutputError, match="No space left"):
        run_check(config, output)


def test_a_check_is_shown_again(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    run_check(changed(metrics=("exact",)), output)
    before = json.loads(capsys.readouterr().out)
    assert show_stored(ShowConfig(json=True), output) is ExitCode.OK
    assert json.loads(capsys.readouterr().out) == before
    show_stored(ShowConfig(), output)
    shown = capsys.readouterr()
    assert "6 quantities identical" in shown.out
    assert "check: 6 pass" in shown.out
