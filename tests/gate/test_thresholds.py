from typing import Any

import pytest

from resnet_bench.errors import UsageError
from resnet_bench.gate.spec import parse_threshold, settings_for, thresholds_in


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
