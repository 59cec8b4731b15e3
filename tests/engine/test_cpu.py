from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

from resnet_bench.engine import cpu

EPYC = """\
processor\t: 0
model name\t: AMD EPYC 9B14
flags\t\t: fpu sse2 avx2 fma avx512f avx512_bf16 hypervisor
"""
GRAVITON = """\
processor\t: 0
Features\t: fp asimd sve bf16 i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""
MACOS = """\
machdep.cpu.brand_string: Apple M4
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_SME: 1
hw.optional.arm.FEAT_SVE: 0
kern.hv_vmm_present: 0
"""


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*arguments: object, **options: object) -> object:
        return subprocess.CompletedProcess([], 0, stdout=MACOS)

    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(subprocess, "run", answer)


@pytest.mark.usefixtures("linux")
def test_model_and_instructions_of_x86(tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", EPYC)
    facts = cpu.describe_cpu(tmp_path)
    assert facts["model"] == "AMD EPYC 9B14"
    assert facts["instructions"] == ["avx2", "fma", "avx512f", "avx512_bf16"]
    assert cpu.computes_bfloat16(tmp_path)
    write(tmp_path, "proc/cpuinfo", EPYC.replace("avx512_bf16", ""))
    assert not cpu.computes_bfloat16(tmp_path)
    assert facts["virtual_machine"] is True


@pytest.mark.usefixtures("linux")
def test_model_and_instructions_of_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    write(tmp_path, "proc/cpuinfo", GRAVITON)
    facts = cpu.describe_cpu(tmp_path)
    assert facts["model"] == "aarch64 implementer 0x41 part 0xd40"
    assert facts["instructions"] == ["asimd", "bf16", "i8mm", "sve"]
    assert facts["virtual_machine"] is False


@pytest.mark.usefixtures("linux")
def test_virtual_machine_without_a_flag_shows_its_hypervisor(tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", GRAVITON)
    write(tmp_path, "sys/hypervisor/type", "xen\n")
    assert cpu.describe_cpu(tmp_path)["virtual_machine"] is True


@pytest.mark.usefixtures("macos")
def test_model_and_instructions_of_macos(tmp_path: Path) -> None:
    facts = cpu.describe_cpu(tmp_path)
    assert facts["model"] == "Apple M4"
    assert facts["instructions"] == ["bf16", "i8mm"]
    assert facts["virtual_machine"] is False


@pytest.mark.usefixtures("linux")
def test_cpu_facts_are_unknown_rather_than_false_without_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    facts = cpu.describe_cpu(tmp_path)
    unknown = ("model", "quota_cores", "governors", "smt", "boost", "virtual_machine")
    assert [facts[key] for key in unknown] == [None] * len(unknown)
    assert facts["instructions"] == []


def test_governors_lists_every_one_in_use_once(tmp_path: Path) -> None:
    for core, governor in enumerate(["powersave", "performance", "powersave"]):
        file = f"{cpu.CPU_FOLDER}/cpu{core}/cpufreq/scaling_governor"
        write(tmp_path, file, f"{governor}\n")
    assert cpu.describe_cpu(tmp_path)["governors"] == ["performance", "powersave"]


@pytest.mark.parametrize(
    ("file", "text", "boost"),
    [
        ("intel_pstate/no_turbo", "1", False),
        ("intel_pstate/no_turbo", "0", True),
        ("cpufreq/boost", "1", True),
        ("cpufreq/boost", "0", False),
    ],
)
def test_boost_is_read_from_either_driver(
    tmp_path: Path, file: str, text: str, boost: bool
) -> None:
    write(tmp_path, f"{cpu.CPU_FOLDER}/{file}", text)
    assert cpu.describe_cpu(tmp_path)["boost"] is boost


@pytest.mark.parametrize(("text", "smt"), [("1\n", True), ("0\n", False)])
def test_smt_is_read(tmp_path: Path, text: str, smt: bool) -> None:
    write(tmp_path, f"{cpu.CPU_FOLDER}/smt/active", text)
    assert cpu.describe_cpu(tmp_path)["smt"] is smt


def test_memory_limit_is_the_tightest_of_the_cgroups(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/outer/inner\n")
    write(tmp_path, "sys/fs/cgroup/outer/inner/memory.max", "max\n")
    write(tmp_path, "sys/fs/cgroup/outer/memory.max", "2147483648\n")
    assert cpu.describe_memory(tmp_path)["limit_bytes"] == 2**31


def test_memory_limit_of_version_one_is_unknown_when_unlimited(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "3:memory:/\n")
    file = "sys/fs/cgroup/memory/memory.limit_in_bytes"
    write(tmp_path, file, "9223372036854771712\n")
    assert cpu.describe_memory(tmp_path)["limit_bytes"] is None


def test_what_is_in_use_of_a_cgroup_is_not_left(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/outer/inner\n")
    outer, inner = "sys/fs/cgroup/outer", "sys/fs/cgroup/outer/inner"
    write(tmp_path, f"{outer}/memory.max", f"{2**20}\n")
    write(tmp_path, f"{outer}/memory.current", f"{2**19}\n")
    assert cpu.bytes_left(tmp_path) == 2**19
    # Files that can be dropped are not in use.
    write(tmp_path, f"{outer}/memory.stat", f"anon 5\ninactive_file {2**18}\n")
    assert cpu.bytes_left(tmp_path) == 2**19 + 2**18
    # The innermost limit may be larger and still leave less.
    write(tmp_path, f"{inner}/memory.max", f"{2**21}\n")
    write(tmp_path, f"{inner}/memory.current", f"{2**21 - 7}\n")
    assert cpu.bytes_left(tmp_path) == 7
    write(tmp_path, f"{inner}/memory.current", f"{2**21 + 1}\n")
    assert cpu.bytes_left(tmp_path) == 0


def test_version_one_counts_the_files_of_cgroups_below(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "3:memory:/job\n")
    job = "sys/fs/cgroup/memory/job"
    write(tmp_path, f"{job}/memory.limit_in_bytes", f"{2**20}\n")
    write(tmp_path, f"{job}/memory.usage_in_bytes", f"{2**20}\n")
    stat = "inactive_file 0\ntotal_inactive_file 4096\n"
    write(tmp_path, f"{job}/memory.stat", stat)
    assert cpu.bytes_left(tmp_path) == 4096


def test_without_a_cgroup_the_machine_is_the_limit(tmp_path: Path) -> None:
    assert cpu.bytes_left(tmp_path) > 2**20


def test_memory_of_this_machine_is_in_bytes(tmp_path: Path) -> None:
    file = "sys/kernel/mm/transparent_hugepage/enabled"
    write(tmp_path, file, "always [madvise] never\n")
    memory = cpu.describe_memory(tmp_path)
    assert memory["total_bytes"] > memory["available_bytes"] > 2**20
    assert memory["huge_pages"] == "madvise"


def test_load_is_unknown_where_the_system_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(cpu.os, "getloadavg")  # type: ignore[attr-defined]
    assert cpu.load_average() is None


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "physical_cores", lambda: 16)
    monkeypatch.setattr(cpu, "logical_cores", lambda: 32)
    monkeypatch.setattr(cpu, "affinity_cores", lambda: 32)


def test_quota_is_unknown_without_a_cgroup_tree(tmp_path: Path) -> None:
    assert cpu.cgroup_quota(tmp_path) is None


def test_quota_of_version_two_is_the_tightest_level(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/user.slice/job\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/job/cpu.max", "max 100000\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/cpu.max", "250000 100000\n")
    assert cpu.cgroup_quota(tmp_path) == 2.5


def test_quota_of_version_two_is_found_at_the_mount_of_a_container(
    tmp_path: Path,
) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/docker/absent/here\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", "400000 100000\n")
    assert cpu.cgroup_quota(tmp_path) == 4.0


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_quota_of_version_one_is_found_under_either_mount(
    tmp_path: Path, mount: str
) -> None:
    write(tmp_path, "proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/job\n")
    write(tmp_path, f"sys/fs/cgroup/{mount}/job/cpu.cfs_quota_us", "150000\n")
    write(tmp_path, f"sys/fs/cgroup/{mount}/job/cpu.cfs_period_us", "100000\n")
    assert cpu.cgroup_quota(tmp_path) == 1.5


def test_quota_of_version_one_is_unknown_when_unlimited(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "4:cpu:/\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert cpu.cgroup_quota(tmp_path) is None


@pytest.mark.usefixtures("sixteen_cores")
def test_usable_cores_are_the_physical_ones_without_other_limits(
    tmp_path: Path,
) -> None:
    assert cpu.usable_cores(tmp_path) == 16


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(("quota", "usable"), [(350000, 3), (50000, 1)])
def test_usable_cores_round_a_quota_down_but_not_to_zero(
    tmp_path: Path, quota: int, usable: int
) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", f"{quota} 100000\n")
    assert cpu.usable_cores(tmp_path) == usable


@pytest.mark.usefixtures("sixteen_cores")
def test_usable_cores_follow_the_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "affinity_cores", lambda: 2)
    assert cpu.usable_cores(tmp_path) == 2


def test_usable_cores_are_one_when_nothing_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("physical_cores", "logical_cores", "affinity_cores"):
        monkeypatch.setattr(cpu, name, lambda: None)
    assert cpu.usable_cores(tmp_path) == 1


def test_affinity_is_unknown_where_the_system_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cpu.affinity_cores() is None
