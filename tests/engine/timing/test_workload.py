from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from resnet_bench.engine.devices import Device
from resnet_bench.engine.timing.clock import WallClock
from resnet_bench.engine.timing.phases import Setting, SplitStep
from resnet_bench.engine.timing.workload import (
    COMPILE_CACHE,
    Peak,
    check_compiler,
    cold_compile_cache,
    make_workload,
    peak_of,
    rehearse,
    resident_high_water,
    use_memory,
)
from resnet_bench.errors import UsageError
from tests.engine.fake_cuda import FakeCuda
from tests.engine.tiny_networks import Counting, tiny

SETTING = Setting(Device("cpu"), batch_size=4, image_size=8)


def test_building_calls_nothing_so_that_the_first_call_is_the_first() -> None:
    model = Counting()
    workload = make_workload(model, SETTING, trains=True, infers=True)
    # Counting the work ran a copy, whose calls are not the model's.
    assert model.calls == []
    workload.first_step(WallClock())
    workload.first_inference(WallClock())
    assert model.calls == [(True, True), (False, False)]


@pytest.mark.parametrize(
    ("trains", "infers", "phases"),
    [
        (True, True, [*SplitStep.phases, "step", "inference"]),
        (True, False, [*SplitStep.phases, "step"]),
        (False, True, ["inference"]),
    ],
)
def test_a_workload_holds_what_was_asked_for(
    trains: bool, infers: bool, phases: list[str]
) -> None:
    workload = make_workload(tiny(), SETTING, trains=trains, infers=infers)
    assert [phase for unit in workload.units for phase in unit.phases] == phases


def test_what_was_not_asked_for_has_no_first_call() -> None:
    workload = make_workload(tiny(), SETTING, trains=False, infers=False)
    assert workload.first_step(WallClock()) is None
    assert workload.first_inference(WallClock()) is None


def test_targets_are_classes_that_the_model_knows() -> None:
    workload = make_workload(tiny(), SETTING, trains=True, infers=False)
    assert workload.training is not None
    assert workload.training.batch.targets.min() >= 0
    assert workload.training.batch.targets.max() < workload.work.classes == 5


def test_a_workload_that_does_not_train_has_nothing_trained() -> None:
    workload = make_workload(tiny(), SETTING, trains=False, infers=True)
    with pytest.raises(ValueError, match="does not train"):
        _ = workload.trained


def test_a_resting_workload_holds_no_gradients() -> None:
    workload = make_workload(tiny(), SETTING, trains=True, infers=False)
    assert workload.training is not None
    workload.first_step(WallClock())
    workload.rest()
    assert all(each.grad is None for each in workload.training.model.parameters())
    make_workload(tiny(), SETTING, trains=False, infers=True).rest()


@pytest.mark.parametrize("trains", [True, False])
def test_a_memory_pass_makes_several_calls_of_one_kind(trains: bool) -> None:
    model = Counting()
    use_memory(lambda: model, SETTING, trains=trains)
    assert model.calls == [(trains, trains)] * 3


def test_a_rehearsal_never_compiles() -> None:
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    rehearse(Setting(Device("cpu"), 4, 8, compiled=True), trains=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before


def test_compilation_starts_from_an_empty_cache_that_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(COMPILE_CACHE, "mine")
    with cold_compile_cache():
        folder = Path(os.environ[COMPILE_CACHE])
        assert list(folder.iterdir()) == []
        (folder / "compiled").touch()
    assert os.environ[COMPILE_CACHE] == "mine"
    assert not folder.exists()


def test_the_cache_is_put_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(COMPILE_CACHE, raising=False)
    with pytest.raises(ValueError, match="inside"), cold_compile_cache():
        raise ValueError("inside")
    assert COMPILE_CACHE not in os.environ


def test_compiling_for_the_cpu_needs_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    check_compiler("cuda")
    with pytest.raises(UsageError, match="--compile: expected a C\\+\\+ compiler"):
        check_compiler("cpu")
    (tmp_path / "g++").touch(mode=0o755)
    check_compiler("cpu")


def test_peak_on_the_cpu_is_the_rise_of_the_high_water_mark() -> None:
    marks = iter([1000, 1750])
    peak = peak_of(lambda: None, Device("cpu"), lambda: next(marks))
    assert peak == Peak(peak_bytes=750, reserved_bytes=None, baseline_bytes=1000)


def test_a_mark_that_did_not_move_is_unknown_and_not_zero() -> None:
    assert peak_of(lambda: None, Device("cpu"), lambda: 1000).peak_bytes is None


def test_peak_of_a_gpu_is_the_highest_point_and_not_what_is_left() -> None:
    cuda = FakeCuda(allocated=100, peak_allocated=9999)

    def work() -> None:
        cuda.allocate(500, reserved=1024)
        cuda.free(500)

    peak = peak_of(work, Device("cuda", 0, cuda))
    assert peak == Peak(peak_bytes=500, reserved_bytes=1024, baseline_bytes=100)


def test_a_gpu_that_allocated_nothing_has_an_unknown_peak() -> None:
    peak = peak_of(lambda: None, Device("cuda", 0, FakeCuda()))
    assert peak.peak_bytes is None
    assert peak.reserved_bytes is None


def test_high_water_mark_of_this_process_is_in_bytes() -> None:
    # An interpreter with torch loaded holds more than 50 MiB and less than 1 TiB.
    assert 50 * 2**20 < resident_high_water() < 2**40
