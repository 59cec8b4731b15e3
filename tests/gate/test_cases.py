import pytest

from resnet_bench.errors import UsageError
from resnet_bench.gate.spec import Case, parse_case


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
