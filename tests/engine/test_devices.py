from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from resnet_bench.engine import devices
from resnet_bench.engine.devices import Device, check_dtype, choose, is_out_of_memory
from resnet_bench.engine.machine import float32_precision
from resnet_bench.engine.timing.clock import EventClock, WallClock
from resnet_bench.errors import UsageError
from tests.engine.fake_cuda import FakeCuda


@pytest.fixture
def settings_kept() -> Iterator[None]:
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.benchmark = benchmark
    devices.set_float32_precision(tf32=False)


def test_auto_prefers_cuda() -> None:
    assert choose("auto", FakeCuda(gpus=2)).name == "cuda:0"
    assert choose("auto", FakeCuda(gpus=0)).name == "cpu"


def test_a_gpu_can_be_named_by_its_index() -> None:
    assert choose("cuda:1", FakeCuda(gpus=2)).name == "cuda:1"
    assert choose("cuda", FakeCuda(gpus=2)).name == "cuda:0"
    assert choose("cpu", FakeCuda(gpus=2)).name == "cpu"


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_asking_for_cuda_without_a_gpu_never_takes_the_cpu(name: str) -> None:
    with pytest.raises(UsageError, match=rf"--device {name}: .*sees 0"):
        choose(name, FakeCuda(gpus=0))


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:1", "mps"])
def test_an_unknown_device_is_refused_with_what_is_accepted(name: str) -> None:
    with pytest.raises(UsageError, match=rf"--device {name}: .*auto, cpu, cuda"):
        choose(name, FakeCuda(gpus=2))


def test_clock_of_the_selected_device_is_synchronised_not_that_of_the_machine() -> None:
    assert Device("cpu").clock == WallClock(None)
    assert Device("cpu").device_clock is None
    gpu = Device("cuda", 0, FakeCuda())
    assert gpu.clock.asynchronous
    assert gpu.device_clock is not None
    assert gpu.device_clock(0.5) == EventClock(0.5, gpu.cuda)


def test_synchronising_a_gpu_waits_for_its_work() -> None:
    cuda = FakeCuda()
    cuda.launch(3.0)
    Device("cuda", 0, cuda).synchronise()
    assert cuda.host == 3.0


def test_synchronising_the_cpu_touches_no_gpu() -> None:
    cuda = FakeCuda()
    cuda.launch(3.0)
    Device("cpu", None, cuda).synchronise()
    assert cuda.host == 0.0


@pytest.mark.usefixtures("settings_kept")
def test_threads_within_operators_are_set_and_read_back() -> None:
    between = torch.get_num_interop_threads()
    observed = devices.settle(Device("cpu"), threads=2, tf32=False)
    assert observed.threads == torch.get_num_threads() == 2
    assert observed.interop_threads == between


@pytest.mark.usefixtures("settings_kept")
def test_float32_is_not_rounded_to_tf32_unless_asked_for() -> None:
    gpu = Device("cuda", 0, FakeCuda())
    devices.set_float32_precision(tf32=True)
    assert devices.settle(gpu, threads=1, tf32=False).tf32 is False
    assert "tf32" not in float32_precision().values()
    assert devices.settle(gpu, threads=1, tf32=True).tf32 is True


@pytest.mark.usefixtures("settings_kept")
@pytest.mark.parametrize("tf32", [True, False])
def test_the_older_names_of_the_precision_can_be_read_as_compiling_does(
    tf32: bool,
) -> None:
    devices.settle(Device("cuda", 0, FakeCuda()), threads=1, tf32=not tf32)
    devices.settle(Device("cuda", 0, FakeCuda()), threads=1, tf32=tf32)
    assert torch.backends.cuda.matmul.allow_tf32 is tf32
    assert torch.backends.cudnn.allow_tf32 is tf32
    assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")


@pytest.mark.usefixtures("settings_kept")
def test_a_training_uses_the_gpu_that_it_names_and_does_not_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = FakeCuda(gpus=2)
    monkeypatch.setattr(devices, "choose", lambda name: choose(name, cuda))
    devices.set_float32_precision(tf32=True)
    device = devices.for_training("cuda:1")
    assert cuda.chosen == 1
    assert not device.rounds_to_tf32


@pytest.mark.usefixtures("settings_kept")
def test_the_chosen_gpu_becomes_current_and_cudnn_tries_its_algorithms() -> None:
    cuda = FakeCuda(gpus=3)
    observed = devices.settle(Device("cuda", 2, cuda), threads=1, tf32=False)
    assert cuda.chosen == 2
    assert observed.cudnn_benchmark


@pytest.mark.usefixtures("settings_kept")
def test_tiny_numbers_are_flushed_to_zero_where_the_processor_can() -> None:
    observed = devices.settle(Device("cpu"), threads=1, tf32=False)
    product = torch.tensor([1e-30]) * torch.tensor([1e-10])
    assert observed.denormals_flushed is (product.item() == 0.0)


def test_float32_and_bfloat16_can_be_computed_on_the_cpu() -> None:
    check_dtype(Device("cpu"), "float32")
    check_dtype(Device("cpu"), "bfloat16")


def test_a_format_that_the_device_cannot_compute_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--dtype float16: .*nowhere can compute"):
        check_dtype(Device("nowhere"), "float16")


def test_a_failed_allocation_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


@pytest.mark.parametrize(
    "message",
    [
        "FIND was unable to find an engine to execute this computation",
        "GET was unable to find an engine to execute this computation",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_libraries_of_cuda_without_memory_are_known(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))
