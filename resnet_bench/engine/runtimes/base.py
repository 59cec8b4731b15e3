"""The interface of every runtime, and its network as a torch module."""

import importlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from resnet_bench.catalogue import INT8, QUANTISER, RUNTIMES
from resnet_bench.engine.devices import is_out_of_memory
from resnet_bench.engine.runtimes import onnx_files
from resnet_bench.errors import ResnetBenchError, UsageError

#: How a child that exports a network ends where memory ran out.
OUT_OF_MEMORY = 3
FAILED = "the network could not be exported"


@dataclass(frozen=True)
class Terms:
    """The settings given to a runtime.

    `threads` are those inside an operator, `device` is `cpu` or `cuda`; `streams` how
    many calls there are to be at the same time, besides one after the other. Images
    are float32 whatever the format is. `calibration` returns those (N, 3, H, W) that
    int8's scales are taken from.
    """

    runtime: str
    dtype: str
    threads: int
    device: str = "cpu"
    device_index: int | None = None
    streams: int = 0
    calibration: Callable[[], Tensor] | None = None


def threads_per_stream(threads: int, streams: int) -> int:
    """Return the share of the threads that each stream has, at least one."""
    return max(1, threads // max(1, streams))


@dataclass(frozen=True)
class Loaded:
    """A network in a runtime: images (N, 3, H, W) in memory to logits (N, classes).

    `told` is what the runtime was set to, by its own names.
    """

    call: Callable[[Tensor], Tensor]
    told: Mapping[str, str]


class Runtime(Protocol):
    """The module of one runtime."""

    def check(self, terms: Terms) -> None:
        """Raise UsageError where this machine cannot compute what is asked for."""

    def load(self, path: Path, terms: Terms) -> Loaded:
        """Read an ONNX file of one shape of images."""


class Converted(nn.Module):
    """A network that another runtime computes, called like any other of torch's.

    `seconds` is what exporting and loading it took; `beside` are further sessions of
    it, for calls at the same time.
    """

    def __init__(
        self, loaded: Loaded, seconds: float, beside: Sequence[Loaded] = ()
    ) -> None:
        super().__init__()
        self.loaded, self.seconds, self.beside = loaded, seconds, beside

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of images (N, 3, H, W)."""
        return self.loaded.call(images)


def missing_packages(name: str, dtype: str = "float32") -> list[str]:
    """Return the packages that a runtime needs and that are not installed."""
    needed = {*RUNTIMES[name].packages, *([QUANTISER] if dtype == INT8 else [])}
    return [each for each in sorted(needed) if find_spec(each) is None]


def check_runtime(terms: Terms) -> None:
    """Raise UsageError, one line, if a runtime is missing or cannot run here."""
    row = RUNTIMES[terms.runtime]
    if terms.device not in row.devices:
        accepted = f"--device {' or '.join(row.devices)}"
        raise UsageError(f"--runtime {row.name}: expected with {accepted}")
    missing = missing_packages(row.name, terms.dtype)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"--runtime {row.name}: {', '.join(missing)} {verb} not installed: "
            f"pip install {' '.join(missing)}"
        )
    module_of(row.name).check(terms)


def module_of(name: str) -> Runtime:
    """Import the module of a runtime."""
    module: Any = importlib.import_module(f"resnet_bench.engine.runtimes.{name}")
    return cast(Runtime, module)


def convert(
    build: Callable[[], nn.Module],
    shape: tuple[int, ...],
    terms: Terms,
    *,
    apart: bool = False,
) -> Converted:
    """Export the network, on the CPU and in float32, for such images, and load it.

    With `apart` another process builds and exports it, so that this one's memory is
    the runtime's alone.
    """
    began = time.perf_counter()
    with TemporaryDirectory(prefix="resnet-bench-") as folder:
        path = Path(folder) / "network.onnx"

        def make() -> None:
            onnx_files.export(build(), torch.zeros(shape), path)
            if terms.dtype == INT8 and terms.calibration is not None:
                images = terms.calibration()
                # The file takes whole batches alone.
                whole = repeated(images, -(-len(images) // shape[0]) * shape[0])
                onnx_files.quantise(path, torch.split(whole, shape[0]))

        if apart:
            _in_a_child(make)
        else:
            make()
        runtime = module_of(terms.runtime)
        loaded = runtime.load(path, terms)
        seconds = time.perf_counter() - began
        threads = threads_per_stream(terms.threads, terms.streams)
        share = replace(terms, threads=threads)
        beside = [runtime.load(path, share) for _ in range(terms.streams)]
    return Converted(loaded, seconds, beside)


def repeated(images: Tensor, count: int) -> Tensor:
    """Return so many images (count, 3, H, W), the given ones again and again."""
    times = -(-count // len(images))
    return images.repeat(times, 1, 1, 1)[:count]


def _in_a_child(work: Callable[[], None]) -> None:
    """Do the work in a child; what fails there is raised here, in one line.

    Raises MemoryError where memory ran out, and else ResnetBenchError.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            status = _told(work, writing)
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
        reason = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        reason = f"{FAILED}: {signal.Signals(-status).name} ended its process"
    if status:
        raise (MemoryError if status == OUT_OF_MEMORY else ResnetBenchError)(reason)


def _told(work: Callable[[], None], pipe: int) -> int:
    """Do the work; return the status to exit with, the reason written if it failed."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - another process raises it
        reason = " ".join(str(error).split())
        if not isinstance(error, ResnetBenchError):
            reason = f"{FAILED}: {type(error).__name__}: {reason}"
        with os.fdopen(pipe, "w", encoding="utf-8", errors="backslashreplace") as told:
            told.write(reason)
        return OUT_OF_MEMORY if is_out_of_memory(error) else 1
    return 0
