"""What decides the speed of the CPU and its memory, read from the operating system."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resnet_bench.engine import cores
from resnet_bench.engine.cores import ROOT, read_text

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


def describe_cpu(root: Path = ROOT) -> dict[str, Any]:
    """Return the facts about the CPU; None where unknown.

    `quota_cores` is the cgroup limit, `usable_cores` what is left of all limits,
    `governors` and `boost` are the frequency policy, `instructions` the vector
    extensions that matter here.
    """
    information = (read_text(root / "proc/cpuinfo") or "") + _macos_cpu()
    return {
        "model": _model(information),
        "architecture": platform.machine() or None,
        "physical_cores": cores.physical_cores(),
        "logical_cores": cores.logical_cores(),
        "affinity_cores": cores.affinity_cores(),
        "quota_cores": cores.cgroup_quota(root),
        "usable_cores": cores.usable_cores(root),
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
    for level in cores.cgroup_levels(root, "memory"):
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
