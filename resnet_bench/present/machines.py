"""The machines and software of runs, and what differs between two of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from resnet_bench.present.numbers import gibibytes
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

UNKNOWN_MACHINE = "unknown machine"


#: What x86 processors compute with, the widest first: the name that Linux gives and
#: that of a title.
VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2"}


def short_processor(name: str) -> str:
    """Return a processor's name without trade marks, clocks and filler."""
    plain = re.sub(r"\((?:R|TM|C)\)|\bCPU\b|\bProcessor\b|@.*$", " ", name, flags=re.I)
    plain = re.sub(r"\b\d+-Core\b", " ", plain)
    return " ".join(plain.split()) or name


def machine_title(environment: Mapping[str, Any], device: str = "cpu") -> str:
    """Return what a run was measured on: `AMD EPYC 7B13 (AVX2), 2 cores`, or the GPU.

    The instructions tell generations apart where a virtual machine hides the model.
    `device` is `cpu` or `cuda`, with an index if there are several GPUs.
    """
    if device.startswith("cuda"):
        gpus = dict(enumerate(environment.get("gpus") or []))
        gpu = gpus.get(int(device.partition(":")[2] or 0), {"name": "unknown GPU"})
        return str(gpu.get("name") or UNKNOWN_MACHINE)
    cpu = environment.get("cpu") or {}
    cores = cpu.get("usable_cores")
    name = short_processor(cpu["model"]) if cpu.get("model") else UNKNOWN_MACHINE
    known = cpu.get("instructions") or ()
    name += next(
        (f" ({words})" for each, words in VECTORS.items() if each in known), ""
    )
    if cores is None:
        return name
    return f"{name}, {cores:g} core{'s' if cores != 1 else ''}"


#: Half a busy core beside the measurement shows in its intervals.
BUSY_LOAD = 0.5


def load_warning(environment: Mapping[str, Any]) -> str | None:
    """Return a sentence about other work on the machine; None where it was idle."""
    load = environment.get("load")
    if load is None or load <= BUSY_LOAD:
        return None
    return (
        f"load {load:.2f} over the last minute: if other programs still run, times "
        "will be too long; wait until they end"
    )


#: Changes from minute to minute, and says nothing about what was set up.
FLEETING = ("load", "memory.available_bytes", "cpu.frequency", "git", "host")


def differences(
    base: Mapping[str, Any], head: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the facts that differ, by dotted name, with both values.

    Bytes are compared in tenths of GiB, since kernels keep some for themselves.
    """
    left, right = dict(_flat(base)), dict(_flat(head))
    return {
        name: {"base": left.get(name), "head": right.get(name)}
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    }


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if name.startswith(FLEETING):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif name.endswith("_bytes"):
            name = name.removesuffix("_bytes")
            yield name, None if value is None else gibibytes(value)
        else:
            yield name, value


def environment_table(runs: Sequence[Run]) -> Table:
    """Return one row per run: machine, software and settings it belongs to."""
    rows = [environment_row(run) for run in runs]
    return Table(
        name="environments",
        title="Machines and software",
        frame=pd.DataFrame(rows, columns=list(ENVIRONMENT), dtype=object),
        narrow=["run", "machine", "memory_bytes", "gpu", "torch", "python", "system"],
    )


#: Columns of the environments, and where each stands in a run file's environment.
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "run": (),
    "machine": (),
    "machine_key": ("machine_key",),
    "cores": ("cpu", "usable_cores"),
    "memory_bytes": ("memory", "total_bytes"),
    "gpu": ("gpus",),
    "torch": ("libraries", "torch"),
    "torchvision": ("libraries", "torchvision"),
    "cuda": ("libraries", "cuda"),
    "python": ("python", "version"),
    "system": ("system", "distribution"),
    "kernel": ("system", "kernel"),
    "governors": ("cpu", "governors"),
    "virtual_machine": ("cpu", "virtual_machine"),
    "load": ("load",),
    "commit": ("git", "commit"),
    "dirty": ("git", "dirty"),
}


def environment_row(run: Run) -> dict[str, Any]:
    """Return what is known of a run's environment; None where unknown."""
    found = {name: _found(run.environment, path) for name, path in ENVIRONMENT.items()}
    gpus = found["gpu"] if isinstance(found["gpu"], list) else []
    names = ", ".join(str(gpu.get("name")) for gpu in gpus) or None
    machine = machine_title(run.environment)
    return {**found, "run": run.id, "machine": machine, "gpu": names}


def _found(environment: Any, path: Sequence[str]) -> Any:
    for name in path:
        environment = environment.get(name) if isinstance(environment, dict) else None
    return environment
