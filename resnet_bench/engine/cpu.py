"""What decides the speed of the CPU and its memory, read from the operating system."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path("/")


# x86 names as Linux spells them, then ARM names of Linux and of macOS. Only those
# that PyTorch and oneDNN choose their kernels by.
INSTRUCTIONS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
    "i8mm",
    "sve",
    "sve2",
)

CPU_FOLDER = "sys/devices/system/cpu"


def usable_cores(root: Path = ROOT) -> int:
    """Return min(physical cores, CPU affinity, cgroup quota), at least 1.

    A limit that cannot be read does not count. A fractional quota is rounded
    down: a thread more than the quota is stopped by the scheduler in the middle
    of a measurement. `root` is where /proc and /sys are mounted.
    """
    limits = (physical_cores(), affinity_cores(), cgroup_quota(root), logical_cores())
    return max(1, int(min((limit for limit in limits if limit), default=1)))


def physical_cores() -> int | None:
    """Return the number of physical cores of the machine, None where unknown."""
    import psutil

    return psutil.cpu_count(logical=False)


def logical_cores() -> int | None:
    """Return the number of hardware threads of the machine, None where unknown."""
    return os.cpu_count()


def affinity_cores() -> int | None:
    """Return how many hardware threads this process may run on, None where unknown."""
    # Only Linux has it, and type checkers know that.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else None


def cgroup_quota(root: Path = ROOT) -> float | None:
    """Return the CPU quota in cores, the tightest of all levels, None without one.

    Reads cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us` over `cpu.cfs_period_us`).
    Inside a container the path in /proc/self/cgroup may be the host's and absent
    here; the levels that do exist are read, the mount point among them.
    """
    levels = cgroup_levels(root, "cpu")
    quotas = [quota for level in levels if (quota := _quota(level)) is not None]
    return min(quotas, default=None)


def cgroup_levels(root: Path, controller: str) -> Iterator[Path]:
    """Yield every folder that may limit this process, the innermost ones first.

    `controller` is `cpu` or `memory`; it names the folder of version 1.
    """
    for controllers, group in _own_groups(root):
        if not controllers:
            yield from _with_parents(root / "sys/fs/cgroup", group)
        elif controller in controllers.split(","):
            for mount in dict.fromkeys((controller, controllers)):
                yield from _with_parents(root / "sys/fs/cgroup" / mount, group)


def _own_groups(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the controllers and the path of every cgroup this process is in."""
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", maxsplit=2)
        yield controllers, group.strip("/")


def _with_parents(mount: Path, group: str) -> Iterator[Path]:
    level = mount / group
    yield level
    while level != mount:
        level = level.parent
        yield level


def _quota(level: Path) -> float | None:
    both = (read_text(level / "cpu.max") or "").split()
    if not both:
        quota = read_text(level / "cpu.cfs_quota_us")
        period = read_text(level / "cpu.cfs_period_us")
        both = [quota, period] if quota and period else []
    if len(both) != 2 or both[0] in ("max", "-1"):
        return None
    return int(both[0]) / int(both[1])


def read_text(path: Path) -> str | None:
    """Return the stripped text of a small system file, None where it is not readable.

    An empty file counts as none.
    """
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def describe_cpu(root: Path = ROOT) -> dict[str, Any]:
    """Return the facts about the CPU; None where unknown.

    `quota_cores` is the cgroup limit, `usable_cores` what is left of all limits,
    `governors` and `boost` are the frequency policy, `instructions` the vector
    extensions that matter here.
    """
    information = _information(root)
    return {
        "model": _model(information),
        "architecture": platform.machine() or None,
        "physical_cores": physical_cores(),
        "logical_cores": logical_cores(),
        "affinity_cores": affinity_cores(),
        "quota_cores": cgroup_quota(root),
        "usable_cores": usable_cores(root),
        "governors": _governors(root),
        "smt": _switch(root / CPU_FOLDER / "smt/active"),
        "boost": _boost(root),
        "virtual_machine": _is_virtual(root, information),
        "instructions": _instructions(information),
    }


def describe_memory(root: Path = ROOT) -> dict[str, Any]:
    """Return bytes of memory in all, available now, and allowed by the cgroup."""
    import psutil

    memory = psutil.virtual_memory()
    return {
        "total_bytes": memory.total,
        "available_bytes": memory.available,
        "limit_bytes": _memory_limit(root),
        "huge_pages": _chosen(root / "sys/kernel/mm/transparent_hugepage/enabled"),
    }


def load_average() -> float | None:
    """Return the number of runnable processes over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _macos_cpu() -> str:
    """Return what `sysctl` says, in the form of Linux's /proc/cpuinfo."""
    if platform.system() != "Darwin":
        return ""
    keys = ("machdep.cpu", "hw.optional", "kern.hv_vmm_present")
    answer = subprocess.run(
        ["sysctl", *keys], capture_output=True, text=True, check=False
    )
    return answer.stdout


def _model(information: str) -> str | None:
    for key in ("model name", "machdep.cpu.brand_string", "Model"):
        if found := _field(information, key):
            return found
    implementer = _field(information, "CPU implementer")
    part = _field(information, "CPU part")
    if implementer and part:
        return f"{platform.machine()} implementer {implementer} part {part}"
    return platform.processor() or None


def _field(information: str, key: str) -> str | None:
    found = re.search(rf"^{re.escape(key)}\s*: *(.+)$", information, re.MULTILINE)
    return found[1].strip() if found else None


def _instructions(information: str) -> list[str]:
    names = " ".join(
        _field(information, key) or ""
        for key in (
            "flags",
            "Features",
            "machdep.cpu.features",
            "machdep.cpu.leaf7_features",
        )
    )
    arm = re.findall(r"^hw\.optional\.arm\.FEAT_(\w+): 1$", information, re.MULTILINE)
    present = {name.lower() for name in [*names.split(), *arm]}
    return [name for name in INSTRUCTIONS if name in present]


def computes_bfloat16(root: Path = ROOT) -> bool:
    """Return whether the CPU has instructions for bfloat16, as far as is known."""
    return any("bf16" in name for name in _instructions(_information(root)))


def _information(root: Path) -> str:
    return (read_text(root / "proc/cpuinfo") or "") + _macos_cpu()


def _is_virtual(root: Path, information: str) -> bool | None:
    on_macos = _field(information, "kern.hv_vmm_present")
    if on_macos:
        return on_macos == "1"
    if not information:
        return None
    flags = (_field(information, "flags") or "").split()
    return "hypervisor" in flags or read_text(root / "sys/hypervisor/type") is not None


def _governors(root: Path) -> list[str] | None:
    files = (root / CPU_FOLDER).glob("cpu[0-9]*/cpufreq/scaling_governor")
    return sorted({text for file in files if (text := read_text(file))}) or None


def _boost(root: Path) -> bool | None:
    turned_off = _switch(root / CPU_FOLDER / "intel_pstate/no_turbo")
    if turned_off is not None:
        return not turned_off
    return _switch(root / CPU_FOLDER / "cpufreq/boost")


def _switch(path: Path) -> bool | None:
    text = read_text(path)
    return None if text is None else text == "1"


def _chosen(path: Path) -> str | None:
    """Return the bracketed word of a setting such as `always [madvise] never`."""
    found = re.search(r"\[(\w+)\]", read_text(path) or "")
    return found[1] if found else None


def bytes_left(root: Path = ROOT) -> int:
    """Return the bytes that this process can still take before it meets a limit.

    That is what the machine has available, or what the tightest of its cgroups leaves
    of its limit beside what is in use there; files that the kernel can drop again are
    not counted as in use.
    """
    import psutil

    left = [limit - _in_use(level) for level, limit in _memory_limits(root)]
    return max(0, min([psutil.virtual_memory().available, *left]))


def _memory_limit(root: Path) -> int | None:
    """Return the tightest memory limit of this process's cgroups, None without one."""
    return min((limit for _, limit in _memory_limits(root)), default=None)


def _memory_limits(root: Path) -> Iterator[tuple[Path, int]]:
    """Yield the cgroups that limit this process's memory, with the limit in bytes."""
    for level in cgroup_levels(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = read_text(level / name) or ""
            # Version 1 writes "no limit" as the largest number that fits a page count.
            if text.isdigit() and int(text) < 2**62:
                yield level, int(text)


def _in_use(level: Path) -> int:
    """Return the bytes in use of a cgroup, as the kernel would count against its limit.

    `inactive_file` of `memory.stat` (`total_inactive_file` in version 1, where the
    plain one leaves out the cgroups below) is dropped before anything is killed.
    """
    texts = (
        read_text(level / name) for name in ("memory.current", "memory.usage_in_bytes")
    )
    used = next((int(text) for text in texts if text and text.isdigit()), 0)
    numbers = dict(
        line.split() for line in (read_text(level / "memory.stat") or "").splitlines()
    )
    files = numbers.get("total_inactive_file") or numbers.get("inactive_file") or 0
    return max(0, used - int(files))
