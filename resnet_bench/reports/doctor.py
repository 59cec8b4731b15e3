"""`doctor`: this machine on a page, what disturbs measurements, and the extras."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.text import Text

from resnet_bench.output import printable
from resnet_bench.present.machines import load_warning
from resnet_bench.present.numbers import gibibytes

UNKNOWN = "unknown"
# PyTorch itself takes about 1 GiB, ResNet-152 in training at batch 4 about 3 more.
LITTLE_MEMORY_BYTES = 4 * 2**30
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def warnings(environment: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for everything here that disturbs a measurement."""
    yield from _busy(environment)
    yield from _clocks(environment["cpu"])
    yield from _threads(environment)
    yield from _memory(environment["memory"])
    yield from _gpus(environment)


def _busy(environment: Mapping[str, Any]) -> Iterator[str]:
    warning = load_warning(environment)
    if warning:
        yield warning
    if environment["cpu"]["virtual_machine"]:
        yield (
            "virtual machine: other virtual machines on the host change the speed "
            "from run to run; compare within one run"
        )


def _clocks(cpu: Mapping[str, Any]) -> Iterator[str]:
    slow = [name for name in cpu["governors"] or [] if name != "performance"]
    if slow:
        yield (
            f"frequency governor {', '.join(slow)}: clocks follow the load; "
            "sudo cpupower frequency-set --governor performance"
        )


def _threads(environment: Mapping[str, Any]) -> Iterator[str]:
    usable = environment["cpu"]["usable_cores"]
    quota = environment["cpu"]["quota_cores"]
    if quota is not None and quota != int(quota):
        yield f"CPU quota {quota:g}: a share of a core is left unused"
    for name in THREAD_VARIABLES:
        asked = environment["variables"].get(name, "")
        if asked.isdigit() and int(asked) > usable:
            yield f"{name}={asked}: more threads than the {usable} usable cores"


def _memory(memory: Mapping[str, Any]) -> Iterator[str]:
    known = [memory[key] for key in ("available_bytes", "limit_bytes") if memory[key]]
    if known and min(known) < LITTLE_MEMORY_BYTES:
        yield (
            f"{gibibytes(min(known))} of memory: deep variants and large batches may "
            "not fit"
        )


def _gpus(environment: Mapping[str, Any]) -> Iterator[str]:
    libraries = environment["libraries"]
    if environment["gpus"] and not (libraries["cuda"] or libraries["hip"]):
        yield "there is a GPU, but this PyTorch is a CPU build and cannot use it"


@dataclass(frozen=True)
class Extra:
    """An optional part of the installation: a module that shows it, what it adds."""

    name: str
    modules: tuple[str, ...]
    adds: str

    @property
    def installed(self) -> bool:
        """Whether all its modules can be found; nothing is imported."""
        return all(map(importlib.util.find_spec, self.modules))


EXTRAS = (
    Extra("ray", ("ray",), "experiments on a cluster: --executor ray"),
    Extra("gpu", ("pynvml",), "driver, clocks and throttling of NVIDIA GPUs"),
    Extra("history", ("ruptures",), "finding the commit that changed a time: history"),
    Extra(
        "runtimes",
        ("onnx", "onnxscript", "onnxruntime", "openvino"),
        "ONNX Runtime and OpenVINO: speed --runtime, --ladder",
    ),
    Extra("test", ("pytest_benchmark",), "the tests and micro-benchmarks"),
    Extra("dev", ("mypy",), "lint and type checks"),
)


def json_object(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment, its warnings and the extras for `--json`."""
    extras = [{**asdict(extra), "installed": extra.installed} for extra in EXTRAS]
    return {
        "environment": dict(environment),
        "warnings": list(warnings(environment)),
        "extras": extras,
    }


def report(environment: Mapping[str, Any]) -> Iterator[Text]:
    """Yield the lines of the page, warnings last: they stay on the screen."""
    sections = {
        "Machine": _machine(environment),
        "Software": _software(environment),
        "Settings": _settings(environment),
        "Extras: pip install --editable '.[NAME]'": _extras(),
    }
    for title, lines in sections.items():
        yield Text(title, style="bold")
        for name, value in lines:
            yield Text.assemble(f"  {name:<14}", printable(value))
    yield Text("Warnings", style="bold")
    found = list(warnings(environment))
    for warning in found:
        yield Text.assemble("  ", (printable(warning), "yellow"))
    if not found:
        yield Text("  none: this machine is quiet enough to measure", style="green")


def _machine(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cpu, memory = environment["cpu"], environment["memory"]
    yield "CPU", f"{_text(cpu['model'])}, {_text(cpu['architecture'])}"
    yield "cores", _cores(cpu)
    yield "instructions", " ".join(cpu["instructions"]) or UNKNOWN
    governors = ", ".join(cpu["governors"] or [UNKNOWN])
    yield "frequency", f"governor {governors}, boost {_switch(cpu['boost'])}"
    yield (
        "memory",
        f"{gibibytes(memory['available_bytes'])} available"
        f" of {gibibytes(memory['total_bytes'])}",
    )
    load = environment["load"]
    yield "load", UNKNOWN if load is None else f"{load:.2f} over the last minute"
    for gpu in environment["gpus"]:
        yield "GPU", _gpu(gpu)
    if not environment["gpus"]:
        yield "GPU", "none"
    yield "machine key", environment["machine_key"]


def _cores(cpu: Mapping[str, Any]) -> str:
    return (
        f"{cpu['usable_cores']} usable: {_text(cpu['physical_cores'])} physical, "
        f"{_text(cpu['logical_cores'])} logical, "
        f"{_text(cpu['affinity_cores'])} by affinity, "
        f"quota {_text(cpu['quota_cores'], 'none')}"
    )


def _gpu(gpu: Mapping[str, Any]) -> str:
    clock = gpu["maximum_clock_mhz"]
    return (
        f"{gpu['name']}, {gibibytes(gpu['memory_bytes'])}, "
        f"driver {_text(gpu['driver'])}, "
        f"{UNKNOWN if clock is None else f'{clock:.0f} MHz'} at most"
    )


def _software(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    libraries, system = environment["libraries"], environment["system"]
    yield "system", f"{_text(system['distribution'])}, kernel {_text(system['kernel'])}"
    yield "Python", environment["python"]["version"]
    yield (
        "torch",
        f"{libraries['torch']}, torchvision {_text(libraries['torchvision'])}",
    )
    cuda = _text(libraries["cuda"], "none")
    yield "CUDA", f"{cuda}, cuDNN {_text(libraries['cudnn'], 'none')}"
    yield (
        "BLAS",
        f"{_text(libraries['blas'])}, MKL {_text(libraries['mkl'], 'none')}, "
        f"oneDNN {_text(libraries['onednn'], 'none')}",
    )
    commit = environment["git"]["commit"]
    changed = ", with changes" if environment["git"]["dirty"] else ""
    yield "commit", f"{commit[:12]}{changed}" if commit else UNKNOWN


def _settings(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    settings = environment["torch"]
    yield (
        "threads",
        f"{environment['cpu']['usable_cores']} unless --threads says otherwise",
    )
    yield "kernels for", _text(settings["cpu_capability"])
    for name, value in environment["variables"].items():
        yield "variable", f"{name}={value}"


def _extras() -> Iterator[tuple[str, str]]:
    for extra in EXTRAS:
        state = "installed" if extra.installed else "missing"
        yield extra.name, f"{state:<11}{extra.adds}"


def _text(value: object, unknown: str = UNKNOWN) -> str:
    return unknown if value is None else str(value)


def _switch(value: bool | None) -> str:
    return UNKNOWN if value is None else "on" if value else "off"
