from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.commands import doctor as command
from resnet_bench.commands.doctor import DoctorConfig, examine
from resnet_bench.errors import ExitCode
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.reports import doctor
from resnet_bench.reports.doctor import warnings

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def unknown_machine() -> dict[str, Any]:
    """Return an environment in which everything that may be unknown is."""
    cpu = dict.fromkeys(
        (
            "model",
            "architecture",
            "physical_cores",
            "logical_cores",
            "affinity_cores",
            "quota_cores",
            "governors",
            "boost",
            "virtual_machine",
        )
    )
    libraries = dict.fromkeys(
        ("torchvision", "cuda", "hip", "cudnn", "blas", "mkl", "onednn")
    )
    return {
        "machine_key": "0123456789ab",
        "cpu": {**cpu, "usable_cores": 1, "instructions": []},
        "memory": dict.fromkeys(("available_bytes", "total_bytes", "limit_bytes")),
        "load": None,
        "gpus": [],
        "system": {"distribution": None, "kernel": None},
        "python": {"version": "3.12.1"},
        "libraries": {**libraries, "torch": "2.11.0"},
        "torch": {"cpu_capability": None},
        "variables": {},
        "git": {"commit": None, "dirty": None},
    }


def known_machine() -> dict[str, Any]:
    environment = unknown_machine()
    gpu = {
        "name": "H100",
        "memory_bytes": 80 * 2**30,
        "driver": "570",
        "maximum_clock_mhz": 1980.0,
    }
    environment["cpu"] |= {"governors": ["performance"], "boost": True}
    environment["libraries"] |= {"cuda": "13.2"}
    return environment | {
        "load": 0.25,
        "gpus": [gpu, {**gpu, "maximum_clock_mhz": None}],
        "variables": {"OMP_WAIT_POLICY": "PASSIVE"},
        "git": {"commit": "f" * 40, "dirty": True},
    }


@pytest.fixture
def this_machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    environment = known_machine()
    monkeypatch.setattr(command, "machine_environment", lambda: environment)
    return environment


def page(environment: dict[str, Any]) -> str:
    return "\n".join(line.plain for line in doctor.report(environment))


def test_doctor_says_unknown_instead_of_zero() -> None:
    text = page(unknown_machine())
    assert "1 usable: unknown physical" in text
    assert "governor unknown, boost unknown" in text
    assert "none: this machine is quiet enough" in text
    assert "None" not in text


def test_doctor_shows_gpus_variables_and_changed_source() -> None:
    text = page(known_machine())
    assert "H100, 80.0 GiB, driver 570, 1980 MHz at most" in text
    assert "H100, 80.0 GiB, driver 570, unknown at most" in text
    assert "boost on" in text
    assert "OMP_WAIT_POLICY=PASSIVE" in text
    assert "ffffffffffff, with changes" in text


def test_doctor_ends_with_the_warnings() -> None:
    last = page(known_machine() | {"load": 3.0}).splitlines()[-2:]
    assert last[0] == "Warnings"
    assert last[1].startswith("  load 3.00")


def test_doctor_lists_every_extra_of_the_installation() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    names = [extra.name for extra in doctor.EXTRAS]
    assert names == list(project["optional-dependencies"])


def test_doctor_tells_a_missing_extra_from_an_installed_one() -> None:
    assert doctor.Extra("here", ("json",), "").installed
    assert not doctor.Extra("gone", ("json", "no_such_module"), "").installed


def test_doctor_prints_its_page(
    this_machine: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code = examine(DoctorConfig(), Output(DisplayOptions()))
    assert code is ExitCode.OK
    assert capsys.readouterr().out == page(this_machine) + "\n"


def test_doctor_prints_one_json_object(
    this_machine: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    examine(DoctorConfig(json=True), Output(DisplayOptions()))
    answer = json.loads(capsys.readouterr().out)
    assert answer["environment"] == this_machine
    assert answer["warnings"] == []
    assert answer["extras"][0]["name"] == "ray"


def quiet_machine(**cpu: Any) -> dict[str, Any]:
    """Return a machine nothing is wrong with, but for the CPU facts given."""
    return {
        "cpu": {
            "usable_cores": 4,
            "quota_cores": None,
            "governors": ["performance"],
            "virtual_machine": False,
            **cpu,
        },
        "memory": {"available_bytes": 16 * 2**30, "limit_bytes": None},
        "load": 0.1,
        "gpus": [],
        "libraries": {"cuda": "13.2", "hip": None},
        "variables": {},
    }


def only_warning(facts: dict[str, Any]) -> str:
    (warning,) = warnings(facts)
    return warning


def test_a_quiet_machine_gives_no_warning() -> None:
    assert list(warnings(quiet_machine())) == []


def test_what_is_unknown_gives_no_warning() -> None:
    facts = quiet_machine(governors=None, virtual_machine=None)
    facts |= {"load": None, "memory": {"available_bytes": None, "limit_bytes": None}}
    assert list(warnings(facts)) == []


def test_load_gives_a_warning() -> None:
    assert "load 1.50" in only_warning(quiet_machine() | {"load": 1.5})


def test_virtual_machine_gives_a_warning() -> None:
    assert "virtual machine" in only_warning(quiet_machine(virtual_machine=True))


def test_a_saving_governor_gives_a_warning_with_the_remedy() -> None:
    warning = only_warning(quiet_machine(governors=["performance", "powersave"]))
    assert "governor powersave:" in warning
    assert "cpupower" in warning


@pytest.mark.parametrize(("quota", "count"), [(2.5, 1), (2.0, 0)])
def test_only_a_fractional_quota_gives_a_warning(quota: float, count: int) -> None:
    assert len(list(warnings(quiet_machine(quota_cores=quota)))) == count


@pytest.mark.parametrize(("threads", "count"), [("8", 1), ("4", 0), ("4,2", 0)])
def test_more_threads_than_cores_give_a_warning(threads: str, count: int) -> None:
    facts = quiet_machine() | {"variables": {"OMP_NUM_THREADS": threads}}
    assert len(list(warnings(facts))) == count


@pytest.mark.parametrize("key", ["available_bytes", "limit_bytes"])
def test_little_memory_gives_a_warning(key: str) -> None:
    facts = quiet_machine()
    facts["memory"][key] = 2 * 2**30
    assert only_warning(facts).startswith("2.0 GiB of memory")


def test_a_gpu_beside_a_cpu_build_gives_a_warning() -> None:
    facts = quiet_machine() | {"gpus": [{}], "libraries": {"cuda": None, "hip": None}}
    assert "CPU build" in only_warning(facts)
