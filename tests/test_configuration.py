"""Options from files."""

from pathlib import Path

import pytest

from resnet_bench.configuration import (
    Configuration,
    read_configuration,
    refuse_unknown_variables,
)
from resnet_bench.errors import UsageError

COMMANDS = {"speed", "list"}

EXAMPLE = Path(__file__).parents[1] / "examples" / "gated-project"


def known(command: str) -> list[str]:
    return {"speed": ["batch_size", "seed", "fast"], "list": ["results"]}[command]


def defaults(text: str, folder: Path, command: str = "speed") -> dict[str, object]:
    (folder / "resnet-bench.toml").write_text(text)
    return read_configuration(folder).defaults(command, known, COMMANDS)


def test_a_commands_own_table_beats_the_shared_keys(tmp_path: Path) -> None:
    text = (
        "seed = 1\nresults = 'r'\n[speed]\nseed = 2\nbatch-size = [1, 2]\nfast = true"
    )
    assert defaults(text, tmp_path) == {
        "seed": "2",
        "batch_size": "1,2",
        "fast": True,
    }
    assert defaults(text, tmp_path, "list") == {"results": "r"}


@pytest.mark.parametrize("command", ["check", "noise", "history"])
def test_the_subject_of_check_is_that_of_noise_and_history_too(command: str) -> None:
    project = read_configuration(EXAMPLE)
    options = {"subject", "budget", "threshold"} if command == "check" else {"subject"}
    found = project.defaults(command, lambda _: ["budget", *options], {"check"})
    assert found["subject"] == "classifier:subject"
    assert found.keys() == options


def test_another_subject_beats_that_of_check(tmp_path: Path) -> None:
    (tmp_path / "resnet-bench.toml").write_text(
        "[check]\nsubject = 'a:b'\n[noise]\nsubject = 'c:d'\n"
    )
    project = read_configuration(tmp_path)
    found = project.defaults("noise", lambda _: ["subject"], {"check", "noise"})
    assert found == {"subject": "c:d"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", "unknown key sed: expected seed"),
        ("[speed]\nbatchsize = 1", "unknown key speed.batchsize: expected batch-size"),
        ("[sped]\nseed = 1", r"unknown key \[sped\]: expected speed"),
        ("speed = 1", "unknown key speed: expected seed"),
        ("speed = ", "is not TOML"),
        ("[speed]\nseed = {a = 1}", "speed.seed: expected a value, not a table"),
        ("seed = " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_accepted(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        defaults(text, tmp_path)


def test_pyproject_of_a_folder_above_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.resnet-bench]\nseed = 3\n")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert read_configuration(inner).values == {"seed": 3}


def test_the_table_of_pyproject_may_stand_in_the_own_file_too(tmp_path: Path) -> None:
    text = "\ufeff[tool.resnet-bench.speed]\nseed = 2\n"
    assert defaults(text, tmp_path) == {"seed": "2"}


def test_a_misspelled_variable_is_named_with_the_nearest() -> None:
    accepted = {"RESNET_BENCH_SPEED_SEED", "RESNET_BENCH_SEED"}
    refuse_unknown_variables(["RESNET_BENCH_CACHE", "HOME"], lambda: set())
    refuse_unknown_variables(["RESNET_BENCH_SEED"], lambda: accepted)
    with pytest.raises(UsageError, match=r"RESNET_BENCH_SED: .* RESNET_BENCH_SEED"):
        refuse_unknown_variables(["RESNET_BENCH_SED"], lambda: accepted)


def test_without_a_file_there_are_no_defaults(tmp_path: Path) -> None:
    assert Configuration(None, {}).defaults("speed", known, COMMANDS) == {}


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "resnet-bench.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        read_configuration(tmp_path)
    (tmp_path / "resnet-bench.toml").write_text(f"seed = {'9' * 5000}\n")
    with pytest.raises(UsageError, match="is not TOML"):
        read_configuration(tmp_path)


def test_a_number_that_python_cannot_write_is_left_to_the_option(
    tmp_path: Path,
) -> None:
    seed = defaults(f"seed = 0x{'f' * 5000}", tmp_path)["seed"]
    assert seed == f"0x{'f' * 5000}"
