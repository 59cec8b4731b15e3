import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resnet_bench.statistics import estimates as statistics

numbers = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))
positive = st.floats(1e-3, 1e3)


@given(st.lists(numbers, min_size=2, max_size=12).filter(lambda v: len(set(v)) > 1))
def test_mean_interval_equals_scipy(samples: list[float]) -> None:
    interval = statistics.mean_interval(samples)
    low, high = stats.ttest_1samp(samples, 0.0).confidence_interval(0.95)
    assert interval.estimate == pytest.approx(np.mean(samples), abs=1e-9)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-6)
    assert interval.samples == len(samples)


def test_one_sample_has_an_unbounded_mean() -> None:
    interval = statistics.mean_interval([3.0])
    assert interval.estimate == 3.0
    assert (interval.low, interval.high) == (-math.inf, math.inf)


def test_no_samples_and_non_finite_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        statistics.mean_interval([])
    with pytest.raises(ValueError, match="finite"):
        statistics.mean_interval([1.0, math.nan])


def test_paired_difference_ignores_what_both_sides_share() -> None:
    shared = np.array([0.0, 100.0, -50.0, 7.0])
    interval = statistics.paired_difference_interval(shared + 2, shared)
    assert interval.estimate == pytest.approx(2)
    assert interval.high - interval.low == pytest.approx(0, abs=1e-9)


def test_samples_of_different_number_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="2 samples cannot be paired with 1"):
        statistics.paired_difference_interval([1.0, 2.0], [1.0])


@given(st.lists(positive, min_size=2, max_size=9))
def test_interval_of_ratios_inverts_when_the_sides_are_swapped(
    ratios: list[float],
) -> None:
    forward = statistics.geometric_interval(ratios)
    backward = statistics.geometric_interval([1 / ratio for ratio in ratios])
    assert forward.estimate == pytest.approx(1 / backward.estimate)
    assert math.log(forward.low) == pytest.approx(-math.log(backward.high), abs=1e-9)
    assert forward.low <= forward.estimate * (1 + 1e-12)


def test_rounds_that_one_side_left_out_are_paired_with_those_of_the_other() -> None:
    rounds = {number: 1.0 + number for number in range(8)}
    mine = {key: 3 * value for key, value in rounds.items() if key != 6}
    theirs = {key: value for key, value in rounds.items() if key != 7}
    ratio = statistics.ratio_by_key(mine, theirs)
    assert ratio is not None
    assert ratio.samples == 7
    assert ratio.low == pytest.approx(3)
    assert 3 < ratio.high < 3 * 8 / 7
    late = statistics.ratio_by_key({8: 6.0, 9: 3.0}, {0: 1.0})
    assert late is not None
    assert late.samples == 1
    assert late.estimate == pytest.approx(3)
    assert statistics.ratio_by_key({}, rounds) is None


def test_ratios_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        statistics.geometric_interval([0.0, 1.0])


@given(st.lists(positive, min_size=1, max_size=9))
def test_geometric_mean_equals_scipy(samples: list[float]) -> None:
    expected = float(stats.gmean(samples))
    assert statistics.geometric_mean(samples) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("samples", "critical"),
    # Two-sided 5 % critical values of Wilcoxon's signed-rank test, as tabulated.
    [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (12, 13), (16, 29), (20, 52), (25, 89)],
)
def test_signed_rank_bound_equals_the_tabulated_critical_values(
    samples: int, critical: int
) -> None:
    assert statistics.signed_rank_bound(samples) == critical + 1


def test_five_samples_carry_no_signed_rank_interval() -> None:
    interval = statistics.hodges_lehmann([1.0, 2.0, 3.0, 4.0, 10.0])
    assert interval.estimate == 3.0
    assert (interval.low, interval.high) == (-math.inf, math.inf)


def test_six_samples_are_bounded_by_their_extremes() -> None:
    interval = statistics.hodges_lehmann([5.0, 1.0, 2.0, 4.0, 3.0, 9.0])
    assert (interval.low, interval.high) == (1.0, 9.0)


@given(st.lists(numbers, min_size=6, max_size=14, unique=True))
def test_signed_rank_interval_holds_what_scipy_does_not_reject(
    samples: list[float],
) -> None:
    interval = statistics.hodges_lehmann(samples)
    width = interval.high - interval.low
    inside = np.array(samples) - (interval.low + 0.5 * width)
    outside = np.array(samples) - (interval.high + 0.01 * width + 1e-4)
    magnitudes = np.round(np.abs(np.concatenate((inside, outside))), 9)
    if len(set(magnitudes[: len(samples)])) == len(samples) and (inside != 0).all():
        assert stats.wilcoxon(inside, method="exact").pvalue > 0.05
    assert stats.wilcoxon(outside, method="exact").pvalue <= 0.05 + 1e-12


def test_hodges_lehmann_resists_one_wild_pair() -> None:
    calm = statistics.hodges_lehmann([0.01 * k for k in range(-6, 6)])
    wild = statistics.hodges_lehmann([0.01 * k for k in range(-6, 5)] + [50.0])
    assert wild.estimate == pytest.approx(calm.estimate, abs=0.02)


def test_percentiles_are_withheld_until_the_sample_carries_them() -> None:
    values = [float(value) for value in range(1, 301)]
    assert statistics.percentile(values[:28], 90) is None
    assert statistics.percentile(values[:29], 90) == pytest.approx(26.2)
    assert statistics.percentile(values[:298], 99) is None
    assert statistics.percentile(values[:299], 99) == pytest.approx(296.02)


def test_a_time_is_the_centre_of_its_visits_with_bounds_from_six_on() -> None:
    interval = statistics.time_interval([1.0, 1.1, 0.9, 1.0, 1.05, 5.0])
    assert interval.estimate == pytest.approx(1.05, abs=0.1)  # no outlier moves it
    assert (interval.bounded, interval.low, interval.samples) == (True, 0.9, 6)
    few = statistics.time_interval([1.0, 2.0])
    assert few.estimate == pytest.approx(math.sqrt(2))
    assert not few.bounded


def test_a_trend_is_a_falling_or_rising_series_not_noise() -> None:
    falling = [1.3, 1.2, 1.15, 1.02, 1.01, 1.005, 1.0, 0.999, 0.998]
    assert statistics.trend_of(falling) > 0.1
    assert statistics.trend_of(falling[::-1]) < -0.03
    assert statistics.trend_of([1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98, 1.0]) == 0
    small = [1.01, 1.009, 1.008, 1.007, 1.006, 1.005, 1.004, 1.003, 1.002]
    assert statistics.trend_of(small) == 0  # a trend, but of less than 3 %
    assert statistics.trend_of([3.0, 2.0, 1.0]) == 0


def test_wilson_interval_equals_the_published_example() -> None:
    # Newcombe 1998, Table I: 81 of 263, method 3.
    interval = statistics.wilson_interval(81, 263)
    assert interval.estimate == pytest.approx(0.3080, abs=5e-5)
    assert interval.low == pytest.approx(0.2553, abs=5e-5)
    assert interval.high == pytest.approx(0.3662, abs=5e-5)


@pytest.mark.parametrize(("errors", "total"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_interval_refuses_what_is_no_proportion(errors: int, total: int) -> None:
    with pytest.raises(ValueError, match="is not a proportion"):
        statistics.wilson_interval(errors, total)


def test_the_interval_of_a_ratio_of_means_covers_it_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        slow = generator.normal(3.0, 0.3, size=12)
        fast = generator.normal(2.0, 0.05, size=40)
        interval = statistics.ratio_of_means(slow, fast)
        covered += interval.low <= 1.5 <= interval.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_a_ratio_of_means_is_unbounded_with_one_sample_and_exact_without_spread() -> (
    None
):
    alone = statistics.ratio_of_means([3.0], [2.0, 2.0])
    assert (alone.low, alone.estimate, alone.high) == (0.0, 1.5, math.inf)
    same = statistics.ratio_of_means([3.0, 3.0], [2.0, 2.0])
    assert (same.low, same.estimate, same.high, same.samples) == (1.5, 1.5, 1.5, 2)


def test_a_bowl_is_smooth_and_noise_is_rough_whatever_their_height() -> None:
    places = np.linspace(-1, 1, 21)
    noise = np.random.default_rng(0).normal(size=21)
    bowl = statistics.roughness(places**2)
    assert bowl == pytest.approx(2 * 0.1**2)
    assert statistics.roughness(100 * places**2 + 5) == pytest.approx(bowl)
    rough = statistics.roughness(0.001 * noise)
    assert rough is not None
    assert rough > 0.4
    assert statistics.roughness(places) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("curve", [[1.0, 2.0], [1.0, 1.0, 1.0], [1.0, None, 2.0]])
def test_the_roughness_of_a_constant_or_broken_curve_is_unknown(
    curve: list[float],
) -> None:
    assert statistics.roughness(curve) is None


def test_p_of_a_mean_is_where_its_interval_ends() -> None:
    samples = [1.0, 2.0, 4.0]
    interval = statistics.mean_interval(samples)
    assert statistics.mean_p(samples, interval.low) == pytest.approx(0.05)
    assert statistics.mean_p(samples, interval.estimate) == pytest.approx(1.0)


def test_equal_samples_decide_by_their_value() -> None:
    assert statistics.mean_p([3.0, 3.0], 3.0) == 1.0
    assert statistics.mean_p([3.0, 3.0], 2.0) == 0.0
    with pytest.raises(ValueError, match="no spread"):
        statistics.mean_p([3.0], 2.0)


def test_packed_answers_become_the_share_of_rows_that_were_right() -> None:
    assert statistics.right_shares(["c0", "a0"], 4).tolist() == [1.0, 0.5, 0.5, 0.0]


def test_images_leave_half_a_normal_interval() -> None:
    shares = [0.0] * 50 + [1.0] * 50
    expected = 100 * 1.96 * 0.5 / 10
    assert statistics.points_over_images(shares) == pytest.approx(expected, rel=0.02)
