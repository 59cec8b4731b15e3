"""Which GPUs there are, asked without creating a CUDA context where possible."""

from __future__ import annotations

import subprocess
from typing import Any

import torch

# nvidia-smi field -> our key. It says MiB and MHz; `_number` turns it into plain
# numbers and the units below into bytes.
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

    nvidia-smi sees all GPUs of the machine and leaves this process free of CUDA;
    PyTorch is asked where it is missing, and then driver and clocks are None.
    """
    return _from_nvidia_smi() or _from_torch()


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
