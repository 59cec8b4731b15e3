import pytest

from resnet_bench.errors import UsageError
from resnet_bench.gate.cases import DEFAULT_CASES, Case, parse_case


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


def test_the_default_suite_times_three_cases_and_looks_at_every_variant() -> None:
    assert [case.text for case in DEFAULT_CASES if case.is_timed] == [
        "resnet18:forward",
        "resnet18:step",
        "resnet50:forward",
    ]
    names = {case.name for case in DEFAULT_CASES}
    assert {f"resnet{depth}" for depth in (18, 34, 50, 101, 152)} < names
