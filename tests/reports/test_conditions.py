from __future__ import annotations

from typing import Any

import pytest

from resnet_bench.reports.doctor import GIBIBYTE, gibibytes, warnings


def environment(**cpu: Any) -> dict[str, Any]:
    """Return a machine nothing is wrong with, but for the CPU facts given."""
    return {
        "cpu": {
            "usable_cores": 4,
            "quota_cores": None,
            "governors": ["performance"],
            "virtual_machine": False,
            **cpu,
        },
        "memory": {"available_bytes": 16 * GIBIBYTE, "limit_bytes": None},
        "load": 0.1,
        "gpus": [],
        "libraries": {"cuda": "13.2", "hip": None},
        "variables": {},
    }


def only_warning(facts: dict[str, Any]) -> str:
    (warning,) = warnings(facts)
    return warning


def test_a_quiet_machine_gives_no_warning() -> None:
    assert list(warnings(environment())) == []


def test_what_is_unknown_gives_no_warning() -> None:
    facts = environment(governors=None, virtual_machine=None)
    facts |= {"load": None, "memory": {"available_bytes": None, "limit_bytes": None}}
    assert list(warnings(facts)) == []


def test_load_gives_a_warning() -> None:
    assert "load 1.50" in only_warning(environment() | {"load": 1.5})


def test_virtual_machine_gives_a_warning() -> None:
    assert "virtual machine" in only_warning(environment(virtual_machine=True))


def test_a_saving_governor_gives_a_warning_with_the_remedy() -> None:
    warning = only_warning(environment(governors=["performance", "powersave"]))
    assert "governor powersave:" in warning
    assert "cpupower" in warning


@pytest.mark.parametrize(("quota", "count"), [(2.5, 1), (2.0, 0)])
def test_only_a_fractional_quota_gives_a_warning(quota: float, count: int) -> None:
    assert len(list(warnings(environment(quota_cores=quota)))) == count


@pytest.mark.parametrize(("threads", "count"), [("8", 1), ("4", 0), ("4,2", 0)])
def test_more_threads_than_cores_give_a_warning(threads: str, count: int) -> None:
    facts = environment() | {"variables": {"OMP_NUM_THREADS": threads}}
    assert len(list(warnings(facts))) == count


@pytest.mark.parametrize("key", ["available_bytes", "limit_bytes"])
def test_little_memory_gives_a_warning(key: str) -> None:
    facts = environment()
    facts["memory"][key] = 2 * GIBIBYTE
    assert only_warning(facts).startswith("2.0 GiB of memory")


def test_a_gpu_beside_a_cpu_build_gives_a_warning() -> None:
    facts = environment() | {"gpus": [{}], "libraries": {"cuda": None, "hip": None}}
    assert "CPU build" in only_warning(facts)


def test_unknown_memory_is_said_to_be_unknown() -> None:
    assert gibibytes(None) == "unknown"
