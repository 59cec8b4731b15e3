"""The machine, the software and the settings that a measured number belongs to."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from resnet_bench.engine import cpu
from resnet_bench.git import GIT

PACKAGES = (
    *("torchvision", "numpy", "scipy", "scikit-learn", "pandas", "triton"),
    *("onnx", "onnxscript", "onnxruntime", "openvino"),
)


# nvidia-smi field -> our key; it says MiB and MHz.
FIELDS = {
    "name": "name",
    "memory.total": "memory_bytes",
    "driver_version": "driver",
    "compute_cap": "compute_capability",
    "clocks.sm": "clock_mhz",
    "clocks.max.sm": "maximum_clock_mhz",
    "clocks.max.mem": "maximum_memory_clock_mhz",
    "power.limit": "power_limit_watts",
}

MEBIBYTE = 2**20
GIBIBYTE = 2**30

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

PACKAGE_FOLDER = Path(__file__).resolve().parent.parent

#: Whether torch has the newer names of float32 precision, as from 2.9 on.
HAS_PRECISION_NAMES = hasattr(torch.backends.cudnn, "conv")


def collect() -> dict[str, Any]:
    """Return everything about this machine and process, ready for JSON.

    `variables` are those that are set and on the allow-list, `host` is hashed, `git`
    is the commit of this package's source. What cannot be read is None, never 0.

    On a GPU without nvidia-smi it starts CUDA: call it where the measurement runs,
    not in a process that forks afterwards.
    """
    environment = {
        "cpu": cpu.describe_cpu(),
        "memory": cpu.describe_memory(),
        "load": cpu.load_average(),
        "gpus": describe_gpus(),
        "system": _system(),
        "python": _python(),
        "libraries": describe_libraries(),
        "torch": describe_torch(),
        "variables": {key: os.environ[key] for key in VARIABLES if key in os.environ},
        "host": _digest(platform.node()),
        "git": describe_git(PACKAGE_FOLDER),
    }
    return {"machine_key": machine_key(environment)} | environment


def machine_key(environment: Mapping[str, Any]) -> str:
    """Return 12 hex digits that are equal on machines whose times may be compared.

    They depend on CPU model and instructions, usable cores, quota, memory rounded to
    GiB and GPU names; not on clocks, load, host or software. A virtual machine names
    its model in general terms ("AMD EPYC"): its instructions tell generations apart.
    """
    total = environment["memory"]["total_bytes"]
    hardware = [
        environment["cpu"]["model"],
        environment["cpu"]["instructions"],
        environment["cpu"]["usable_cores"],
        environment["cpu"]["quota_cores"],
        None if total is None else round(total / GIBIBYTE),
        [gpu["name"] for gpu in environment["gpus"]],
    ]
    return _digest(json.dumps(hardware))


def describe_libraries() -> dict[str, Any]:
    """Return the versions of everything a measured number depends on."""
    build = torch.__config__.show()
    versions: dict[str, Any] = {
        name.replace("-", "_"): installed_version(name) for name in PACKAGES
    }
    return versions | {
        # A plain string: torch's own type makes whoever unpickles it import torch.
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": _cudnn(),
        "blas": _first(r"BLAS_INFO=(\w+)", build),
        "mkl": _first(r"Math Kernel Library Version (\S+?)(?:-Product)?\s", build),
        "onednn": _first(r"MKL-DNN v(\S+)", build),
        "openmp": _first(r"OpenMP (\d+)", build),
    }


def installed_version(package: str) -> str | None:
    """Return the version of an installed distribution, None without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def float32_precision() -> dict[str, str]:
    """Return how CUDA rounds float32 in products and in convolutions.

    "none" leaves the choice to torch's general setting, which is IEEE float32.
    """
    if HAS_PRECISION_NAMES:
        return {
            "cuda_matmul": torch.backends.cuda.matmul.fp32_precision,
            "cudnn_convolution": torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        }
    older = {
        "cuda_matmul": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_convolution": torch.backends.cudnn.allow_tf32,
    }
    return {name: "tf32" if allowed else "ieee" for name, allowed in older.items()}


def describe_torch() -> dict[str, Any]:
    """Return the settings of PyTorch in this process that change speed or results."""
    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "float32_precision": float32_precision(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "flush_denormal": flushes_denormals(),
    }


def flushes_denormals() -> bool:
    """Try whether the CPU turns a denormal number into zero; PyTorch cannot say."""
    smallest_normal = torch.finfo(torch.float32).tiny
    return bool((torch.full((1,), smallest_normal) / 2).item() == 0)


def _cudnn() -> str | None:
    version = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return None if version is None else str(version)


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def describe_gpus() -> list[dict[str, Any]]:
    """Return name, memory, driver and clocks of every GPU; an empty list without one.

    The driver's library (extra `gpu`) and nvidia-smi see all GPUs of the machine and
    leave this process free of CUDA. PyTorch is asked where both are missing, and
    then driver and clocks are None; it also is where this process is shown slices of a
    GPU (MIG), whose size only its name and memory tell.
    """
    if "MIG-" in os.environ.get("CUDA_VISIBLE_DEVICES", ""):
        return _from_torch()
    return _from_library() or _from_nvidia_smi() or _from_torch()


def _from_library() -> list[dict[str, Any]]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        count = pynvml.nvmlDeviceGetCount()
        found = [_device(pynvml, index) for index in range(count)]
    finally:
        pynvml.nvmlShutdown()
    return _from_torch() if any(each.pop("sliced") for each in found) else found


def _device(library: Any, index: int) -> dict[str, Any]:
    """Ask the library (NVML API reference, "Device Queries") about one GPU."""
    handle = library.nvmlDeviceGetHandleByIndex(index)

    def ask(name: str, *arguments: int) -> Any:
        try:
            return getattr(library, f"nvmlDeviceGet{name}")(handle, *arguments)
        except library.NVMLError:
            return None  # the driver does not tell this of this GPU

    memory = ask("MemoryInfo")
    capability = ask("CudaComputeCapability")
    milliwatts = ask("EnforcedPowerLimit")
    mode = ask("MigMode")
    return {
        "sliced": bool(mode and mode[0]),
        "name": ask("Name"),
        "memory_bytes": memory and int(memory.total),
        "driver": library.nvmlSystemGetDriverVersion(),
        "compute_capability": capability and ".".join(map(str, capability)),
        "clock_mhz": ask("ClockInfo", library.NVML_CLOCK_SM),
        "maximum_clock_mhz": ask("MaxClockInfo", library.NVML_CLOCK_SM),
        "maximum_memory_clock_mhz": ask("MaxClockInfo", library.NVML_CLOCK_MEM),
        "power_limit_watts": milliwatts and milliwatts / 1000,
    }


def _from_nvidia_smi() -> list[dict[str, Any]]:
    query = f"--query-gpu={','.join(FIELDS)}"
    answer = printed_by("nvidia-smi", query, "--format=csv,noheader,nounits")
    return [_row(line) for line in (answer or "").splitlines() if line.count(",")]


def _row(line: str) -> dict[str, Any]:
    texts = dict(zip(FIELDS.values(), line.split(", "), strict=False))
    row: dict[str, Any] = {key: _known(texts.get(key)) for key in FIELDS.values()}
    for key, text in row.items():
        if key.endswith(("_mhz", "_watts", "_bytes")):
            row[key] = _number(text)
    if row["memory_bytes"] is not None:
        row["memory_bytes"] = int(row["memory_bytes"] * MEBIBYTE)
    return row


def _known(text: str | None) -> str | None:
    """Return None for what the driver does not report, such as `[N/A]`."""
    return text.strip() if text and not text.startswith("[") else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _from_torch() -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    return [_properties(index) for index in range(torch.cuda.device_count())]


def _properties(index: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(index)
    known = {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "compute_capability": f"{properties.major}.{properties.minor}",
    }
    return dict.fromkeys(FIELDS.values()) | known


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
    return printed_by(*GIT, "-C", str(folder), *arguments)


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


def printed_by(*command: str, timeout_seconds: float = 20) -> str | None:
    """Return what a program prints, None where it is missing, fails or hangs."""
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=timeout_seconds
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
