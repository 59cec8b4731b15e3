from __future__ import annotations

import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from resnet_bench.engine import machine as gpu

H100 = "NVIDIA H100 80GB HBM3, 81559, 570.86.15, 9.0, 345, 1980, 2619, 700.00\n"


class FakeError(Exception):
    pass


class FakeLibrary(ModuleType):
    """Stands in for pynvml: two GPUs whose driver keeps their clocks back."""

    NVMLError = FakeError
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    open = False
    driver_runs = True

    def nvmlInit(self) -> None:  # noqa: N802 - the library's own name
        if not self.driver_runs:
            raise FakeError("no driver")
        self.open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.86.15"

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return f"GPU {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> object:  # noqa: N802
        return SimpleNamespace(total=80 * 2**30)

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> object:  # noqa: N802
        return (9, 0)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:  # noqa: N802
        return 700_000

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        raise FakeError("not supported")

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        return {self.NVML_CLOCK_SM: 1980, self.NVML_CLOCK_MEM: 2619}[kind]


@pytest.fixture(autouse=True)
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the extra be missing, as it may be where the tests run."""
    monkeypatch.setitem(sys.modules, "pynvml", None)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    fake = FakeLibrary("pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_gpus_come_from_the_library_where_it_is_installed(
    library: FakeLibrary,
) -> None:
    first, second = gpu.describe_gpus()
    assert (first["name"], second["name"]) == ("GPU 0", "GPU 1")
    assert first == {
        "name": "GPU 0",
        "memory_bytes": 80 * 2**30,
        "driver": "570.86.15",
        "compute_capability": "9.0",
        "clock_mhz": None,
        "maximum_clock_mhz": 1980,
        "maximum_memory_clock_mhz": 2619,
        "power_limit_watts": 700.0,
    }
    assert not library.open


@pytest.mark.usefixtures("no_nvidia_smi")
def test_the_library_without_a_driver_is_no_gpu(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "driver_runs", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.describe_gpus() == []


@pytest.fixture
def no_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **options: object) -> object:
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", missing)


def answer_with(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def answer(*arguments: object, **options: object) -> object:
        return subprocess.CompletedProcess([], 0, stdout=text)

    monkeypatch.setattr(subprocess, "run", answer)


def test_gpus_come_from_nvidia_smi_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, H100 * 2)
    first, second = gpu.describe_gpus()
    assert first == second
    assert first == {
        "name": "NVIDIA H100 80GB HBM3",
        "memory_bytes": 81559 * 2**20,
        "driver": "570.86.15",
        "compute_capability": "9.0",
        "clock_mhz": 345.0,
        "maximum_clock_mhz": 1980.0,
        "maximum_memory_clock_mhz": 2619.0,
        "power_limit_watts": 700.0,
    }


def test_gpu_values_the_driver_keeps_back_are_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "GRID V100, [N/A], 550.1, 7.0, [Not Supported], Unknown, 877, [N/A]\n"
    answer_with(monkeypatch, line)
    (row,) = gpu.describe_gpus()
    unknown = ("memory_bytes", "clock_mhz", "maximum_clock_mhz", "power_limit_watts")
    assert [row[key] for key in unknown] == [None] * len(unknown)
    assert row["maximum_memory_clock_mhz"] == 877.0


@pytest.mark.usefixtures("no_nvidia_smi")
def test_no_gpu_is_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.describe_gpus() == []


@pytest.mark.usefixtures("no_nvidia_smi")
def test_gpus_come_from_torch_without_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    properties = SimpleNamespace(name="Instinct", total_memory=64, major=9, minor=4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    (row,) = gpu.describe_gpus()
    assert row["name"] == "Instinct"
    assert row["memory_bytes"] == 64
    assert row["compute_capability"] == "9.4"
    assert row["driver"] is None
