"""The machine, the software and the settings that a measured number belongs to."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet_bench.engine import cpu
from resnet_bench.engine.cores import ROOT

# Only these leave the machine in a run file. None can hold a secret or a home folder.
VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CI",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "DNNL_PRIMITIVE_CACHE_CAPACITY",
    "GLIBC_TUNABLES",
    "GOMP_CPU_AFFINITY",
    "GOMP_SPINCOUNT",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "LRU_CACHE_CAPACITY",
    "MALLOC_ARENA_MAX",
    "MALLOC_CONF",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_DYNAMIC",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "THP_MEM_ALLOC_ENABLE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
GIBIBYTE = 2**30
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent


def collect(root: Path = ROOT) -> dict[str, Any]:
    """Return everything about this machine and process, ready for JSON.

    Keys: `machine_key`; `cpu`, `memory`, `load` (see `cpu.py`); `gpus` (`gpu.py`);
    `libraries`, `torch` (`libraries.py`); `system` and `python`; `variables` that
    are set and on the allow-list; `host`, hashed; `git`, the commit of this
    package's source. What cannot be read is None, never 0.

    It imports PyTorch, and on a GPU without nvidia-smi starts CUDA: call it where
    the measurement runs, not in a process that forks afterwards.
    """
    # Here, so that a machine key can be computed without importing PyTorch.
    from resnet_bench.engine import gpu, libraries

    environment = {
        "cpu": cpu.describe_cpu(root),
        "memory": cpu.describe_memory(root),
        "load": cpu.load_average(),
        "gpus": gpu.describe_gpus(),
        "system": _system(),
        "python": _python(),
        "libraries": libraries.describe_libraries(),
        "torch": libraries.describe_torch(),
        "variables": {key: os.environ[key] for key in VARIABLES if key in os.environ},
        "host": _digest(platform.node()),
        "git": describe_git(PACKAGE_FOLDER),
    }
    return {"machine_key": machine_key(environment)} | environment


def machine_key(environment: Mapping[str, Any]) -> str:
    """Return 12 hex digits that are equal on machines whose times may be compared.

    They depend on CPU model, usable cores, quota, memory rounded to GiB and GPU
    names; not on clocks, load, host or software.
    """
    total = environment["memory"]["total_bytes"]
    hardware = [
        environment["cpu"]["model"],
        environment["cpu"]["usable_cores"],
        environment["cpu"]["quota_cores"],
        None if total is None else round(total / GIBIBYTE),
        [gpu["name"] for gpu in environment["gpus"]],
    ]
    return _digest(json.dumps(hardware))


def describe_git(folder: Path) -> dict[str, Any]:
    """Return the commit of the work tree around `folder` and whether it is dirty.

    Results of runs do not make it dirty, nor do untracked files. Both values are
    None outside a work tree, and for a package that is merely installed inside
    somebody else's.
    """
    if _git(folder, "ls-files", "--error-unmatch", ".") is None:
        return {"commit": None, "dirty": None}
    everything_else = (":/", ":(exclude,top)results")
    changes = _git(folder, "status", "--porcelain", "-uno", *everything_else)
    return {
        "commit": _git(folder, "rev-parse", "HEAD"),
        "dirty": None if changes is None else bool(changes),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _system() -> dict[str, Any]:
    return {
        "os": platform.system() or None,
        "kernel": platform.release() or None,
        "distribution": _distribution(),
    }


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        version = platform.mac_ver()[0]
        return f"macOS {version}" if version else None


def _python() -> dict[str, Any]:
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
