from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from resnet_bench.engine import machine
from resnet_bench.engine.machine import collect, describe_git, machine_key


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    (package / "code.py").write_text("1\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "report.md").write_text("1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    return tmp_path


def facts_of(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "model": "EPYC",
        "instructions": ["avx2"],
        "usable_cores": 2,
        "quota_cores": None,
        "total_bytes": 8 * 2**30,
        "gpu": "H100",
        "clock_mhz": 345,
        "load": 0.1,
    } | changes
    cpu = ("model", "instructions", "usable_cores", "quota_cores")
    return {
        "cpu": {key: facts[key] for key in cpu},
        "memory": {"total_bytes": facts["total_bytes"]},
        "gpus": [{"name": facts["gpu"], "clock_mhz": facts["clock_mhz"]}],
        "load": facts["load"],
    }


def test_environment_survives_json() -> None:
    facts = collect()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["machine_key"] == machine_key(facts)


def test_environment_hides_the_host_name() -> None:
    text = json.dumps(collect()["host"])
    assert platform.node() not in text or not platform.node()


def test_environment_keeps_only_variables_on_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    facts = collect()
    assert facts["variables"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "hunter2" not in json.dumps(facts)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "Xeon"},
        {"instructions": ["avx2", "avx512f"]},
        {"usable_cores": 4},
        {"quota_cores": 2.5},
        {"total_bytes": 16 * 2**30},
        {"gpu": "H200"},
    ],
)
def test_machine_key_changes_with_the_hardware(changes: dict[str, Any]) -> None:
    assert machine_key(facts_of(**changes)) != machine_key(facts_of())


@pytest.mark.parametrize(
    "changes",
    [{"clock_mhz": 1980}, {"load": 7.5}, {"total_bytes": 8 * 2**30 - 2**20}],
)
def test_machine_key_ignores_clocks_load_and_a_few_megabytes(
    changes: dict[str, Any],
) -> None:
    assert machine_key(facts_of(**changes)) == machine_key(facts_of())


def test_commit_of_a_clean_work_tree(work_tree: Path) -> None:
    commit = git(work_tree, "rev-parse", "HEAD").strip()
    assert describe_git(work_tree / "package") == {"commit": commit, "dirty": False}


def test_changed_code_makes_a_work_tree_dirty(work_tree: Path) -> None:
    (work_tree / "package" / "code.py").write_text("2\n")
    assert describe_git(work_tree / "package")["dirty"] is True


def test_results_and_untracked_files_leave_a_work_tree_clean(work_tree: Path) -> None:
    (work_tree / "results" / "report.md").write_text("2\n")
    (work_tree / "notes.txt").write_text("mine\n")
    assert describe_git(work_tree / "package")["dirty"] is False


def test_commit_is_unknown_outside_a_work_tree(tmp_path: Path) -> None:
    assert describe_git(tmp_path) == {"commit": None, "dirty": None}


def test_commit_is_unknown_for_a_package_installed_in_another_work_tree(
    work_tree: Path,
) -> None:
    installed = work_tree / ".venv" / "resnet_bench"
    installed.mkdir(parents=True)
    (installed / "code.py").write_text("1\n")
    assert describe_git(installed) == {"commit": None, "dirty": None}


def test_commit_is_unknown_without_git(
    work_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert describe_git(work_tree / "package") == {"commit": None, "dirty": None}


def test_distribution_is_unknown_where_no_file_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> dict[str, str]:
        raise OSError("no os-release")

    monkeypatch.setattr(platform, "freedesktop_os_release", missing)
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.1", ("", "", ""), "arm64"))
    assert machine._distribution() == "macOS 15.1"


def test_libraries_name_torch_and_its_kernels() -> None:
    versions = machine.describe_libraries()
    assert versions["torch"] == torch.__version__
    # A parent process that reads it must not have to import torch.
    assert type(versions["torch"]) is str
    assert versions["cuda"] == torch.version.cuda
    assert versions["torchvision"]
    assert versions["scikit_learn"]


def test_versions_are_read_from_the_build_description(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = (
        "  - OpenMP 201511 (a.k.a. OpenMP 4.5)\n"
        "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 7\n"
        "  - Intel(R) MKL-DNN v3.7.1 (Git Hash abc)\n"
        "  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release\n"
    )
    monkeypatch.setattr(torch.__config__, "show", lambda: build)
    versions = machine.describe_libraries()
    assert versions["openmp"] == "201511"
    assert versions["mkl"] == "2024.2"
    assert versions["onednn"] == "3.7.1"
    assert versions["blas"] == "mkl"


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert machine.installed_version("no-such-distribution") is None


def test_a_build_without_cudnn_has_no_version_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: None)
    assert machine.describe_libraries()["cudnn"] is None


def test_torch_settings_follow_the_process() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    assert machine.describe_torch()["threads"] == before + 1


def test_flushing_of_denormals_is_found_out_by_trying() -> None:
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush denormals")
    assert machine.flushes_denormals()
    torch.set_flush_denormal(False)
    assert not machine.flushes_denormals()


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
    sliced = False

    def nvmlInit(self) -> None:  # noqa: N802 - the library's own name
        if not self.driver_runs:
            raise FakeError("no driver")
        self.open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:  # noqa: N802
        return [int(self.sliced), 0]

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
    first, second = machine.describe_gpus()
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


@pytest.mark.parametrize("shown", ["MIG-1234", ""])
def test_slices_of_a_gpu_are_told_by_torch(
    shown: str, library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.sliced = not shown
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    monkeypatch.setattr(machine, "_from_torch", lambda: [{"name": "GPU MIG 1g.10gb"}])
    assert machine.describe_gpus() == [{"name": "GPU MIG 1g.10gb"}]


@pytest.mark.usefixtures("no_nvidia_smi")
def test_the_library_without_a_driver_is_no_gpu(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "driver_runs", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.describe_gpus() == []


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
    first, second = machine.describe_gpus()
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
    (row,) = machine.describe_gpus()
    unknown = ("memory_bytes", "clock_mhz", "maximum_clock_mhz", "power_limit_watts")
    assert [row[key] for key in unknown] == [None] * len(unknown)
    assert row["maximum_memory_clock_mhz"] == 877.0


@pytest.mark.usefixtures("no_nvidia_smi")
def test_no_gpu_is_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.describe_gpus() == []


@pytest.mark.usefixtures("no_nvidia_smi")
def test_gpus_come_from_torch_without_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    properties = SimpleNamespace(name="Instinct", total_memory=64, major=9, minor=4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    (row,) = machine.describe_gpus()
    assert row["name"] == "Instinct"
    assert row["memory_bytes"] == 64
    assert row["compute_capability"] == "9.4"
    assert row["driver"] is None
