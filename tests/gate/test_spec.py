from typing import Any

import pytest

from resnet_bench.errors import UsageError
from resnet_bench.gate.spec import (
    BaselineConfig,
    Case,
    CheckConfig,
    CompareConfig,
    NoiseConfig,
    parse_case,
    parse_threshold,
    settings_for,
    thresholds_in,
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


def test_a_name_alone_means_its_forward_pass() -> None:
    assert parse_case(" toy ") == Case("toy", "forward")


def test_a_method_follows_a_colon() -> None:
    case = parse_case("toy:exact")
    assert case.text == "toy:exact"
    assert not case.is_timed


@pytest.mark.parametrize("text", ["toy:fast", ":forward", "", "toy:"])
def test_an_unknown_method_or_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="NAME:forward"):
        parse_case(text)


def test_the_gates_own_name_is_taken() -> None:
    with pytest.raises(UsageError, match="control is the gate's own"):
        parse_case("control:step")


def test_a_threshold_names_case_metric_and_setting() -> None:
    row = parse_threshold("resnet18:step/seconds/tolerated=0.2")
    assert (row.case, row.metric, row.name, row.value) == (
        "resnet18:step",
        "seconds",
        "tolerated",
        0.2,
    )
    assert parse_threshold(row.text) == row


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seconds/tolerated=0.2", "CASE/METRIC/NAME"),
        ("a/seconds/tolerated", "CASE/METRIC/NAME"),
        ("a/watts/tolerated=1", "expected one of seconds"),
        ("a/flops/floor=1", "flops has tolerated, gate"),
        ("a/seconds/tolerated=much", "a number"),
        ("a/seconds/tolerated=-1", "a number"),
        ("a/seconds/tolerated=inf", "a number"),
    ],
)
def test_a_malformed_threshold_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_threshold(text)


def test_a_named_case_beats_the_star() -> None:
    rules = (
        "a/seconds/tolerated=0.3",
        "*/seconds/tolerated=0.2",
        "*/seconds/regression=0.1",
        "*/accuracy/floor=0.9",
    )
    assert settings_for("a", "seconds", rules) == {"tolerated": 0.3, "regression": 0.1}
    assert settings_for("b", "seconds", rules) == {"tolerated": 0.2, "regression": 0.1}


def test_thresholds_of_a_file_are_nested_tables() -> None:
    table = {
        "subject": "a:b",
        "thresholds": {"*": {"flops": {"gate": False}, "seconds": {"tolerated": 1}}},
    }
    assert thresholds_in(table) == ("*/flops/gate=0.0", "*/seconds/tolerated=1.0")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"limits": {}}, r"\[check.limits\]: expected \[check.thresholds\]"),
        ({"thresholds": {"a": 3}}, "expected a table"),
        ({"thresholds": {"a": {"flops": 3}}}, "expected a table"),
        ({"thresholds": {"a": {"watts": {"gate": 0}}}}, "expected one of seconds"),
    ],
)
def test_other_tables_of_a_file_are_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        thresholds_in(table)
