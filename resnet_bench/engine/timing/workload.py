"""A model with everything needed to time it or measure its memory."""

import logging
import os
import resource
import shutil
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from resnet_bench.engine.devices import Device
from resnet_bench.engine.models.resnets import Builder, seeded
from resnet_bench.engine.models.work import Work, work_of
from resnet_bench.engine.runtimes.base import Converted, convert
from resnet_bench.engine.timing.clock import Clock
from resnet_bench.engine.timing.phases import (
    Inference,
    MarkedStep,
    Setting,
    SplitStep,
    Training,
    WholeStep,
    make_batch,
    place,
)
from resnet_bench.engine.timing.sampling import Unit
from resnet_bench.errors import UsageError

#: Unit of `ru_maxrss` (getrusage(2)): kibibytes on Linux, bytes on macOS.
RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024

Wrap = Callable[[nn.Module], nn.Module]

#: Where torch.compile keeps what it compiled (torch/_inductor/runtime/cache_dir).
COMPILE_CACHE = "TORCHINDUCTOR_CACHE_DIR"

#: Enough calls for momentum to exist: a third raises no mark (ResNet-18 and 50 on the
#: CPU, training and inference).
MEMORY_CALLS = 2


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model as it is: one process, one device."""
    return model


@dataclass(frozen=True)
class Workload:
    """What can be called: training steps, inference, or both."""

    work: Work
    training: Training | None
    inference: Inference | None

    @property
    def trained(self) -> Training:
        """What trains; raises ValueError where nothing does."""
        if self.training is None:
            raise ValueError("this workload does not train")
        return self.training

    @property
    def converted(self) -> Converted | None:
        """The network in another runtime; None where torch runs it."""
        model = self.inference.model if self.inference else None
        return model if isinstance(model, Converted) else None

    @property
    def units(self) -> tuple[Unit, ...]:
        """What a visit takes in turns."""
        units: list[Unit] = []
        if self.training is not None:
            if self.training.setting.device.is_cuda:
                units += [SplitStep(self.training), WholeStep(self.training)]
            else:
                units.append(MarkedStep(self.training))
        if self.inference is not None:
            units.append(self.inference)
        return tuple(units)

    def rest(self) -> None:
        """Let go of gradients until the next visit; other cells need the memory."""
        if self.training is not None:
            self.training.forget()

    def first_step(self, clock: Clock) -> float | None:
        """Make the very first training step; returns its seconds."""
        return _first(WholeStep(self.training), clock) if self.training else None

    def first_inference(self, clock: Clock) -> float | None:
        """Make the very first inference; returns its seconds."""
        return _first(self.inference, clock) if self.inference else None


def _first(unit: Unit, clock: Clock) -> float:
    return sum(unit.call(clock))


def make_workload(
    model: nn.Module,
    setting: Setting,
    *,
    trains: bool,
    infers: bool,
    wrap: Wrap = unwrapped,
) -> Workload:
    """Place the model, make its inputs, and what calls it.

    `wrap` makes the model one of several ranks. Nothing is called yet.
    """
    work = work_of(model, setting.image_size)
    batch = make_batch(setting, work.classes)
    placed = wrap(place(model, setting))
    return Workload(
        work=work,
        training=Training(placed, batch, setting) if trains else None,
        inference=Inference(placed, batch, setting) if infers else None,
    )


def memory_unit(build: Builder, setting: Setting, *, trains: bool) -> Unit:
    """Build the model and return its steps, or inferences, and nothing else."""
    model = placed_alone(build, setting)
    # Which classes the targets name changes no byte, so they need not be counted.
    batch = make_batch(setting, classes=1)
    if trains:
        return WholeStep(Training(model, batch, setting))
    return Inference(model, batch, setting)


def placed_alone(build: Builder, setting: Setting) -> nn.Module:
    """Build and place the model; another runtime's file is made by another process."""
    if setting.runtime is None:
        return place(seeded(build, setting.seed), setting)
    return convert(
        lambda: seeded(build, setting.seed), setting.shape, setting.runtime, apart=True
    )


def rehearse(setting: Setting, *, trains: bool) -> None:
    """Run a tiny model once, so that libraries have loaded what they load lazily.

    Otherwise their share would count as the model's memory.
    """
    runtime = setting.runtime and replace(setting.runtime, dtype="float32")
    tiny = replace(
        setting, batch_size=2, image_size=16, compiled=False, runtime=runtime
    )
    unit = memory_unit(_tiny_model, tiny, trains=trains)
    _call(unit, MEMORY_CALLS)


def _tiny_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


@dataclass(frozen=True)
class Peak:
    """A high-water mark in bytes above the one before the work; None if unknown.

    `reserved_bytes` is what the GPU's allocator held, and `first_bytes` the mark of
    the first call, in which cuDNN tries its algorithms out; both None on the CPU.
    """

    peak_bytes: int | None
    reserved_bytes: int | None
    baseline_bytes: int | None
    first_bytes: int | None = None


def resident_high_water() -> int:
    """Return the most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT_UNIT


def peak_of(
    work: Callable[[], object], high_water: Callable[[], int] = resident_high_water
) -> Peak:
    """Do the work on the CPU and return how far it raised the high-water mark.

    The process must be fresh: a mark that earlier work left high hides what this one
    needs. A mark that did not move tells nothing, so it is unknown and not 0.
    """
    baseline = high_water()
    work()
    risen = high_water() - baseline
    return Peak(risen if risen > 0 else None, None, baseline)


def peak_of_calls(make: Callable[[], Unit], device: Device) -> Peak:
    """Make something that can be called, call it, and return the high-water mark.

    On CUDA the allocator's peaks are read, of the calls after the first one.
    """
    if not device.is_cuda:
        return peak_of(lambda: _call(make(), MEMORY_CALLS))
    cuda, index = device.cuda, device.index
    cuda.reset_peak_memory_stats(index)
    baseline = cuda.memory_allocated(index)
    unit = make()
    _call(unit, 1)
    device.synchronise()
    first = cuda.max_memory_allocated(index) - baseline
    device.release()
    cuda.reset_peak_memory_stats(index)
    _call(unit, MEMORY_CALLS)
    device.synchronise()
    peak = cuda.max_memory_allocated(index) - baseline
    reserved = cuda.max_memory_reserved(index)
    return Peak(peak or None, reserved or None, baseline, first or None)


def _call(unit: Unit, times: int) -> None:
    for _ in range(times):
        unit.work()


@contextmanager
def cold_compile_cache() -> Iterator[None]:
    """Let torch.compile start from an empty cache, which is removed afterwards.

    Otherwise what a first call reports is how fast an old result is read.
    """
    before = os.environ.get(COMPILE_CACHE)
    folder = tempfile.mkdtemp(prefix="resnet-bench-compile-")
    os.environ[COMPILE_CACHE] = folder
    torch.compiler.reset()
    try:
        yield
    finally:
        os.environ.pop(COMPILE_CACHE)
        if before is not None:
            os.environ[COMPILE_CACHE] = before
        shutil.rmtree(folder, ignore_errors=True)


_SCHEMES = (sysconfig.get_default_scheme(), "posix_prefix")


def hush_compiler() -> None:
    """Keep torch's remarks on what it compiles off stderr; errors still appear.

    TORCH_LOGS, where it is set, still decides what torch logs.
    """
    torch._logging.set_logs(all=logging.ERROR)  # type: ignore[attr-defined]
    # Torch's C++ builder complains of a missing GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    for module in (r"torch\._inductor", r"torch\._dynamo", r"torch\._functorch"):
        warnings.filterwarnings("ignore", module=module)


def check_compiler(device_kind: str) -> None:
    """Raise UsageError where torch.compile would lack what it needs.

    On the CPU it writes C++; on CUDA Triton compiles its launcher in C. Both include
    Python's headers. Compiling to find out would take up to a minute.
    """
    on_cuda = device_kind == "cuda"
    languages = {
        "C": [os.environ.get("CC", "cc"), "gcc", "clang"],
        "C++": [os.environ.get("CXX", "c++"), "g++", "clang++"],
    }
    language = "C" if on_cuda else "C++"
    # Debian's Python names another folder first, in which its headers are not.
    folders = [sysconfig.get_path("include", each) for each in _SCHEMES]
    missing = []
    if not any(map(shutil.which, languages[language])):
        names = " or ".join(languages[language][1:])
        missing.append(f"a {language} compiler on the path ({names})")
    if not any((Path(folder) / "Python.h").is_file() for folder in folders):
        missing.append(f"Python's headers (Python.h in {folders[0]})")
    if on_cuda and find_spec("triton") is None:
        missing.append("the package triton")
    if missing:
        raise UsageError(
            f"--compile: expected {' and '.join(missing)}; install what is missing or "
            "leave --compile out"
        )
