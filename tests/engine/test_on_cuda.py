"""What only a CUDA device can show, in a few seconds; `pytest -m gpu` runs it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from resnet_bench.engine import devices
from resnet_bench.engine.data.splits import Split
from resnet_bench.engine.devices import Device
from resnet_bench.engine.timing.conditions import gpu_state
from resnet_bench.engine.timing.phases import Inference, Setting, make_batch
from resnet_bench.engine.timing.workload import memory_unit, peak_of_calls
from resnet_bench.engine.training.trainer import Schedule, Trainer, TrainingPlan
from tests.engine.tiny_networks import tiny
from tests.engine.training.test_trainer import NEUTRAL, network, split

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

GPU = Device("cuda", 0)


@pytest.fixture(autouse=True)
def float32() -> None:
    devices.settle(GPU, threads=torch.get_num_threads(), tf32=False)


def trained(*, graphs: Any) -> tuple[nn.Module, list[float | None]]:
    plan = TrainingPlan(
        schedule=Schedule(shape="one-cycle", steps=50, peak=0.05),
        batch_size=16,
        augmentation="crop-flip",
        keep_last_batch=True,
        channels_last=True,
    )
    data: Split = split().to(GPU.torch)
    trainer = Trainer(network().to(GPU.torch), data, NEUTRAL, plan, graphs=graphs)
    trainer.prepare()
    trainer.train()
    return trainer.model, [point.loss for point in trainer.curve]


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    # cuBLAS needs a fixed workspace for deterministic matrix products.
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


@pytest.mark.usefixtures("deterministic")
def test_replayed_steps_give_the_bits_of_steps_one_by_one() -> None:
    (eager, losses), (replayed, same) = (trained(graphs=g) for g in (None, torch.cuda))
    assert losses == same
    for name, value in eager.state_dict().items():
        assert torch.equal(value, replayed.state_dict()[name]), name


def test_the_gpus_own_clock_leaves_the_hosts_time_out() -> None:
    setting = Setting(GPU, batch_size=2, image_size=32)
    model = tiny().to(GPU.torch)
    inference = Inference(model, make_batch(setting, classes=5), setting)
    for _ in range(10):
        inference.work()
    assert GPU.device_clock is not None
    (own,) = inference.call(GPU.device_clock(0.01))
    (wall,) = inference.call(GPU.clock)
    assert 0 < own < wall


def test_peak_memory_is_that_of_the_tensors() -> None:
    setting = Setting(GPU, batch_size=64, image_size=64)
    peak = peak_of_calls(lambda: memory_unit(tiny, setting, trains=True), GPU)
    images = 64 * 3 * 64 * 64 * 4
    assert peak.peak_bytes is not None
    assert peak.first_bytes is not None
    assert images < peak.peak_bytes < 100 * images


def test_the_driver_tells_the_clock_of_this_gpu() -> None:
    pytest.importorskip("pynvml")
    assert (gpu_state(0).clock_mhz or 0) > 0


def test_memory_that_runs_out_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**45, dtype=torch.uint8, device=GPU.torch)
    assert devices.is_out_of_memory(caught.value)


@pytest.mark.parametrize("tf32", [True, False])
def test_products_round_to_tf32_only_when_they_may(tf32: bool) -> None:
    devices.settle(GPU, threads=1, tf32=tf32)
    left, right = (torch.randn(256, 256, device=GPU.torch) for _ in range(2))
    exact = (left.double() @ right.double()).float()
    error = ((left @ right - exact).norm() / exact.norm()).item()
    assert (error > 1e-5) is tf32
