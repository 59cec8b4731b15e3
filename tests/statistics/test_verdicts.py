"""The rules that decide claims: exact, and right as often as they promise."""

from __future__ import annotations

import numpy as np
import pytest

from resnet_bench.statistics.verdicts import (
    Verdict,
    fisher_p,
    holm,
    most,
    needed,
    power,
    seeds_that_decide,
)

RUNS = 4_000


@pytest.mark.parametrize(("seeds", "count"), [(5, 5), (8, 7), (11, 9)])
def test_most_seeds_are_five_of_five_seven_of_eight_and_nine_of_eleven(
    seeds: int, count: int
) -> None:
    assert needed(seeds) == count
    assert most(count, seeds) is Verdict.SUPPORTED
    assert most(count - 1, seeds) is Verdict.INCONCLUSIVE
    assert most(seeds - count, seeds) is Verdict.REFUTED


def test_four_seeds_are_too_few_for_a_verdict() -> None:
    assert most(4, 4) is Verdict.NO_VERDICT


@pytest.mark.parametrize(
    ("seeds", "percent"), [(5, (33, 59, 77)), (8, (50, 81, 94)), (11, (62, 91, 98))]
)
def test_the_power_is_that_of_the_binomial_distribution(
    seeds: int, percent: tuple[int, ...]
) -> None:
    powers = [round(100 * power(share, seeds)) for share in (0.8, 0.9, 0.95)]
    assert tuple(powers) == percent


@pytest.mark.parametrize("seeds", [5, 8, 11])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_simulated_runs_are_supported_as_often_as_calculated(
    seeds: int, share: float
) -> None:
    trained = np.random.default_rng(seeds).random((RUNS, seeds)) < share
    counts = trained.sum(axis=1)
    supported = np.mean([most(int(c), seeds) is Verdict.SUPPORTED for c in counts])
    assert supported == pytest.approx(power(share, seeds), abs=0.03)
    if share == 0.5:
        assert supported <= 0.05


def test_fishers_test_tells_none_of_five_from_five_and_not_two_from_five() -> None:
    five = [True] * 5
    assert fisher_p([False] * 5, five) == pytest.approx(2 / 252)
    assert fisher_p([True] + [False] * 4, five) == pytest.approx(12 / 252)
    assert fisher_p([True] * 2 + [False] * 3, five) > 0.05


def test_fishers_test_is_wrong_at_most_as_often_as_it_may_be() -> None:
    draw = np.random.default_rng(0)
    wrong = [
        fisher_p(first, second) <= 0.05
        for first, second in (draw.random((1_000, 2, 5)) < 0.5).tolist()
    ]
    assert np.mean(wrong) <= 0.05


def test_holm_multiplies_the_least_p_by_the_number_of_tests() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_seeds_that_decide_follow_the_share_seen() -> None:
    assert seeds_that_decide(0.8, 5) == 11
    assert seeds_that_decide(0.5, 8) is None
