from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bench.errors import UsageError
from resnet_bench.experiments.speed.spec import (
    Config,
    parse_dtype,
    parse_fraction,
)


def test_number_formats_have_short_names() -> None:
    assert [parse_dtype(name) for name in ("bf16", "fp16", "float32")] == [
        "bfloat16",
        "float16",
        "float32",
    ]
    with pytest.raises(ValueError, match="expected float32, bfloat16, float16"):
        parse_dtype("int3")


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
        ({"runtime": ("openvino",), "mode": "both"}, "--mode both: .*openvino"),
        ({"runtime": ("torch", "openvino"), "compile": True}, "--compile: "),
        ({"runtime": ("openvino",), "batch_size": ("auto",)}, "--batch-size auto: "),
        ({"runtime": ("onnxruntime",), "dtype": ("float16",)}, "--dtype float16: "),
        ({"dtype": ("int8",)}, "--dtype int8: "),
        ({"streams": 1}, "--streams 1: "),
        ({"streams": 2, "compile": True}, "--streams: .*--compile"),
        ({"ladder": True, "runtime": ("openvino",)}, "--ladder: .*--runtime"),
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
        f"{name}: expected without --protocol; timm fixes the number of calls"
    )
