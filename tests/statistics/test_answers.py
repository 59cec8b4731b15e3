"""Accuracies over seeds and images: coverage, clusters, edges."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from resnet_bench.statistics.answers import (
    Answers,
    accuracy_interval,
    difference_interval,
    fixed_accuracy_interval,
    mean_of,
    p_values,
    spread_of,
)


def answers(*rows: Sequence[float], renderings: list[int] | None = None) -> Answers:
    return Answers(
        by_seed={seed: np.array(row, float) for seed, row in enumerate(rows)},
        renderings=renderings,
    )


def drawn(
    seeds: int, images: int, copies: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return right answers whose chance of 0.6 varies by seed and by original."""
    level = 0.4 + generator.normal(0, 0.2, (seeds, 1))
    level = level + np.repeat(generator.normal(0, 1, (1, images)), copies, axis=1)
    chance = 1 / (1 + np.exp(-level))
    return (generator.random((seeds, images * copies)) < chance).astype(np.float64)


def test_the_variance_adds_that_over_seeds_and_that_over_images() -> None:
    found = spread_of(answers([1, 1, 0, 0], [1, 1, 1, 0]))
    over_seeds = np.var([0.5, 0.75], ddof=1) / 2
    over_images = np.var([1, 1, 0.5, 0], ddof=1) / 4
    assert found.mean == pytest.approx(0.625)
    assert found.variance == pytest.approx(over_seeds + over_images)
    expected = found.variance**2 / (over_seeds**2 / 1 + over_images**2 / 3)
    assert found.freedom == pytest.approx(expected)


def test_renderings_of_one_original_are_one_cluster() -> None:
    single = spread_of(answers([1, 0, 1], [1, 0, 0]))
    doubled = spread_of(
        answers([1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0], renderings=[2, 2, 2])
    )
    assert doubled.variance == pytest.approx(single.variance)
    assert doubled.clusters == 3
    loose = spread_of(answers([1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0]))
    assert loose.variance < single.variance


def test_intervals_of_accuracies_hold_the_truth_in_about_95_of_100_cases() -> None:
    generator = np.random.default_rng(0)
    held, truth = 0, drawn(2000, 2000, 1, generator).mean()
    for _ in range(200):
        rows = drawn(3, 100, 3, generator)
        found = accuracy_interval(answers(*rows, renderings=[3] * 100))
        held += found.low <= truth <= found.high
    assert held >= 180


@pytest.mark.parametrize("rows", [[[1] * 50], [[1] * 50] * 3, [[0] * 50] * 2])
def test_certain_answers_leave_what_so_many_images_do(rows: list[list[float]]) -> None:
    for interval in (accuracy_interval, fixed_accuracy_interval):
        found = interval(answers(*rows))
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        assert 0.05 < found.high - found.low < 0.1


def test_two_seeds_far_apart_stay_within_0_and_1() -> None:
    found = accuracy_interval(answers([1] * 99 + [0], [0] * 99 + [1]))
    assert 0 <= found.low < 0.5 < found.high <= 1
    difference = answers([1] * 99 + [0], [0] * 99 + [1]).minus(answers([0] * 100))
    assert difference is not None
    assert difference.by_seed.keys() == {0}
    wide = difference_interval(answers([1] * 100, [-1] * 100))
    assert (wide.low, wide.high) == (-1, 1)


def test_a_fixed_classifier_gets_wilsons_interval() -> None:
    found = fixed_accuracy_interval(answers([1] * 80 + [0] * 20))
    assert (found.low, found.high) == pytest.approx((0.711, 0.867), abs=0.002)


def test_differences_are_paired_by_seed_and_image() -> None:
    left = answers([1, 1, 0, 1], [1, 0, 0, 1])
    right = answers([1, 0, 0, 1], [0, 0, 0, 1])
    difference = left.minus(right)
    assert difference is not None
    assert [each.tolist() for each in difference.by_seed.values()] == [
        [0, 1, 0, 0],
        [1, 0, 0, 0],
    ]
    assert difference_interval(difference).estimate == pytest.approx(0.25)
    assert left.minus(answers([1, 0])) is None


def test_equal_answers_are_no_proof_of_equality() -> None:
    found = difference_interval(answers([0] * 100, [0] * 100))
    assert found.low == -found.high
    assert 0.03 < found.high < 0.04


def test_the_mean_of_networks_is_taken_seed_by_seed() -> None:
    mean = mean_of([answers([1, 0], [1, 1]), answers([0, 0], [1, 0])])
    assert mean is not None
    assert [each.tolist() for each in mean.by_seed.values()] == [[0.5, 0], [1, 0.5]]


def test_networks_without_a_common_seed_have_no_mean() -> None:
    first, later = answers([1, 0]), Answers(by_seed={7: np.array([1.0, 0.0])})
    assert mean_of([first, later]) is None
    assert mean_of([]) is None


def test_p_values_agree_with_the_interval() -> None:
    generator = np.random.default_rng(1)
    for shift in (0.0, 0.02, 0.05):
        rows = generator.normal(shift, 0.3, (6, 1000)).clip(-1, 1)
        difference = answers(*rows)
        interval = difference_interval(difference)
        differs, within = p_values(difference, margin=0.03)
        assert (differs < 0.05) == (interval.low > 0 or interval.high < 0)
        assert (within < 0.05) == (interval.low > -0.03 and interval.high < 0.03)


def test_answers_that_all_differ_alike_differ() -> None:
    for difference in (1.0, -1.0, -0.5):
        differs, within = p_values(answers([difference] * 50, [difference] * 50), 0.03)
        assert differs < 0.05
        assert within == 1
