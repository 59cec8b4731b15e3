"""Which GPUs there are, asked without creating a CUDA context where possible."""

from __future__ import annotations

import subprocess
from typing import Any

import torch

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


def describe_gpus() -> list[dict[str, Any]]:
    """Return name, memory, driver and clocks of every GPU; an empty list without one.

    The driver's library (extra `gpu`) and nvidia-smi see all GPUs of the machine and
    leave this process free of CUDA. PyTorch is asked where both are missing, and
    then driver and clocks are None.
    """
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
        return [_device(pynvml, index) for index in range(count)]
    finally:
        pynvml.nvmlShutdown()


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
    return {
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
    command = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}"]
    try:
        answer = subprocess.run(
            [*command, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [_row(line) for line in answer.stdout.splitlines() if line.count(",")]


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
    """Return None for what the driver will not tell, such as `[N/A]`."""
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
