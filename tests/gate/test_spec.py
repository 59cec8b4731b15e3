import re
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.errors import UsageError
from resnet_bench.gate.deciding import TimingRule
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
        ({"against": "main", "baseline": "v1"}, "and --baseline: expected one of"),
        ({"against": "main", "against_python": Path("v")}, "and --against-python: exp"),
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
    with pytest.raises(UsageError, match="expected two runs"):
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
    with pytest.raises(UsageError, match="control is reserved"):
        parse_case("control:step")


@pytest.mark.parametrize(
    ("text", "case", "what", "settings"),
    [
        (
            "resnet50:step=8%",
            "resnet50",
            "step",
            {"significant": 0.03, "regression": 0.08, "tolerated": 0.13},
        ),
        ("a:step=50us", "a", "step", {"smallest_seconds": 50e-6}),
        ("*=0.2 ms", "*", None, {"smallest_seconds": 0.2e-3}),
        ("a:flops=2%", "a", "flops", {"tolerated": 0.02}),
        ("a:activations=2%", "a", "activations", {"tolerated": 0.02}),
        ("a:training_seconds=0.2ms", "a", "training", {"smallest_seconds": 0.2e-3}),
        ("a:exact=any", "a", "exact", {"gate": 0.0}),
        ("a:accuracy=1pp", "a", "accuracy", {"margin": 0.01}),
        ("a:accuracy>=80%", "a", "accuracy", {"floor": 0.8}),
    ],
)
def test_a_limit_is_written_as_one_says_it(
    text: str, case: str, what: str | None, settings: dict[str, float]
) -> None:
    limit = parse_threshold(text)
    assert (limit.case, limit.what) == (case, what)
    assert limit.settings == pytest.approx(settings)


def test_five_percent_is_the_rule_of_a_case_without_a_limit() -> None:
    rule = TimingRule(**settings_for("a", "step", ("a=5%",)))
    assert rule == TimingRule()


@pytest.mark.parametrize(
    "text",
    [
        "a:step",
        "a:step=much",
        "a:step=0.08",
        "a:step=-1%",
        "a:step=0%",
        "a:step>=8%",
        "a:flops=50us",
        "a:output_checksum=1%",
        "a:accuracy=80%",
        "a:step=any",
    ],
)
def test_a_limit_without_meaning_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected CASE:METHOD=8%"):
        parse_threshold(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a:step/seconds/regression=0.2", "a:step=20%"),
        ("a:step/seconds/tolerated=0.25", "a:step=20%"),
        ("*/seconds/smallest_seconds=0.0001", "*=100us"),
        ("a:exact/flops/gate=0", "a:flops=any"),
        ("a/flops/gate=1", "a:flops=0%"),
        ("a/flops/tolerated=0.02", "a:flops=2%"),
        ("*/accuracy/margin=0.02", "*:accuracy=2pp"),
        ("a:accuracy/accuracy/floor=0.8", "a:accuracy>=80%"),
    ],
)
def test_the_old_form_is_refused_with_the_new_one(old: str, new: str) -> None:
    with pytest.raises(UsageError, match=f"now written {re.escape(new)}$"):
        parse_threshold(old)
    assert parse_threshold(new)


def test_a_named_case_beats_the_star_and_a_named_method_the_case() -> None:
    limits = ("a:step=30%", "a=10%", "*=20%", "*:accuracy>=90%")

    def limit_of(case: str, what: str) -> float:
        return settings_for(case, what, limits)["regression"]

    assert limit_of("a", "step") == 0.3
    assert limit_of("a", "forward") == 0.1
    assert limit_of("b", "step") == 0.2
    assert settings_for("b", "accuracy", limits) == {"floor": 0.9}


def test_limits_of_a_file_are_a_list() -> None:
    table = {"subject": "a:b", "threshold": ["*:flops=any", "*=8%"]}
    assert thresholds_in(table) == ("*:flops=any", "*=8%")


def test_tables_of_limits_are_refused_with_the_list() -> None:
    old = {
        "a:step": {"seconds": {"regression": 0.2, "tolerated": 0.25}},
        "b:accuracy": {"accuracy": {"floor": 0.8}},
    }
    said = re.escape('now written threshold = ["a:step=20%", "b:accuracy>=80%"]')
    with pytest.raises(UsageError, match=said):
        thresholds_in({"thresholds": old})
    with pytest.raises(UsageError, match=r"\[check.limits\]: expected keys"):
        thresholds_in({"limits": {}})
