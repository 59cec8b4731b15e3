"""The command line: what is typed, what is said, and the exit codes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resnet_bench import cli
from resnet_bench.errors import ExitCode
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import read_run
from tests.faults.programs import REPOSITORY, STARTER, started, wait_for
from tests.toys.speed_runs import store_speed_run
from tests.toys.toy import TOY, Toy


@pytest.fixture(scope="module", autouse=True)
def torch_is_imported_once() -> None:
    ProcessExecutor().warm(TOY.preload)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return capsys.readouterr()


def test_a_run_prints_its_table_and_names_its_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["toy", "--size", "3"]) == ExitCode.OK
    out, err = said(capsys)
    (folder,) = run_folders(tmp_path / "results")
    assert read_run(folder).status == "complete"
    assert "Toy samples" in out
    assert "This is a toy." in err
    assert "[1/1]" in err
    for name in ("run.jsonl", "table.md", "table.csv"):
        assert (folder / name).is_file()
        assert name not in err
    assert f"samples are in results/toy/{folder.name}" in err


def test_json_is_all_that_stdout_carries(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["toy", "--json", "-o", "r"]) == ExitCode.OK
    content = json.loads(said(capsys).out)
    assert content["rows"] == [{"step": 0, "value": 0.0}, {"step": 1, "value": 1.0}]


def test_exports_go_to_files_and_to_stdout(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    exports = [
        "--export-json",
        "x.json",
        "--export-csv",
        "-",
        "--export-markdown",
        "x.md",
    ]
    assert cli.run(["toy", *exports]) == ExitCode.OK
    assert said(capsys).out.startswith("behaviour,step,value\n")
    assert json.loads((tmp_path / "x.json").read_text())["rows"]
    assert "Toy samples" in (tmp_path / "x.md").read_text()


@pytest.mark.parametrize("path", ["absent/x.json", "."])
def test_an_export_that_cannot_be_written_is_refused_before_the_run(
    path: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["toy", "--export-json", path]) == ExitCode.INTERNAL
    assert f"cannot write {path}" in said(capsys).err
    assert not run_folders(tmp_path / "results")


def test_an_export_is_left_as_it_was_when_the_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    asked = ["--export-json", "old.json", "--export-markdown", "new.md"]
    assert cli.run(["toy", *asked, "--export-csv", "absent/x"]) == ExitCode.INTERNAL
    assert (tmp_path / "old.json").read_text() == "old"
    assert not (tmp_path / "new.md").exists()


def test_a_failed_cell_gives_exit_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["toy", "--behaviours", "fail,count", "-vv"]) == ExitCode.INCOMPLETE
    err = said(capsys).err
    assert "ValueError: the toy broke" in err
    assert "Traceback" in err


def test_a_dry_run_lists_the_cells_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = ["toy", "--dry-run", "--behaviours", "count,count", "--jobs", "1"]
    assert cli.run(asked) == ExitCode.OK
    out = said(capsys).out
    assert out.count("behaviour=count") == 2
    assert "2 cells, estimated time: 3 s" in out
    assert list(tmp_path.iterdir()) == []
    assert cli.run(["toy", "--dry-run", "--jobs", "1"]) == ExitCode.OK
    assert "1 cell, estimated time" in said(capsys).out


def test_an_experiments_announcement_comes_before_its_first_cell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said_first = "WHAT: of two cells"
    monkeypatch.setattr(Toy, "announcements", lambda *_: [said_first])
    assert cli.run(["toy", "--behaviours", "count,count"]) == ExitCode.OK
    err = said(capsys).err
    assert err.index(said_first) < err.index("[1/2]")


def test_a_path_that_the_run_file_shortened_is_asked_for_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away"
    (tmp_path / "here").mkdir()
    away.mkdir()
    monkeypatch.chdir(tmp_path / "here")
    failing = ["toy", "--behaviours", "fail", "--folder", str(away)]
    assert cli.run(failing) == ExitCode.INCOMPLETE
    said(capsys)
    assert cli.run(["toy", "--resume"]) == ExitCode.INCOMPLETE
    assert "--folder away does not exist here: if it is elsewhere" in said(capsys).err
    again = ["toy", "--resume", "--folder", str(away)]
    assert cli.run(again) == ExitCode.INCOMPLETE
    assert "does not exist here" not in said(capsys).err


def test_only_a_real_run_is_rehearsed_before_its_first_cell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = ["toy", "--behaviours", "unreachable"]
    assert cli.run([*asked, "--dry-run"]) == ExitCode.OK
    assert cli.run(asked) == ExitCode.USAGE
    assert "--behaviours unreachable: cannot be downloaded" in said(capsys).err
    assert not run_folders(tmp_path / "results")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tow"], "unknown command 'tow' (did you mean toy?)"),
        (["toy", "--sise", "1"], "--size"),
        (["toy", "--size", "0"], "--size 0: expected at least 1"),
        (["toy", "--size", "x"], "error: --size 'x': expected a whole number"),
        (["toy", "--jobs", "0"], "--jobs 0: expected a whole number from 1"),
        (["toy", "--behaviours", "impossible"], "expected something possible"),
        (["toy", "--resume"], "no run 'latest' in results"),
        (
            ["toy", "--color", "red"],
            "error: --color 'red': expected auto, always, never",
        ),
        (["completion", "tcsh"], "error: completion 'tcsh' is not one of"),
        (["list", "nothing"], "error: list 'nothing': expected speed, degradation"),
        (["show", "1999"], "no run '1999' in results"),
        (["toy", "extra"], "extra"),
    ],
)
def test_a_bad_request_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.run(arguments) == ExitCode.USAGE
    lines = [line for line in said(capsys).err.splitlines() if "preparing" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_a_results_folder_that_is_a_file_is_an_io_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert cli.run(["toy", "-o", "file"]) == ExitCode.INTERNAL
    assert "cannot write to results folder file" in said(capsys).err


def test_a_key_nobody_knows_in_a_configuration_file_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "resnet-bench.toml").write_text("[toy]\nsise = 3\n")
    assert cli.run(["toy"]) == ExitCode.USAGE
    assert "unknown key toy.sise: expected size" in said(capsys).err
    assert cli.run(["toy", "--help"]) == ExitCode.OK


def test_a_configuration_file_sets_defaults(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "resnet-bench.toml").write_text("json = true\n[toy]\nsize = 1\n")
    assert cli.run(["toy"]) == ExitCode.OK
    assert len(json.loads(said(capsys).out)["rows"]) == 1


def test_a_configuration_file_sets_an_option_that_takes_a_list(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "resnet-bench.toml"
    for value in ('["count", "fail"]', '"count,fail"'):
        file.write_text(f"[toy]\nbehaviours = {value}\n")
        assert cli.run(["toy", "--dry-run"]) == ExitCode.OK
        assert "2 cells" in said(capsys).out


def test_a_configuration_file_may_name_a_persons_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "resnet-bench.toml").write_text('results = "~/runs"\n')
    assert cli.run(["toy"]) == ExitCode.OK
    assert len(run_folders(tmp_path / "home" / "runs")) == 1


def test_a_partial_run_is_resumed_with_its_own_options(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert (
        cli.run(["toy", "--behaviours", "fail", "--size", "3"]) == ExitCode.INCOMPLETE
    )
    (folder,) = run_folders(tmp_path / "results")
    assert cli.run(["toy", "--resume"]) == ExitCode.INCOMPLETE
    run = read_run(folder)
    assert [end.attempt for end in run.cells.values()] == [2]
    assert cli.run(["toy", "--resume", run.id, "--size", "4"]) == ExitCode.USAGE
    assert "had size 3, now it is 4" in said(capsys).err


def test_a_complete_run_is_shown_and_left_as_it_is_when_it_is_resumed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["toy", "--size", "3"]) == ExitCode.OK
    first = said(capsys).out
    (folder,) = run_folders(tmp_path / "results")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert cli.run(["toy", "--resume"]) == ExitCode.OK
    out, err = said(capsys)
    assert out == first
    assert f"run {folder.name} is complete: nothing to resume" in err
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert cli.run(["toy", "--resume", "--size", "4"]) == ExitCode.USAGE


def test_stored_runs_are_shown_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["toy"]) == ExitCode.OK
    first = said(capsys).out
    assert cli.run(["show"]) == ExitCode.OK
    assert said(capsys).out == first
    assert cli.run(["list"]) == ExitCode.OK
    (folder,) = run_folders(tmp_path / "results")
    assert folder.name in said(capsys).out


def test_a_working_folder_that_was_deleted_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cli.run(["list"]) == ExitCode.INTERNAL
    assert capsys.readouterr().err == "error: the working folder was deleted\n"


@pytest.mark.parametrize("command", ["show", "compare", "report"])
def test_help_says_what_names_a_run(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert cli.run([command, "--help"]) == ExitCode.OK
    out = " ".join(said(capsys)[0].split())
    assert "latest, latest~1 (the one before), an experiment (its newest run)" in out


@pytest.mark.parametrize("shell", cli.SHELLS)
def test_a_completion_script_names_the_program(
    capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    assert cli.run(["completion", shell]) == ExitCode.OK
    assert "resnet-bench" in said(capsys).out


@pytest.mark.parametrize(
    ("asked", "words", "word"),
    [
        ("foo_bar", "resnet-bench ", "1"),
        ("bash", "resnet-bench ", "1"),
        ("bash_complete", '"', "x"),
        ("zsh_complete", None, None),
        ("fish_complete", "resnet-bench ", " "),
    ],
)
def test_variables_of_completion_that_no_shell_sets_are_refused(
    asked: str,
    words: str | None,
    word: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_RESNET_BENCH_COMPLETE", asked)
    for name, value in (("COMP_WORDS", words), ("COMP_CWORD", word)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert cli.run([]) == ExitCode.USAGE
    out, err = said(capsys)
    assert out == ""
    assert err.startswith("error: _RESNET_BENCH_COMPLETE is ")
    assert err.count("\n") == 1


def test_a_file_name_in_another_encoding_is_completed(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("_RESNET_BENCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "resnet-bench speed --export-csv \udce9t")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert cli.run([]) == ExitCode.OK
    assert capsysbinary.readouterr().out == b"file,\xe9t\n"


def completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> list[str]:
    """What bash offers for the last word of a command line."""
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    monkeypatch.setenv("_RESNET_BENCH_COMPLETE", "bash_complete")
    assert cli.run([]) == ExitCode.OK
    out, err = said(capsys)
    assert err == ""
    return [word.partition(",")[2] for word in out.splitlines()]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("resnet-bench des", ["describe"]),
        ("resnet-bench show 2", ["2b_new", "2a_old"]),
        ("resnet-bench show ", ["latest", "speed", "2b_new", "2a_old"]),
        ("resnet-bench compare latest 2a", ["2a_old"]),
        ("resnet-bench speed --resume ", ["latest", "2b_new", "2a_old"]),
        ("resnet-bench pretrain --resume ", ["latest"]),
        ("resnet-bench show -o elsewhere ", ["latest"]),
        ("resnet-bench finetune --dataset dig", ["digits", "digits-0-4", "digits-5-9"]),
        ("resnet-bench speed --variants 18,1", ["18,18", "18,101", "18,152"]),
        ("resnet-bench speed --export-csv a", ["a"]),
        ("resnet-bench nothing --he", ["--help"]),
    ],
)
def test_a_shell_completes_commands_runs_data_sets_and_lists(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    offered: list[str],
) -> None:
    for name in ("2a_old", "2b_new"):
        store_speed_run(Path("results"), name, variants=(18,), mode="infer")
    assert completed(monkeypatch, capsys, line) == offered


def test_a_wrong_configuration_does_not_disturb_completion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("resnet-bench.toml").write_text("[speed]\nnothing = 1\n")
    line = "resnet-bench speed --mode in"
    assert completed(monkeypatch, capsys, line) == ["infer"]


def test_an_error_nobody_foresaw_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", None)
    cli._tell_of_bugs(verbose=False)
    error = KeyError("what\nnow")
    sys.excepthook(KeyError, error, None)
    assert (
        said(capsys).err
        == "error: internal error: KeyError: 'what\\nnow' (-vv shows where)\n"
    )
    cli._tell_of_bugs(verbose=True)
    assert sys.excepthook is sys.__excepthook__


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.TERMINATED),
    ],
)
def test_a_stopped_run_is_readable_listed_as_partial_and_resumable(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, number: int, code: int
) -> None:
    marker = tmp_path / "pid"
    behaviours = f"count,forever:{marker}"
    process = started(tmp_path, "toy", "--behaviours", behaviours, "--jobs", "1")
    wait_for(marker.exists)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    (folder,) = run_folders(tmp_path / "results")
    run = read_run(folder)
    assert run.status == "partial"
    assert len(run.rows("toy_sample")) == 2
    assert f"resnet-bench toy --resume {run.id}" in err
    assert cli.run(["list"]) == ExitCode.OK
    assert "partial" in said(capsys).out


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    process = started(tmp_path, "--help")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == ExitCode.OK


@pytest.mark.parametrize("closed", [">&-", "0<&- >&- 2>&-"])
def test_a_run_ends_well_with_closed_streams(tmp_path: Path, closed: str) -> None:
    (tmp_path / "starter.py").write_text(STARTER)
    words = [sys.executable, "starter.py", "toy"]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *words]
    # A notebook's way to draw is of no use here, and may not be there at all.
    drawing = {"MPLBACKEND": "module://nowhere"}
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **drawing}
    ended = subprocess.run(shell, cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == ExitCode.OK
    (folder,) = run_folders(tmp_path / "results")
    assert read_run(folder).status == "complete"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_tables_reach_a_stream_that_knows_few_characters(
    tmp_path: Path, encoding: str
) -> None:
    store_speed_run(tmp_path / "results", "r1", variants=(18,), mode="infer")
    words = [sys.executable, "-m", "resnet_bench", "show", "--wide"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    environment["PYTHONPATH"] = str(REPOSITORY)
    ended = subprocess.run(
        words, cwd=tmp_path, env=environment, check=False, capture_output=True
    )
    assert ended.stderr == b""
    assert ended.returncode == ExitCode.OK
    spread = {"ascii": "+-", "latin-1": "±"}
    assert spread[encoding] in ended.stdout.decode(encoding)


def test_an_error_shows_control_characters_as_such(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["show", "\x1b[31m"]) == ExitCode.USAGE
    err = said(capsys).err
    assert err.startswith("error: ")
    assert "\x1b" not in err


def test_no_command_shows_the_help_and_is_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run([]) == ExitCode.USAGE
    assert said(capsys).err.startswith("Usage: resnet-bench [OPTIONS] COMMAND")
