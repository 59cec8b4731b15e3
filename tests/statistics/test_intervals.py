"""The order-statistic interval of a median."""

import math
import random
import statistics

import pytest

from resnet_bench.statistics.intervals import Interval, lower_rank, median_interval


@pytest.mark.parametrize(
    ("samples", "rank"), [(6, 1), (9, 2), (20, 6), (50, 18), (100, 40)]
)
def test_lower_rank_equals_the_published_table(samples: int, rank: int) -> None:
    # Sign-test table, two-sided 5 %: e.g. Conover, Practical Nonparametric Statistics.
    assert lower_rank(samples) == rank


def test_lower_rank_is_continuous_where_the_approximation_begins() -> None:
    assert 0 <= lower_rank(1001) - lower_rank(1000) <= 1


def test_interval_of_few_samples_is_their_extremes() -> None:
    interval = median_interval([3.0, 1.0, 2.0])
    assert interval == Interval(2.0, 1.0, 3.0, 3)


def test_interval_covers_the_median_about_as_often_as_it_says() -> None:
    generator = random.Random(0)
    covered = 0
    for _ in range(2000):
        interval = median_interval([generator.expovariate(1) for _ in range(15)])
        covered += interval.low <= math.log(2) <= interval.high
    assert covered / 2000 >= 0.94


def test_median_is_the_middle_of_the_samples() -> None:
    samples = [5.0, 1.0, 4.0, 2.0]
    assert median_interval(samples).estimate == statistics.median(samples)


def test_no_samples_have_no_median() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median_interval([])


def test_relative_spread_of_a_zero_estimate_is_infinite() -> None:
    assert Interval(0.0, -1.0, 1.0, 6).relative_spread == math.inf
    assert Interval(2.0, 1.0, 3.0, 6).relative_spread == 0.5
    assert Interval(2.0, 1.9, 3.0, 6).relative_spread == 0.5
    assert Interval(2.0, 1.0, 2.1, 6).relative_spread == 0.5


def test_an_interval_has_one_json_shape_without_infinities() -> None:
    made = Interval(2.0, 1.0, math.inf, 7).json
    assert made == {"estimate": 2.0, "low": None, "high": None, "n": 7}


def test_an_interval_is_scaled_and_inverted_with_its_bounds() -> None:
    found = Interval(4.0, 2.0, 8.0, 3)
    assert found.times(0.5) == Interval(2.0, 1.0, 4.0, 3)
    assert found.inverse == Interval(0.25, 0.125, 0.5, 3)
    assert Interval(4.0, 0.0, math.inf, 1).inverse == Interval(0.25, 0.0, math.inf, 1)
