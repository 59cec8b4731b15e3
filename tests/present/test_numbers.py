from __future__ import annotations

import math

import pytest

from resnet_bench.present.numbers import bracketed, compact
from resnet_bench.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (84.94, "84.9"),
        (-0.00049, "-5e-4"),
        (0.02, "0.02"),
        (935.2, "935"),
        (2e6, "2e6"),
        (1e-4, "1e-4"),
        (5.0, "5"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
    ],
)
def test_compact_numbers_have_three_digits_and_extremes_a_power(
    value: float, text: str
) -> None:
    assert compact(value) == text


def test_an_interval_without_bounds_has_a_question_mark() -> None:
    assert bracketed(Interval(2.0, 1.5, 2.54, 3)) == "2 [1.5, 2.54]"
    assert bracketed(Interval(2.0, -math.inf, math.inf, 1)) == "2 (no bounds)"
