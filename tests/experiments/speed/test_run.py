from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch

from resnet_bench.engine import devices
from resnet_bench.engine.devices import Device
from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.engine.timing import ceiling
from resnet_bench.engine.timing.conditions import Watch, Watched
from resnet_bench.errors import UsageError
from resnet_bench.experiments.speed import run as speed
from resnet_bench.experiments.speed.cells import (
    BREAKDOWN_STAGE,
    CEILING,
    MEMORY_INFERENCE,
    MEMORY_TRAIN,
    STEP_PARTS,
    TIME,
    BreakdownSamples,
    CeilingSamples,
    OutOfMemory,
    PeakMemory,
    ScalingSamples,
    SpeedCell,
    SpeedSamples,
    phase_field,
)
from resnet_bench.experiments.speed.grid import expand
from resnet_bench.experiments.speed.measures import timing
from resnet_bench.experiments.speed.measures import timing as scaling
from resnet_bench.experiments.speed.measures.network import builder_of
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.records import to_json
from tests.engine.fake_cuda import FakeCuda

#: A timing cell goes on until nobody asks for more.
VISITS = 3


NETWORKS = "tests.engine.tiny_networks"


@pytest.fixture(autouse=True)
def settings_kept() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    devices.settle(Device("cpu"), threads=threads, tf32=False)
    torch.set_flush_denormal(False)


def config_of(**options: Any) -> Config:
    settings: dict[str, Any] = {
        "model": (f"{NETWORKS}:tiny",),
        "device": "cpu",
        "batch_size": (2,),
        "image_size": (8,),
        "threads": (1,),
        "budget": None if options.get("protocol") else 0.05,
    }
    return Config(**{**settings, **options})


def cell_of(measure: str, **options: Any) -> SpeedCell:
    cells = expand(speed.prepare(config_of(**options)))
    return next(cell for cell in cells if cell.measure == measure)


def visits(cell: SpeedCell) -> list[SpeedSamples]:
    records = list(islice(speed.run(cell, Ranks()), VISITS))
    assert all(isinstance(record, SpeedSamples) for record in records)
    return [record for record in records if isinstance(record, SpeedSamples)]


def test_every_visit_samples_every_phase() -> None:
    cell = cell_of(TIME)
    records = visits(cell)
    assert [record.round for record in records] == list(range(len(records)))
    for record in records:
        for phase in cell.phases:
            assert len(getattr(record, phase_field(phase))) >= 1
        assert record.train_images_per_second
        assert record.inference_images_per_second
        assert record.device_seconds == {}


def test_first_record_carries_the_warm_up_and_every_one_the_first_call() -> None:
    cell = cell_of(TIME)
    first, *rest = visits(cell)
    assert set(first.warmup_seconds) == set(cell.phases)
    assert all(record.warmup_seconds == {} for record in rest)
    assert all(record.first_step_seconds == first.first_step_seconds for record in rest)
    assert first.first_inference_seconds is not None


def test_first_calls_in_which_the_process_was_stopped_are_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "count_stops", lambda: lambda: 1)
    first, second, *_ = visits(cell_of(TIME))
    assert first.first_step_seconds is first.first_inference_seconds is None
    assert (first.dropped_visits, first.flags) == (0, ())
    assert "first calls are unknown" in first.notes[-1]
    assert second.notes == first.notes


def test_what_is_set_is_read_back_from_torch() -> None:
    record = visits(cell_of(TIME, threads=(2,)))[0]
    assert record.observed_threads == 2
    assert record.observed_tf32 is False
    assert record.cudnn_benchmark is False


def test_training_alone_and_inference_alone_leave_the_rest_empty() -> None:
    training = visits(cell_of(TIME, mode="train"))[0]
    assert training.inference_seconds == training.inference_images_per_second == ()
    assert training.first_inference_seconds is None
    inference = visits(cell_of(TIME, mode="infer"))[0]
    assert all(getattr(inference, phase_field(part)) == () for part in STEP_PARTS)
    assert inference.first_step_seconds is None


def test_work_of_the_model_is_in_every_record() -> None:
    record = visits(cell_of(TIME))[0]
    assert record.parameters == 4 * 27 + 4 + 8 + 4 * 5 + 5
    assert record.multiply_adds == 4 * 64 * 27 + 4 * 5
    assert record.flop == 2 * (record.multiply_adds or 0)


@pytest.mark.parametrize("detail", ["stage", "layer"])
def test_parts_are_timed_in_rounds_with_the_whole(detail: str) -> None:
    cell = cell_of(f"breakdown-{detail}", breakdown=detail)
    records = list(islice(speed.run(cell, Ranks()), VISITS))
    for number, record in enumerate(records):
        assert isinstance(record, BreakdownSamples)
        assert record.round == number
        assert set(record.forward_seconds) == set(record.parts)
        assert set(record.backward_seconds) == set(record.parts)
        assert record.whole_forward_seconds
        assert sum(record.multiply_adds.values()) == 4 * 64 * 27 + 4 * 5


@pytest.fixture
def small_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    small = ceiling.Sizes(matrix=16, batch=1, channels=4, side=8, copied_bytes=1024)
    monkeypatch.setattr(ceiling, "CPU_SIZES", small)


@pytest.mark.usefixtures("small_ceiling")
def test_records_can_be_written_as_json() -> None:
    for measure in (TIME, CEILING, MEMORY_TRAIN):
        cell = cell_of(measure)
        for record in islice(speed.run(cell, Ranks()), VISITS):
            json.dumps(to_json(record), allow_nan=False)


@pytest.mark.parametrize(
    "options",
    [
        {"amp": True},
        {"dtype": ("bfloat16",)},
        {"channels_last": ("yes",)},
        {"keep_memory": True},
    ],
    ids=str,
)
def test_every_setting_of_the_cpu_runs(options: dict[str, Any]) -> None:
    assert visits(cell_of(TIME, **options))[0].step_seconds


@pytest.mark.parametrize("measure", [MEMORY_TRAIN, MEMORY_INFERENCE])
def test_a_memory_cell_yields_one_record(measure: str) -> None:
    (record,) = speed.run(cell_of(measure), Ranks())
    assert isinstance(record, PeakMemory)
    assert record.baseline_bytes
    assert record.peak_bytes != 0


@pytest.mark.usefixtures("small_ceiling")
def test_a_ceiling_is_visited_in_rounds() -> None:
    records = list(islice(speed.run(cell_of(CEILING), Ranks()), VISITS))
    assert len(records) >= 1
    for number, record in enumerate(records):
        assert isinstance(record, CeilingSamples)
        assert record.round == number
        assert min(*record.matrix_product, *record.convolution, *record.copy) > 0


@pytest.mark.usefixtures("small_ceiling")
@pytest.mark.parametrize("measure", [TIME, BREAKDOWN_STAGE, CEILING])
def test_every_kind_of_visit_counts_those_that_were_dropped(
    measure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first calls are asked about, then begin and end of the first try of a visit.
    asked = iter([*([0] if measure == TIME else []), 0, 1])
    monkeypatch.setattr(timing, "count_stops", lambda: lambda: next(asked, 1))
    breakdown = "stage" if measure == BREAKDOWN_STAGE else None
    first, second = islice(speed.run(cell_of(measure, breakdown=breakdown), Ranks()), 2)
    assert isinstance(first, SpeedSamples | BreakdownSamples | CeilingSamples)
    assert isinstance(second, SpeedSamples | BreakdownSamples | CeilingSamples)
    assert (first.dropped_visits, second.dropped_visits) == (1, 0)
    assert "stopped" not in first.flags


def test_a_step_of_the_ladder_is_compared_with_float32() -> None:
    cell = replace(cell_of(TIME, dtype=("bfloat16",)), rung="bfloat16")
    record = visits(cell)[0]
    assert record.logit_error is not None
    assert 0 < record.logit_error < 0.1
    assert record.top1_agreement is not None
    assert record.first_step_seconds is not None
    assert visits(cell_of(TIME))[0].logit_error is None


def test_steps_of_the_ladder_that_need_a_gpu_are_refused_with_the_reason() -> None:
    refused = dict(speed.prepare(config_of(ladder=True)).unsupported)
    assert refused["cuda-graphs"] == "needs a CUDA device"
    assert not {"eager", "channels-last"} & set(refused)


@pytest.mark.parametrize("known", [True, False])
def test_a_cpu_without_bfloat16_climbs_without_it(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "computes_bfloat16", lambda: known)
    refused = dict(speed.prepare(config_of(ladder=True)).unsupported)
    for rung in ("amp", "bfloat16", "compiled", "keep-memory"):
        assert ("no instructions for bfloat16" in refused.get(rung, "")) is not known


def test_steps_that_compile_are_refused_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    refused = dict(speed.prepare(config_of(ladder=True)).unsupported)
    assert "C++ compiler" in refused["compiled-float32"]


def test_a_batch_that_does_not_fit_is_a_result_and_is_not_made_smaller() -> None:
    cell = replace(cell_of(TIME), model=f"{NETWORKS}:Greedy")
    (record,) = speed.run(cell, Ranks())
    assert isinstance(record, OutOfMemory)
    assert record.status == "oom"
    assert "allocate" in record.message


def test_a_plain_cell_builds_the_network_without_shortcuts() -> None:
    options: dict[str, Any] = {"model": (), "variants": (18,), "image_size": (32,)}
    residual, plain = (
        sum(
            parameter.numel()
            for parameter in builder_of(
                cell_of(TIME, shortcut=(each,), **options)
            )().parameters()
        )
        for each in ("residual", "plain")
    )
    assert residual == 11_689_512
    assert plain < residual


def test_any_other_error_of_a_model_is_not_taken_for_missing_memory() -> None:
    cell = replace(cell_of(TIME), model=f"{NETWORKS}:Faulty")
    with pytest.raises(RuntimeError, match="a faulty kernel"):
        list(speed.run(cell, Ranks()))


def test_preparing_fills_in_what_the_machine_decides() -> None:
    ready = speed.prepare(config_of(threads=(), batch_size=()))
    assert ready.threads[0] >= 1
    assert ready.batch_size == (4,)
    assert ready.device == "cpu"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cuda:99"}, "--device cuda:99: "),
        ({"tf32": True}, "--tf32"),
        ({"model": (f"{NETWORKS}:Greedy",), "breakdown": "stage"}, "--breakdown: "),
        ({"compile": True, "cuda_graphs": True}, "--cuda-graphs"),
        ({"model": ("no_such_package:make",)}, "--model no_such_package:make: "),
        ({"model": (f"{NETWORKS}:returns_a_number",)}, "an nn.Module"),
        (
            {"model": (), "variants": (18,), "batch_size": (1,), "image_size": (32,)},
            "--batch-size 1: .*--image-size 32",
        ),
    ],
    ids=str,
)
def test_what_would_fail_later_is_refused_before_anything_is_timed(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        speed.prepare(config_of(**options))


def test_one_image_is_enough_for_inference() -> None:
    options: dict[str, Any] = {"model": (), "variants": (18,)}
    speed.prepare(config_of(batch_size=(1,), image_size=(32,), mode="infer", **options))


def test_compiling_is_refused_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match="--compile"):
        speed.prepare(config_of(compile=True))


def test_the_estimate_is_the_budget_and_what_comes_before_it() -> None:
    config = speed.prepare(config_of(budget=70.0))
    seconds = speed.estimate(config, expand(config))
    assert seconds is not None
    assert 70.0 < seconds < 90.0


def test_a_gpu_cell_takes_device_times_too(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    fake = FakeGpu("cuda", 0, cuda)
    monkeypatch.setattr(
        "resnet_bench.experiments.speed.measures.network.Device", lambda *_: fake
    )
    record = visits(cell_of(TIME))[0]
    assert set(record.device_seconds) == set(cell_of(TIME).phases)
    assert cuda.chosen == 0
    assert cuda.emptied >= 1


class FakeGpu(Device):
    """Says it is a GPU and computes on the CPU."""

    @property
    def torch(self) -> torch.device:
        return torch.device("cpu")


@pytest.mark.parametrize("protocol", ["timm", "torch-timer"])
def test_a_protocol_gives_one_record_in_the_same_form(protocol: str) -> None:
    (record,) = visits(cell_of(TIME, protocol=protocol))
    assert record.forward_seconds
    assert record.backward_seconds
    assert record.step_seconds
    assert record.inference_seconds
    assert record.loss_seconds == ()
    json.dumps(to_json(record), allow_nan=False)


def test_several_processes_follow_no_protocol() -> None:
    class Two(Ranks):
        alone = False

    with pytest.raises(UsageError, match="--protocol timm: expected with one process"):
        list(speed.run(cell_of(TIME, protocol="timm"), Two()))


def test_conditions_are_looked_at_at_both_ends_of_a_visit_and_amid_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[str] = []

    class Spy(Watch):
        def begin(self) -> None:
            looks.append("begin")

        def between(self) -> None:
            looks.append("between")

        def end(self, seconds: float) -> Watched:
            looks.append("end")
            return Watched((), None)

    monkeypatch.setattr(timing, "Watch", Spy)
    records = visits(cell_of(TIME, mode="infer"))
    assert looks[:2] == ["begin", "between"]
    assert looks[-1] in ("end", "begin")
    assert looks.count("end") == len(records)


def test_the_estimate_under_a_protocol_is_of_its_calls() -> None:
    def seconds(**options: Any) -> float:
        ready = speed.prepare(config_of(image_size=(64,), **options))
        cells = [replace(each, batch_size=1000) for each in expand(ready)]
        found = speed.estimate(ready, cells)
        assert found is not None
        return found

    timm = seconds(protocol="timm")
    assert seconds(protocol="timm", batch_size=(2, 4)) > timm
    assert seconds(protocol="timm", mode="infer") < timm
    assert seconds(protocol="torch-timer") < timm


def test_blocks_of_one_rank_and_of_all_take_turns() -> None:
    (record,) = scaling.measure_scaling(cell_of(TIME), ALONE)
    assert isinstance(record, ScalingSamples)
    assert record.ranks == 1
    assert len(record.alone_step_seconds) == scaling.BLOCKS
    assert len(record.together_step_seconds) == scaling.BLOCKS
    assert min(record.alone_step_seconds) > 0


def test_several_ranks_never_go_on_without_one_that_ran_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_large(cell: SpeedCell, ranks: Ranks) -> Any:
        raise MemoryError("out of memory")

    monkeypatch.setattr(speed, "measure_scaling", too_large)
    with pytest.raises(MemoryError):
        list(speed.run(cell_of(TIME), Ranks(0, 2)))
