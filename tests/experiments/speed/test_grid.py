from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, cast

import pytest

from resnet_bench.execution.base import Executor
from resnet_bench.experiments import base
from resnet_bench.experiments.speed import Speed, gpu_bytes_left
from resnet_bench.experiments.speed.budget import FIRST_VISITS
from resnet_bench.experiments.speed.cells import (
    CEILING,
    MEMORY_INFERENCE,
    MEMORY_TRAIN,
    TIME,
    ceiling_of,
    row_of,
)
from resnet_bench.experiments.speed.grid import (
    COMPILE_SECONDS,
    announce,
    expand,
    resolved,
)
from resnet_bench.experiments.speed.settings import LADDER, PROFILES
from resnet_bench.experiments.speed.spec import (
    Config,
)
from resnet_bench.options import restore
from resnet_bench.records import to_json


def cells_of(**options: Any) -> list[Any]:
    return expand(resolved(Config(**options), "cpu", threads=2))


def timed(**options: Any) -> list[Any]:
    return [cell for cell in cells_of(**options) if cell.measure == TIME]


def test_default_grid_is_three_variants_on_their_machine() -> None:
    cells = timed()
    assert [cell.variant for cell in cells] == [18, 34, 50]
    assert {(c.batch_size, c.image_size, c.dtype, c.threads) for c in cells} == {
        (4, 224, "float32", 2)
    }


def test_timing_comes_first_so_that_figures_come_early() -> None:
    measures = [cell.measure for cell in cells_of()]
    assert measures == [
        *[TIME] * 3,
        CEILING,
        *[MEMORY_TRAIN, MEMORY_INFERENCE] * 3,
    ]


def test_defaults_of_a_gpu_are_larger_batches_and_a_shorter_run() -> None:
    config = resolved(Config(), "cuda:1", threads=8)
    (cell, *_) = expand(config)
    assert (cell.device, cell.device_index) == ("cuda", 1)
    assert cell.batch_size == 128
    assert config.budget == PROFILES["standard"].budget


def test_a_persons_model_alone_is_timed_alone() -> None:
    (cell,) = timed(model=("a.b:c",))
    assert cell.variant is None
    assert cell.model == "a.b:c"
    assert cell.shortcut is None


def test_a_persons_model_can_stand_beside_variants() -> None:
    cells = timed(model=("a.b:c",), variants=(18,))
    assert [(cell.variant, cell.model) for cell in cells] == [
        (18, None),
        (None, "a.b:c"),
    ]


def test_plain_twins_stand_beside_their_residual_networks() -> None:
    cells = timed(variants=(18, 50), shortcut=("residual", "plain"))
    assert [cell.name for cell in cells] == [
        "ResNet-18",
        "ResNet-18 plain",
        "ResNet-50",
        "ResNet-50 plain",
    ]


def test_a_persons_model_has_no_plain_twin() -> None:
    cells = timed(model=("a.b:c",), shortcut=("residual", "plain"))
    assert [cell.shortcut for cell in cells] == [None]


def ladder_of(device: str, **options: Any) -> list[Any]:
    config = resolved(Config(variants=(18,), ladder=True, **options), device, threads=2)
    return [cell for cell in expand(config) if cell.measure == TIME]


def test_a_ladder_climbs_all_its_steps_on_cuda() -> None:
    cells = ladder_of("cuda:0")
    assert [cell.rung for cell in cells] == [rung.name for rung in LADDER]
    assert {cell.rung for cell in cells if cell.cuda_graphs} == {"cuda-graphs"}


def test_steps_that_cannot_be_taken_are_left_out() -> None:
    refused = tuple(
        (rung.name, "why") for rung in LADDER if rung.needs_cuda or rung.runtime
    )
    cells = ladder_of("cpu", unsupported=refused)
    assert [cell.rung for cell in cells] == [
        "eager",
        "channels-last",
        "compiled-float32",
        "amp",
        "bfloat16",
        "compiled",
        "keep-memory",
    ]


def test_options_of_a_step_reproduce_its_setting() -> None:
    for rung, cell in zip(LADDER, ladder_of("cuda:0"), strict=True):
        said = rung.options.replace("--dtype ", "--dtype=")
        words = said.replace("--runtime ", "--runtime=").split()
        given = dict(word.split("=") for word in words if "=" in word)
        options: dict[str, Any] = {
            word.removeprefix("--").replace("-", "_"): True
            for word in words
            if "=" not in word
        }
        if options.pop("channels_last", False):
            options["channels_last"] = ("yes",)
        options["dtype"] = (given.get("--dtype", "float32"),)
        options["runtime"] = (given.get("--runtime", "torch"),)
        config = Config(variants=(18,), **options)
        (alone, *_) = expand(resolved(config, "cuda:0", threads=2))
        assert replace(cell, rung=None).key == alone.key


def test_other_runtimes_are_an_axis_for_inference_alone() -> None:
    cells = cells_of(
        variants=(18,),
        runtime=("torch", "onnxruntime", "openvino"),
        dtype=("float32", "bfloat16"),
    )
    rows = [(c.runtime, c.dtype, c.mode) for c in cells if c.measure == TIME]
    assert rows == [
        (None, "float32", "infer"),
        (None, "bfloat16", "infer"),
        ("onnxruntime", "float32", "infer"),
        ("openvino", "float32", "infer"),
        ("openvino", "bfloat16", "infer"),
    ]
    assert {cell.measure for cell in cells} == {TIME, CEILING, MEMORY_INFERENCE}


def test_what_a_runtime_does_not_compute_is_said() -> None:
    config = Config(
        runtime=("torch", "onnxruntime"), dtype=("float32", "bfloat16"), variants=(18,)
    )
    (said,) = announce(resolved(config, "cpu", threads=2))
    assert "onnxruntime" in said
    assert "bfloat16" in said


def test_torch_named_as_the_runtime_is_the_cell_that_it_always_was() -> None:
    assert cells_of(variants=(18,), runtime=("torch",)) == cells_of(variants=(18,))


def test_int8_is_compared_on_trained_weights_and_has_no_ceiling() -> None:
    options: dict[str, Any] = {
        "runtime": ("torch", "openvino"),
        "dtype": ("float32", "int8"),
    }
    cells = cells_of(variants=(18,), **options)
    assert {cell.weights for cell in cells if cell.measure == TIME} == {"trained"}
    assert [cell.dtype for cell in cells if cell.measure == CEILING] == ["float32"]
    own = timed(model=("a.b:c",), **options)
    assert {cell.weights for cell in own} == {None}


def test_trained_weights_are_no_part_of_what_is_timed() -> None:
    options: dict[str, Any] = {"runtime": ("torch", "openvino"), "variants": (18,)}
    quantised = timed(**options, dtype=("float32", "int8"))
    keys = {cell.key for cell in quantised}
    assert {cell.key for cell in timed(**options, dtype=("float32",))} < keys


def test_streams_are_asked_of_what_is_not_compiled() -> None:
    streams = {cell.rung: cell.streams for cell in ladder_of("cpu", streams=2)}
    assert streams["eager"] == streams["openvino"] == 2
    assert streams["compiled"] is None


def test_a_ladder_trains_with_torch_alone() -> None:
    modes = {cell.rung: cell.mode for cell in ladder_of("cpu")}
    assert modes["eager"] == "both"
    assert modes["onnxruntime"] == modes["openvino"] == "infer"


def test_compiled_cells_of_the_cpu_have_no_memory_pass() -> None:
    cells = cells_of(variants=(18,), compile=True)
    assert [cell.measure for cell in cells] == [TIME, CEILING]
    config = resolved(Config(variants=(18,), compile=True), "cuda:0", threads=2)
    assert MEMORY_TRAIN in [cell.measure for cell in expand(config)]


def test_a_breakdown_is_a_cell_beside_each_timing_cell() -> None:
    measures = [cell.measure for cell in cells_of(variants=(18,), breakdown="layer")]
    assert measures[:2] == [TIME, "breakdown-layer"]


def test_grid_is_the_product_of_all_lists() -> None:
    cells = timed(
        variants=(18, 50),
        batch_size=(1, 2),
        image_size=(64, 96),
        dtype=("float32", "bfloat16"),
        threads=(1, 2),
    )
    assert len(cells) == 2**5
    assert len({cell.key for cell in cells}) == 2**5


def test_what_was_said_twice_is_measured_once() -> None:
    assert len(timed(variants=(18, 18), batch_size=(2, 2))) == 1


def test_one_ceiling_serves_all_rows_that_it_limits() -> None:
    cells = cells_of(batch_size=(1, 2), dtype=("float32", "bfloat16"))
    assert sum(cell.measure == CEILING for cell in cells) == 2


@pytest.mark.parametrize(
    ("mode", "passes"),
    [
        ("train", [MEMORY_TRAIN]),
        ("infer", [MEMORY_INFERENCE]),
        ("both", [MEMORY_TRAIN, MEMORY_INFERENCE]),
    ],
)
def test_memory_is_measured_for_what_is_timed(mode: str, passes: list[str]) -> None:
    cells = cells_of(variants=(18,), mode=mode)
    assert [c.measure for c in cells if c.measure.startswith("memory")] == passes


def test_autocast_computes_in_bfloat16_where_float32_was_left_standing() -> None:
    (cell,) = timed(variants=(18,), amp=True)
    assert (cell.dtype, cell.amp) == ("bfloat16", True)
    (cell,) = timed(variants=(18,), amp=True, dtype=("float16",))
    assert cell.dtype == "float16"
    cells = timed(variants=(18,), amp=True, dtype=("float32", "bfloat16"))
    assert len(cells) == 1


def test_layouts_stand_beside_each_other() -> None:
    cells = timed(variants=(18,), channels_last=("yes", "no"), dtype=("float32",))
    assert [cell.channels_last for cell in cells] == [True, False]


def test_a_larger_grid_has_a_larger_budget() -> None:
    def budget(**options: Any) -> float:
        return resolved(Config(**options), "cpu", threads=2).budget or 0.0

    default = PROFILES["standard"].budget
    assert budget(variants=(18,)) == default
    assert budget(variants=(18, 34, 50), batch_size=(1, 2)) == 2 * default
    assert budget(variants=(18,), compile=True) == default + COMPILE_SECONDS
    assert budget(variants=(18, 34), ladder=True) > 2 * budget(variants=(18,))
    assert budget(variants=(18, 34), ladder=True, budget=5.0) == 5.0


def test_profile_sets_what_no_option_sets() -> None:
    quick = resolved(Config(profile="quick"), "cpu", threads=2)
    assert quick.budget == PROFILES["quick"].budget
    assert quick.precision == PROFILES["quick"].precision
    mine = resolved(
        Config(profile="quick", budget=7.0, precision=0.1), "cpu", threads=2
    )
    assert (mine.budget, mine.precision) == (7.0, 0.1)


def test_resolving_twice_changes_nothing() -> None:
    once = resolved(Config(amp=True, model=("a.b:c",)), "cuda:0", threads=2)
    assert resolved(once, "cuda:0", threads=8) == once


def test_a_config_that_nobody_resolved_has_no_grid() -> None:
    with pytest.raises(ValueError, match="resolved"):
        expand(Config())


def test_timm_allows_tf32_on_a_gpu_and_timer_takes_one_thread() -> None:
    def cell(device: str, protocol: str | None) -> Any:
        return expand(resolved(Config(protocol=protocol), device, threads=8))[0]

    assert [cell("cuda:0", each).tf32 for each in (None, "timm")] == [False, True]
    assert cell("cpu", "timm").tf32 is False
    threads = [cell("cpu", each).threads for each in (None, "timm", "torch-timer")]
    assert threads == [8, 8, 1]


def test_a_run_by_a_protocol_claims_no_precision_and_can_be_resumed() -> None:
    config = resolved(Config(protocol="timm"), "cpu", threads=2)
    assert (config.precision, config.budget) == (None, None)
    again = Config(**restore(Config, to_json(config)))
    assert resolved(again, "cpu", threads=2) == config
    assert expand(again) == expand(config)


def test_a_run_by_a_protocol_ends_although_ceilings_go_on_for_ever() -> None:
    config = resolved(Config(variants=(18, 34), protocol="timm"), "cpu", threads=2)
    cells = {cell.key: cell for cell in expand(config)}
    visits = Speed().visits(config, list(cells.values()))
    counts: Counter[str] = Counter()
    living = list(cells)
    while (key := visits.next(living)) is not None and counts.total() < 1000:
        counts[key] += 1
        if cells[key].measure != CEILING and counts[key] == 2:
            living.remove(key)  # it gave its record and ended
    assert {cells[key].measure for key in living} == {CEILING}
    assert {counts[key] for key in living} == {FIRST_VISITS}


CELLS = expand(resolved(Config(variants=(18,)), "cuda:1", threads=2))


CELL, CEILING_CELL = CELLS[:2]


def test_which_gpu_ran_a_cell_is_no_part_of_its_identity() -> None:
    assert replace(CELL, device_index=0).key == CELL.key
    assert replace(CELL, threads=3).key != CELL.key
    assert replace(CELL, measure=MEMORY_TRAIN).key != CELL.key


def test_cells_that_measure_the_same_setting_make_one_row() -> None:
    memory = replace(CELL, measure=MEMORY_TRAIN)
    assert row_of(memory.parameters) == row_of(CELL.parameters)
    other = replace(CELL, batch_size=1)
    assert row_of(other.parameters) != row_of(CELL.parameters)


def test_a_row_finds_its_ceiling() -> None:
    assert ceiling_of(CELL.parameters) == ceiling_of(CEILING_CELL.parameters)
    other = replace(CELL, dtype="float16")
    assert ceiling_of(other.parameters) != ceiling_of(CEILING_CELL.parameters)


def test_a_label_says_what_differs_between_cells() -> None:
    assert CELL.label == "ResNet-18, batch 128, 224 px, float32"
    special = replace(
        CELL, amp=True, tf32=True, channels_last=True, compiled=True, model="a.b:c"
    )
    assert special.label.endswith("amp, tf32, channels-last, compiled")
    assert replace(CELL, cuda_graphs=True).label.endswith("CUDA graphs")
    assert replace(CELL, variant=None, model="a.b:c").label.startswith("a.b:c")
    assert CEILING_CELL.label == "ceiling, float32"
    assert len({cell.label for cell in CELLS}) == len(CELLS)


def test_phases_follow_the_mode() -> None:
    assert replace(CELL, mode="infer").phases == ("inference",)
    assert "inference" not in replace(CELL, mode="train").phases
    assert CELL.phases[-1] == "inference"


def test_a_timing_cell_costs_more_than_the_others() -> None:
    costs = {cell.measure: cell.cost for cell in CELLS}
    assert all(0 < cost < costs[TIME] for kind, cost in costs.items() if kind != TIME)


def test_larger_batches_of_larger_images_hold_more_memory() -> None:
    def bytes_of(**changes: Any) -> float:
        return replace(CELL, device="cpu", **changes).memory_bytes

    assert bytes_of() > bytes_of(batch_size=1)
    assert bytes_of() > bytes_of(image_size=64)
    assert CEILING_CELL.memory_bytes > 0


def test_on_cuda_a_cell_gives_back_what_it_worked_in_but_for_graphs() -> None:
    assert CELL.memory_bytes < CELL.working_bytes / 2
    graphs = replace(CELL, compiled=True, cuda_graphs=True)
    assert graphs.memory_bytes == graphs.working_bytes
    assert replace(CELL, measure=MEMORY_TRAIN).memory_bytes == 0


def test_a_memory_pass_on_the_cpu_holds_nothing_but_needs_room_once() -> None:
    cell = replace(CELL, device="cpu")
    memory = replace(cell, measure=MEMORY_TRAIN)
    assert (memory.memory_bytes, cell.passing_bytes) == (0, 0)
    assert memory.passing_bytes == cell.memory_bytes == cell.working_bytes


class OnGpu:
    """Calls what is asked of a GPU where 60 GB are free."""

    def call(self, function: Any, device: str) -> int:
        assert (function, device) == (gpu_bytes_left, "cuda:1")
        return 60_000_000_000


def test_cells_on_cuda_leave_room_for_the_one_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "bytes_left", lambda: 10**12)
    config, executor = Config(device="cuda:1"), cast(Executor, OnGpu())
    room = Speed().memory_left(config, [CELL, CEILING_CELL], executor)
    assert room == pytest.approx(48e9 - CELL.working_bytes)
    monkeypatch.setattr(base, "bytes_left", lambda: 10**10)
    assert Speed().memory_left(config, [CELL], executor) == pytest.approx(8e9)
    on_cpu = replace(config, device="cpu")
    assert Speed().memory_left(on_cpu, [CELL], executor) == pytest.approx(8e9)
