from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.engine import machine as environment
from resnet_bench.engine.machine import collect, describe_git, machine_key


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    (package / "code.py").write_text("1\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "report.md").write_text("1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    return tmp_path


def machine(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "model": "EPYC",
        "usable_cores": 2,
        "quota_cores": None,
        "total_bytes": 8 * 2**30,
        "gpu": "H100",
        "clock_mhz": 345,
        "load": 0.1,
    } | changes
    return {
        "cpu": {key: facts[key] for key in ("model", "usable_cores", "quota_cores")},
        "memory": {"total_bytes": facts["total_bytes"]},
        "gpus": [{"name": facts["gpu"], "clock_mhz": facts["clock_mhz"]}],
        "load": facts["load"],
    }


def test_environment_survives_json() -> None:
    facts = collect()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["machine_key"] == machine_key(facts)


def test_environment_hides_the_host_name() -> None:
    text = json.dumps(collect()["host"])
    assert platform.node() not in text or not platform.node()


def test_environment_keeps_only_variables_on_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    facts = collect()
    assert facts["variables"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "hunter2" not in json.dumps(facts)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "Xeon"},
        {"usable_cores": 4},
        {"quota_cores": 2.5},
        {"total_bytes": 16 * 2**30},
        {"gpu": "H200"},
    ],
)
def test_machine_key_changes_with_the_hardware(changes: dict[str, Any]) -> None:
    assert machine_key(machine(**changes)) != machine_key(machine())


@pytest.mark.parametrize(
    "changes",
    [{"clock_mhz": 1980}, {"load": 7.5}, {"total_bytes": 8 * 2**30 - 2**20}],
)
def test_machine_key_ignores_clocks_load_and_a_few_megabytes(
    changes: dict[str, Any],
) -> None:
    assert machine_key(machine(**changes)) == machine_key(machine())


def test_machine_key_of_unknown_memory_exists() -> None:
    assert len(machine_key(machine(total_bytes=None))) == 12


def test_commit_of_a_clean_work_tree(work_tree: Path) -> None:
    commit = git(work_tree, "rev-parse", "HEAD").strip()
    assert describe_git(work_tree / "package") == {"commit": commit, "dirty": False}


def test_changed_code_makes_a_work_tree_dirty(work_tree: Path) -> None:
    (work_tree / "package" / "code.py").write_text("2\n")
    assert describe_git(work_tree / "package")["dirty"] is True


def test_results_and_untracked_files_leave_a_work_tree_clean(work_tree: Path) -> None:
    (work_tree / "results" / "report.md").write_text("2\n")
    (work_tree / "notes.txt").write_text("mine\n")
    assert describe_git(work_tree / "package")["dirty"] is False


def test_commit_is_unknown_outside_a_work_tree(tmp_path: Path) -> None:
    assert describe_git(tmp_path) == {"commit": None, "dirty": None}


def test_commit_is_unknown_for_a_package_installed_in_another_work_tree(
    work_tree: Path,
) -> None:
    installed = work_tree / ".venv" / "resnet_bench"
    installed.mkdir(parents=True)
    (installed / "code.py").write_text("1\n")
    assert describe_git(installed) == {"commit": None, "dirty": None}


def test_commit_is_unknown_without_git(
    work_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert describe_git(work_tree / "package") == {"commit": None, "dirty": None}


def test_distribution_is_unknown_where_no_file_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> dict[str, str]:
        raise OSError("no os-release")

    monkeypatch.setattr(platform, "freedesktop_os_release", missing)
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.1", ("", "", ""), "arm64"))
    assert environment._distribution() == "macOS 15.1"


def test_machine_key_is_computed_without_torch() -> None:
    code = "import resnet_bench.engine.machine, sys; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
