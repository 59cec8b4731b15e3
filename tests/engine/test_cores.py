from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from resnet_bench.engine import cpu as cores


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "physical_cores", lambda: 16)
    monkeypatch.setattr(cores, "logical_cores", lambda: 32)
    monkeypatch.setattr(cores, "affinity_cores", lambda: 32)


def test_quota_is_unknown_without_a_cgroup_tree(tmp_path: Path) -> None:
    assert cores.cgroup_quota(tmp_path) is None


def test_quota_of_version_two_is_the_tightest_level(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/user.slice/job\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/job/cpu.max", "max 100000\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/cpu.max", "250000 100000\n")
    assert cores.cgroup_quota(tmp_path) == 2.5


def test_quota_of_version_two_is_found_at_the_mount_of_a_container(
    tmp_path: Path,
) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/docker/absent/here\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", "400000 100000\n")
    assert cores.cgroup_quota(tmp_path) == 4.0


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_quota_of_version_one_is_found_under_either_mount(
    tmp_path: Path, mount: str
) -> None:
    write(tmp_path, "proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/job\n")
    write(tmp_path, f"sys/fs/cgroup/{mount}/job/cpu.cfs_quota_us", "150000\n")
    write(tmp_path, f"sys/fs/cgroup/{mount}/job/cpu.cfs_period_us", "100000\n")
    assert cores.cgroup_quota(tmp_path) == 1.5


def test_quota_of_version_one_is_unknown_when_unlimited(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "4:cpu:/\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert cores.cgroup_quota(tmp_path) is None


@pytest.mark.usefixtures("sixteen_cores")
def test_usable_cores_are_the_physical_ones_without_other_limits(
    tmp_path: Path,
) -> None:
    assert cores.usable_cores(tmp_path) == 16


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(("quota", "usable"), [(350000, 3), (50000, 1)])
def test_usable_cores_round_a_quota_down_but_not_to_zero(
    tmp_path: Path, quota: int, usable: int
) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", f"{quota} 100000\n")
    assert cores.usable_cores(tmp_path) == usable


@pytest.mark.usefixtures("sixteen_cores")
def test_usable_cores_follow_the_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "affinity_cores", lambda: 2)
    assert cores.usable_cores(tmp_path) == 2


def test_usable_cores_are_one_when_nothing_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("physical_cores", "logical_cores", "affinity_cores"):
        monkeypatch.setattr(cores, name, lambda: None)
    assert cores.usable_cores(tmp_path) == 1


def test_physical_cores_come_from_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 32 if logical else 16)
    assert cores.physical_cores() == 16


def test_affinity_is_unknown_where_the_system_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores.affinity_cores() is None


def test_default_threads_fit_this_machine() -> None:
    assert 1 <= cores.default_threads() <= (cores.logical_cores() or 1)
