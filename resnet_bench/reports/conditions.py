"""What of a machine's state spoils a measurement, as sentences with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

UNKNOWN = "unknown"
GIBIBYTE = 2**30
# PyTorch itself takes about 1 GiB, ResNet-152 in training at batch 4 about 3 more.
LITTLE_MEMORY_BYTES = 4 * GIBIBYTE
# Half a busy core beside the measurement shows in its intervals.
BUSY_LOAD = 0.5
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def warnings(environment: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for everything here that spoils a measurement."""
    yield from _busy(environment)
    yield from _clocks(environment["cpu"])
    yield from _threads(environment)
    yield from _memory(environment["memory"])
    yield from _gpus(environment)


def _busy(environment: Mapping[str, Any]) -> Iterator[str]:
    load = environment["load"]
    if load is not None and load > BUSY_LOAD:
        yield (
            f"load {load:.2f}: other programs were running in the last minute; "
            "wait for them to end"
        )
    if environment["cpu"]["virtual_machine"]:
        yield (
            "virtual machine: its neighbours change the speed from run to run; "
            "compare within one run"
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
            f"{gibibytes(min(known))} of memory: deep variants and large batches "
            "run out of it"
        )


def _gpus(environment: Mapping[str, Any]) -> Iterator[str]:
    libraries = environment["libraries"]
    if environment["gpus"] and not (libraries["cuda"] or libraries["hip"]):
        yield "a GPU is there, but this PyTorch is a CPU build and cannot use it"


def gibibytes(count: float | None) -> str:
    """Return a number of bytes as GiB, for people."""
    return UNKNOWN if count is None else f"{count / GIBIBYTE:.1f} GiB"
