from __future__ import annotations

import logging
import os
import sysconfig
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from resnet_bench.engine.devices import Device
from resnet_bench.engine.timing import workload
from resnet_bench.engine.timing.clock import Clock, WallClock
from resnet_bench.engine.timing.phases import Setting, SplitStep
from resnet_bench.engine.timing.workload import (
    COMPILE_CACHE,
    MEMORY_CALLS,
    Peak,
    check_compiler,
    cold_compile_cache,
    hush_compiler,
    make_workload,
    memory_unit,
    peak_of,
    peak_of_calls,
    rehearse,
    resident_high_water,
)
from resnet_bench.errors import UsageError
from tests.engine.fake_cuda import FakeCuda
from tests.engine.tiny_networks import Counting, tiny

CPU = Device("cpu")
SETTING = Setting(CPU, batch_size=4, image_size=8)


def test_building_calls_nothing_so_that_the_first_call_is_the_first() -> None:
    model = Counting()
    made = make_workload(model, SETTING, trains=True, infers=True)
    # Counting the work ran a copy, whose calls are not the model's.
    assert model.calls == []
    made.first_step(WallClock())
    made.first_inference(WallClock())
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
    made = make_workload(tiny(), SETTING, trains=trains, infers=infers)
    assert [phase for unit in made.units for phase in unit.phases] == phases


def test_what_was_not_asked_for_has_no_first_call() -> None:
    made = make_workload(tiny(), SETTING, trains=False, infers=False)
    assert made.first_step(WallClock()) is None
    assert made.first_inference(WallClock()) is None


def test_targets_are_classes_that_the_model_knows() -> None:
    made = make_workload(tiny(), SETTING, trains=True, infers=False)
    assert made.training is not None
    assert made.training.batch.targets.min() >= 0
    assert made.training.batch.targets.max() < made.work.classes == 5


def test_a_workload_that_does_not_train_has_nothing_trained() -> None:
    made = make_workload(tiny(), SETTING, trains=False, infers=True)
    with pytest.raises(ValueError, match="does not train"):
        _ = made.trained


def test_a_resting_workload_holds_no_gradients() -> None:
    made = make_workload(tiny(), SETTING, trains=True, infers=False)
    assert made.training is not None
    made.first_step(WallClock())
    made.rest()
    assert all(each.grad is None for each in made.training.model.parameters())
    make_workload(tiny(), SETTING, trains=False, infers=True).rest()


@pytest.mark.parametrize("trains", [True, False])
def test_a_memory_pass_makes_several_calls_of_one_kind(trains: bool) -> None:
    model = Counting()
    peak_of_calls(lambda: memory_unit(lambda: model, SETTING, trains=trains), CPU)
    assert model.calls == [(trains, trains)] * MEMORY_CALLS


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


@pytest.mark.parametrize(
    ("kind", "language", "program"), [("cpu", r"C\+\+", "g++"), ("cuda", "C", "gcc")]
)
def test_compiling_needs_a_compiler_and_pythons_headers(
    kind: str,
    language: str,
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path))
    monkeypatch.setattr(workload, "find_spec", lambda _: object())
    with pytest.raises(UsageError, match=f"expected a {language} compiler .* headers"):
        check_compiler(kind)
    (tmp_path / program).touch(mode=0o755)
    with pytest.raises(UsageError, match="--compile: expected Python's headers"):
        check_compiler(kind)
    (tmp_path / "Python.h").touch()
    check_compiler(kind)
    monkeypatch.setattr(workload, "find_spec", lambda _: None)
    with nullcontext() if kind == "cpu" else pytest.raises(UsageError, match="triton"):
        check_compiler(kind)


def test_peak_on_the_cpu_is_the_rise_of_the_high_water_mark() -> None:
    marks = iter([1000, 1750])
    peak = peak_of(lambda: None, lambda: next(marks))
    assert peak == Peak(peak_bytes=750, reserved_bytes=None, baseline_bytes=1000)


def test_a_mark_that_did_not_move_is_unknown_and_not_zero() -> None:
    assert peak_of(lambda: None, lambda: 1000).peak_bytes is None


@dataclass
class Allocating:
    """Takes the bytes of its n-th call and gives them back."""

    cuda: FakeCuda
    sizes: list[int]
    phases: tuple[str, ...] = ("step",)
    block: str | None = None

    def call(self, clock: Clock) -> list[float]:
        raise NotImplementedError

    def work(self) -> None:
        size = self.sizes.pop(0)
        self.cuda.allocate(size, reserved=2 * size)
        self.cuda.free(size)


def test_the_first_peak_of_a_gpu_with_its_trials_is_a_figure_of_its_own() -> None:
    cuda = FakeCuda(allocated=100, peak_allocated=9999)
    unit = Allocating(cuda, [800, 500, 400])
    assert peak_of_calls(lambda: unit, Device("cuda", 0, cuda)) == Peak(
        peak_bytes=500, reserved_bytes=1000, baseline_bytes=100, first_bytes=800
    )
    assert cuda.emptied == 1


def test_a_gpu_that_allocated_nothing_has_an_unknown_peak() -> None:
    cuda = FakeCuda()
    peak = peak_of_calls(lambda: Allocating(cuda, [0, 0, 0]), Device("cuda", 0, cuda))
    assert peak == Peak(None, None, 0)


def test_high_water_mark_of_this_process_is_in_bytes() -> None:
    # An interpreter with torch loaded holds more than 50 MiB and less than 1 TiB.
    assert 50 * 2**20 < resident_high_water() < 2**40


def test_remarks_of_the_compiler_are_kept_off_but_not_its_errors() -> None:
    builder = logging.getLogger("torch.utils.cpp_extension")
    with warnings.catch_warnings():
        try:
            hush_compiler()
            assert not builder.isEnabledFor(logging.WARNING)
            assert builder.isEnabledFor(logging.ERROR)
            warnings.warn_explicit("slow", UserWarning, "x", 1, "torch._inductor.x")
            with pytest.raises(UserWarning):
                warnings.warn_explicit("own", UserWarning, "x", 1, "my_model")
        finally:
            torch._logging.set_logs()  # type: ignore[attr-defined]
            builder.setLevel(logging.NOTSET)
