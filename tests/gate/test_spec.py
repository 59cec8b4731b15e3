from typing import Any

import pytest

from resnet_bench.errors import UsageError
from resnet_bench.gate.spec import (
    BaselineConfig,
    CheckConfig,
    CompareConfig,
    NoiseConfig,
)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"subject": "module"}, "--subject module"),
        ({"subject": ":function"}, "package.module:function"),
        ({"budget": 0.0}, "--budget"),
        ({"pairs": 11}, "--pairs 11: expected a whole number from 12"),
        ({"threads": 0}, "--threads"),
        ({"seed": -1}, "--seed"),
        ({"seeds": 4}, "--seeds 4: expected a whole number from 5"),
        ({"against": "main", "baseline": "v1"}, "one of the two"),
    ],
)
def test_a_check_refuses_what_it_cannot_do(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        CheckConfig(**values)


def test_noise_refuses_effects_that_are_none() -> None:
    with pytest.raises(UsageError, match="--effects"):
        NoiseConfig(effects=(0.0,))


@pytest.mark.parametrize("runs", [(), ("a",), ("a", "b", "c")])
def test_compare_needs_two_runs(runs: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="exactly two runs"):
        CompareConfig(runs=runs)


@pytest.mark.parametrize(
    "request_",
    [(), ("move", "x"), ("list", "x"), ("save",), ("save", "a", "b", "c")],
)
def test_baseline_refuses_other_requests(request_: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="save NAME"):
        BaselineConfig(request=request_)


@pytest.mark.parametrize("name", ["../x", "", "a/b", "-x"])
def test_a_baselines_name_is_simple(name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits"):
        BaselineConfig(request=("save", name))
