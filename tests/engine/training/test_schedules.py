from __future__ import annotations

import pytest

from resnet_bench.engine.training.trainer import SHAPES, Schedule, schedule_for

STEPS = 200


def rates(recipe: str, depth: int = 20, warm: bool = True) -> list[float]:
    schedule = schedule_for(recipe, STEPS, 0.1, depth)
    return [schedule.rate(step, warm) for step in range(STEPS)]


@pytest.mark.parametrize("recipe", list(SHAPES))
def test_every_recipe_reaches_its_peak_and_never_passes_it(recipe: str) -> None:
    assert max(rates(recipe)) == pytest.approx(0.1, rel=1e-3)
    assert min(rates(recipe)) > 0


@pytest.mark.parametrize("recipe", ["one-cycle", "cosine"])
def test_a_warm_up_climbs_then_ends_and_the_rate_falls_to_nearly_nothing(
    recipe: str,
) -> None:
    course = rates(recipe)
    peak = course.index(max(course))
    assert 0 < peak <= 0.31 * STEPS
    assert course[: peak + 1] == sorted(course[: peak + 1])
    assert course[peak:] == sorted(course[peak:], reverse=True)
    assert course[-1] < 1e-4


def test_the_one_cycle_rate_is_known_at_its_corners() -> None:
    course = rates("one-cycle")
    assert course[0] == pytest.approx(0.004)
    assert course[30] == pytest.approx((0.004 + 0.1) / 2)
    assert course[60] == pytest.approx(0.1)
    assert course[130] == pytest.approx(0.05, rel=1e-3)


def test_the_cosine_rate_is_known_at_its_corners() -> None:
    course = rates("cosine")
    assert course[0] == pytest.approx(0.001)
    assert course[5] == pytest.approx(0.05)
    assert course[10] == pytest.approx(0.1)
    assert course[105] == pytest.approx(0.05)


def test_the_papers_rate_drops_at_half_and_at_three_quarters() -> None:
    schedule = schedule_for("paper", 64_000, 0.1, depth=56)
    steps = [0, 31_999, 32_000, 47_999, 48_000, 63_999]
    expected = [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    assert [schedule.rate(s, warm=False) for s in steps] == pytest.approx(expected)


def test_a_constant_rate_stays() -> None:
    assert set(rates("constant")) == {0.1}


def test_deep_networks_of_the_paper_wait_at_a_tenth_until_they_are_warm() -> None:
    schedule = schedule_for("paper", 64_000, 0.1, depth=110)
    assert schedule.rate(400, warm=False) == pytest.approx(0.01)
    assert schedule.rate(400, warm=True) == pytest.approx(0.1)


def test_the_warm_up_of_a_network_that_never_learns_ends_all_the_same() -> None:
    schedule = schedule_for("paper", 64_000, 0.1, depth=110)
    assert schedule.latest_warm_up_end == 4_000
    assert schedule.rate(3_999, warm=False) == pytest.approx(0.01)
    assert schedule.rate(4_000, warm=False) == pytest.approx(0.1)


def test_a_warm_up_ends_even_in_the_shortest_training() -> None:
    schedule = Schedule(shape="paper", steps=3, peak=0.1, waits=True)
    assert [schedule.rate(s, warm=False) for s in range(3)] == pytest.approx(
        [0.01, 0.1, 0.01]
    )


def test_only_the_papers_recipe_waits_and_only_for_deep_networks() -> None:
    assert not schedule_for("paper", 100, 0.1, depth=56).waits
    assert not schedule_for("one-cycle", 100, 0.1, depth=110).waits
