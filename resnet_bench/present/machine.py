"""The machine of a run in a few words, for titles and lists."""

import re
from collections.abc import Mapping
from typing import Any

UNKNOWN_MACHINE = "unknown machine"


def short_processor(name: str) -> str:
    """Return a processor's name without trade marks, clocks and filler."""
    plain = re.sub(r"\((?:R|TM|C)\)|\bCPU\b|\bProcessor\b|@.*$", " ", name, flags=re.I)
    plain = re.sub(r"\b\d+-Core\b", " ", plain)
    return " ".join(plain.split()) or name


def machine_title(environment: Mapping[str, Any], device: str = "cpu") -> str:
    """Return what a run was measured on: `AMD EPYC 7B13, 2 cores`, or the GPU.

    `device` is `cpu` or `cuda`, with an index if there are several GPUs.
    """
    if device.startswith("cuda"):
        return gpu_title(environment, device)
    cpu = environment.get("cpu") or {}
    cores = cpu.get("usable_cores")
    name = short_processor(cpu["model"]) if cpu.get("model") else UNKNOWN_MACHINE
    if cores is None:
        return name
    return f"{name}, {cores:g} core{'s' if cores != 1 else ''}"


def gpu_title(environment: Mapping[str, Any], device: str) -> str:
    """Return the name of the GPU that `cuda` or `cuda:N` means."""
    gpus = environment.get("gpus") or []
    _, _, index = device.partition(":")
    position = int(index or 0)
    if position < len(gpus):
        return str(gpus[position].get("name") or UNKNOWN_MACHINE)
    return "unknown GPU"


def software_title(environment: Mapping[str, Any]) -> str:
    """Return the versions that matter most: `torch 2.11.0, Python 3.11.2`."""
    libraries = environment.get("libraries") or {}
    python = (environment.get("python") or {}).get("version")
    named = {"torch": libraries.get("torch"), "Python": python}
    return ", ".join(f"{name} {version}" for name, version in named.items() if version)
