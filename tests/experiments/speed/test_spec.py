from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bench.errors import UsageError
from resnet_bench.experiments.speed import Speed
from resnet_bench.experiments.speed.cells import (
    CEILING,
    MEMORY_INFERENCE,
    MEMORY_TRAIN,
    TIME,
)
from resnet_bench.experiments.speed.grid import expand, resolved
from resnet_bench.experiments.speed.settings import LADDER, PROFILES
from resnet_bench.experiments.speed.spec import (
    Config,
    parse_dtype,
    parse_fraction,
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
    assert config.budget == PROFILES["standard"].cuda_budget


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
    refused = tuple((rung.name, "why") for rung in LADDER if rung.needs_cuda)
    cells = ladder_of("cpu", unsupported=refused)
    assert [cell.rung for cell in cells] == [
        "eager",
        "channels-last",
        "amp",
        "bfloat16",
        "compiled",
        "keep-memory",
    ]


def test_options_of_a_step_reproduce_its_setting() -> None:
    for rung, cell in zip(LADDER, ladder_of("cuda:0"), strict=True):
        words = rung.options.replace("--dtype ", "--dtype=").split()
        options: dict[str, Any] = {
            word.removeprefix("--").replace("-", "_"): True
            for word in words
            if "=" not in word
        }
        if options.pop("channels_last", False):
            options["channels_last"] = ("yes",)
        dtypes = [word.partition("=")[2] for word in words if "=" in word]
        config = Config(variants=(18,), **options, dtype=(*dtypes, "float32")[:1])
        (alone, *_) = expand(resolved(config, "cuda:0", threads=2))
        assert replace(cell, rung=None) == alone


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


def test_number_formats_have_short_names() -> None:
    assert [parse_dtype(name) for name in ("bf16", "fp16", "float32")] == [
        "bfloat16",
        "float16",
        "float32",
    ]
    with pytest.raises(ValueError, match="expected float32, bfloat16, float16"):
        parse_dtype("int3")


def test_layouts_stand_beside_each_other() -> None:
    cells = timed(variants=(18,), channels_last=("yes", "no"), dtype=("float32",))
    assert [cell.channels_last for cell in cells] == [True, False]


def test_profile_sets_what_no_option_sets() -> None:
    quick = resolved(Config(profile="quick"), "cpu", threads=2)
    assert quick.budget == PROFILES["quick"].cpu_budget
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": (4, 0)}, "--batch-size 0: "),
        ({"image_size": (0,)}, "--image-size 0: "),
        ({"threads": (-1,)}, "--threads -1: "),
        ({"variants": (19,)}, "--variants 19: .*18, 34, 50, 101, 152"),
        ({"precision": 0.0}, "--precision 0.0: "),
        ({"precision": 1.0}, "--precision 1.0: "),
        ({"precision": float("nan")}, "--precision nan: "),
        ({"budget": 0.0}, "--budget 0.0: "),
        ({"budget": float("nan")}, "--budget nan: "),
        ({"seed": -1}, "--seed -1: "),
        ({"cuda_graphs": True}, "--cuda-graphs: .*--compile"),
        ({"breakdown": "stage", "compile": True}, "--breakdown: "),
        ({"breakdown": "layer", "mode": "infer"}, "--breakdown: "),
        ({"ladder": True, "breakdown": "stage"}, "--ladder: .*--breakdown"),
        ({"ladder": True, "cuda_graphs": True}, "--ladder: .*--cuda-graphs"),
        ({"ladder": True, "amp": True}, "--ladder: expected without --amp"),
        ({"ladder": True, "dtype": ("float16",)}, "--ladder: expected without --dtype"),
    ],
)
def test_a_bad_value_is_refused_by_option_and_value(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Config(**options)


@given(st.floats(min_value=0.001, max_value=0.999))
def test_a_fraction_can_be_given_in_percent(fraction: float) -> None:
    assert parse_fraction(f"{fraction}") == fraction
    assert parse_fraction(f" {100 * fraction} %".replace(" %", "%")) == pytest.approx(
        fraction
    )


@pytest.mark.parametrize("text", ["abc", "%", "2 percent", ""])
def test_what_is_no_fraction_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"0\.02 or 2%"):
        parse_fraction(text)


def test_two_examples_are_shown() -> None:
    assert len(Speed.examples) == 2


def test_timm_allows_tf32_on_a_gpu_and_timer_takes_one_thread() -> None:
    def cell(device: str, protocol: str | None) -> Any:
        return expand(resolved(Config(protocol=protocol), device, threads=8))[0]

    assert [cell("cuda:0", each).tf32 for each in (None, "timm")] == [False, True]
    assert cell("cpu", "timm").tf32 is False
    threads = [cell("cpu", each).threads for each in (None, "timm", "torch-timer")]
    assert threads == [8, 8, 1]


@pytest.mark.parametrize("options", [{"ladder": True}, {"breakdown": "stage"}], ids=str)
def test_a_protocol_is_refused_where_it_says_nothing(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected without --protocol"):
        Config(protocol="timm", **options)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"precision": 0.01}, "--precision"), ({"budget": 3.0}, "--budget")],
)
def test_what_a_protocol_decides_itself_cannot_be_asked_for(
    options: dict[str, Any], name: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Config(protocol="timm", **options)
    assert str(caught.value) == (
        f"{name}: expected without --protocol; timm itself says how many calls are made"
    )


def test_a_run_by_a_protocol_claims_no_precision_and_can_be_resumed() -> None:
    config = resolved(Config(protocol="timm"), "cpu", threads=2)
    assert (config.precision, config.budget) == (None, None)
    again = Config(**restore(Config, to_json(config)))
    assert resolved(again, "cpu", threads=2) == config
    assert expand(again) == expand(config)
