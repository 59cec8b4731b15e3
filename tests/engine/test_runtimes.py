"""Other runtimes; what needs the extra `runtimes` is skipped without it."""

from __future__ import annotations

import importlib
import logging
import os
import signal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resnet_bench.catalogue import RUNTIMES, TORCH
from resnet_bench.engine import devices
from resnet_bench.engine.devices import Device
from resnet_bench.engine.models.resnets import seeded
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.runtimes import base, onnx_files
from resnet_bench.engine.runtimes.base import (
    Converted,
    Loaded,
    Terms,
    check_runtime,
    convert,
    missing_packages,
)
from resnet_bench.engine.timing.streams import common_rate
from resnet_bench.errors import ResnetBenchError, UsageError
from resnet_bench.experiments.speed import run as speed
from resnet_bench.experiments.speed.cells import (
    MEMORY_INFERENCE,
    TIME,
    PeakMemory,
    SpeedCell,
    SpeedSamples,
)
from resnet_bench.experiments.speed.grid import expand
from resnet_bench.experiments.speed.spec import Config
from tests.engine.tiny_networks import tiny

OTHERS = [name for name in RUNTIMES if name != TORCH]
SHAPE = (2, 3, 8, 8)
needs_extra = pytest.mark.skipif(
    any(map(missing_packages, OTHERS)), reason="needs the extra runtimes"
)


def cell_of(measure: str, runtime: str, **options: Any) -> SpeedCell:
    config = Config(
        model=("tests.engine.tiny_networks:tiny",),
        device="cpu",
        batch_size=(2,),
        image_size=(8,),
        runtime=(runtime,),
        budget=0.05,
        **{"threads": (1,), **options},
    )
    cells = expand(speed.prepare(config))
    return next(cell for cell in cells if cell.measure == measure)


def visit(cell: SpeedCell) -> SpeedSamples:
    (record,) = islice(speed.run(cell, Ranks()), 1)
    assert isinstance(record, SpeedSamples)
    return record


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this package alone be missing, whatever is installed here."""
    present = importlib.util.find_spec("json")
    monkeypatch.setattr(
        base, "find_spec", lambda name: None if name == package else present
    )


def test_a_missing_runtime_is_one_line_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without("openvino", monkeypatch)
    with pytest.raises(
        UsageError, match="openvino is not installed: pip install openvino"
    ):
        check_runtime(Terms("openvino", "float32", 1))


def test_a_missing_runtime_is_left_out_of_the_ladder_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without("onnx", monkeypatch)
    config = Config(variants=(18,), ladder=True, device="cpu", mode="infer")
    refused = dict(speed.prepare(config).unsupported)
    rungs = {name for name in refused if "pip install" in refused[name]}
    assert {"onnxruntime", "openvino", "openvino-bfloat16"} <= rungs


def test_a_runtime_is_refused_where_it_has_no_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told first: installing it would not help."""
    without("openvino", monkeypatch)
    with pytest.raises(UsageError, match=r"openvino: expected with --device cpu"):
        check_runtime(Terms("openvino", "float32", 1, "cuda", 0))


@needs_extra
def test_a_build_without_cuda_is_left_out_on_a_gpu_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPU"])
    with pytest.raises(UsageError, match=r"onnxruntime: .*onnxruntime-gpu$"):
        check_runtime(Terms("onnxruntime", "float32", 1, "cuda", 0))
    monkeypatch.setattr(devices, "check_dtype", lambda *_: None)
    monkeypatch.setattr(speed, "check_compiler", lambda _: None)
    refused = dict(speed._unsupported(Device("cuda", 0), "infer"))
    assert "onnxruntime-gpu" in refused["onnxruntime"]
    assert "expected float32" in refused["onnxruntime-int8"]
    assert "--device cpu" in refused["openvino-int8"]


@needs_extra
def test_a_provider_that_does_not_start_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = importlib.import_module("onnxruntime").InferenceSession

    def on_cpu(path: Path, options: Any, _: Any) -> Any:
        """Fall back in silence, as it does without CUDA's libraries."""
        return started(path, options, ["CPUExecutionProvider"])

    monkeypatch.setattr("onnxruntime.InferenceSession", on_cpu)
    path = tmp_path / "network.onnx"
    onnx_files.export(tiny(), torch.zeros(SHAPE), path)
    terms = Terms("onnxruntime", "float32", 1, "cuda", 0)
    with pytest.raises(ResnetBenchError, match="CUDA provider does not start"):
        base.module_of("onnxruntime").load(path, terms)


@needs_extra
@pytest.mark.parametrize("runtime", OTHERS)
def test_a_runtime_computes_what_torch_does(runtime: str) -> None:
    model = seeded(tiny, 0).eval()
    images = torch.randn(SHAPE)
    made = convert(lambda: model, SHAPE, Terms(runtime, "float32", 1))
    with torch.inference_mode():
        torch.testing.assert_close(made(images), model(images), rtol=1e-4, atol=1e-5)
    assert made.seconds > 0
    assert "1" in made.loaded.told.values()  # the threads


@needs_extra
@pytest.mark.parametrize("runtime", OTHERS)
def test_a_cell_of_a_runtime_is_timed_and_compared(runtime: str) -> None:
    record = visit(cell_of(TIME, runtime))
    assert record.inference_seconds
    assert not record.step_seconds
    assert record.logit_error is not None
    assert record.logit_error < 1e-4
    assert record.top1_agreement == 1.0
    assert record.conversion_seconds is not None
    assert record.told


@needs_extra
def test_memory_of_a_runtime_is_measured_without_the_export() -> None:
    (record,) = speed.run(cell_of(MEMORY_INFERENCE, "onnxruntime"), Ranks())
    assert isinstance(record, PeakMemory)


@needs_extra
def test_a_broken_export_is_caught_by_the_logits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported = onnx_files.export

    def without_batch_norm(model: nn.Module, *rest: Any) -> None:
        layers = list(model.children())
        exported(nn.Sequential(layers[0], *layers[2:]), *rest)

    monkeypatch.setattr(onnx_files, "export", without_batch_norm)
    error = visit(cell_of(TIME, "onnxruntime")).logit_error
    assert error is not None
    assert error > 1e-3


def test_an_answer_is_compared_whatever_the_runtime_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def upside_down(build: Any, shape: Any, terms: Terms, **_: Any) -> Converted:
        model = build()
        return Converted(Loaded(lambda images: -model(images), {}), 1.0)

    cell = cell_of(TIME, TORCH, mode="infer")
    monkeypatch.setattr("resnet_bench.engine.timing.phases.convert", upside_down)
    fields = {**cell.parameters, "runtime": "onnxruntime"}
    record = visit(SpeedCell(**fields))
    assert record.logit_error == pytest.approx(2.0)
    assert record.conversion_seconds == 1.0


def test_an_export_that_fails_is_an_error() -> None:
    def broken() -> nn.Module:
        raise ValueError("no such network")

    with pytest.raises(ResnetBenchError, match="exported: ValueError: no such network"):
        convert(broken, SHAPE, Terms("onnxruntime", "float32", 1), apart=True)


def test_an_export_that_fails_with_a_strange_text_is_an_error() -> None:
    def broken() -> nn.Module:
        raise ValueError("not \udcff UTF-8")

    with pytest.raises(ResnetBenchError, match="exported: ValueError: not"):
        convert(broken, SHAPE, Terms("onnxruntime", "float32", 1), apart=True)


def test_an_export_that_lacks_memory_says_so() -> None:
    def large() -> nn.Module:
        raise MemoryError

    with pytest.raises(MemoryError):
        convert(large, SHAPE, Terms("onnxruntime", "float32", 1), apart=True)


def test_an_export_that_is_killed_is_an_error() -> None:
    def killed() -> nn.Module:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with pytest.raises(ResnetBenchError, match="exported: SIGKILL"):
        convert(killed, SHAPE, Terms("onnxruntime", "float32", 1), apart=True)


class Branching(nn.Module):
    """A network whose way depends on its images, which no file can hold."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))


@needs_extra
@pytest.mark.parametrize("apart", [False, True])
def test_a_network_that_torch_cannot_export_is_one_line(apart: bool) -> None:
    terms = Terms("onnxruntime", "float32", 1)
    with pytest.raises(ResnetBenchError, match=r"^torch cannot export .*: Could not"):
        convert(Branching, SHAPE, terms, apart=apart)


@needs_extra
def test_loggers_are_as_they_were_after_an_export() -> None:
    loggers = [logging.getLogger(), logging.getLogger("torch.onnx")]
    before = [each.level for each in loggers]
    terms = Terms("onnxruntime", "int8", 1, calibration=lambda: torch.randn(SHAPE))
    convert(lambda: seeded(tiny, 0), SHAPE, terms)
    assert [each.level for each in loggers] == before


@needs_extra
@pytest.mark.parametrize("runtime", OTHERS)
def test_int8_stays_near_float32(runtime: str) -> None:
    record = visit(cell_of(TIME, runtime, dtype=("int8",)))
    assert record.logit_error is not None
    assert 1e-4 < record.logit_error < 0.3
    assert record.weights_origin == "as built"


@needs_extra
@pytest.mark.parametrize("batch_size", [3, 6])
def test_int8_takes_a_batch_that_calibration_images_do_not_fill(
    batch_size: int,
) -> None:
    images = torch.randn(batch_size, *SHAPE[1:])
    terms = Terms("onnxruntime", "int8", 1, calibration=lambda: torch.randn(5, 3, 8, 8))
    made = convert(lambda: seeded(tiny, 0), tuple(images.shape), terms)
    assert len(made(images)) == batch_size


@needs_extra
def test_calls_at_the_same_time_have_a_session_each() -> None:
    record = visit(cell_of(TIME, "onnxruntime", streams=2, threads=(2,)))
    (rate,) = record.streams_images_per_second
    assert rate > 0
    assert not visit(cell_of(TIME, "onnxruntime")).streams_images_per_second


def test_torch_is_called_at_the_same_time_too() -> None:
    record = visit(cell_of(TIME, TORCH, streams=2, threads=(2,), mode="infer"))
    (rate,) = record.streams_images_per_second
    assert rate > 0
    assert torch.get_num_threads() == 2


def test_more_streams_than_threads_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--streams 3: .*threads \(2\)"):
        cell_of(TIME, TORCH, streams=3, threads=(2,), mode="infer")


def test_streams_are_counted_while_all_of_them_call() -> None:
    """The second ends at 4.0, when the first is halfway through its third call."""
    assert common_rate(1.0, [[2.0, 3.0, 5.0], [2.5, 4.0]]) == pytest.approx(4.5 / 3)
    assert common_rate(0.0, [[1.0], [1.0]]) == pytest.approx(2.0)
