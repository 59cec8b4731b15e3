"""Pooled times, against calculations by hand."""

import math
from typing import Any

import pytest
from scipy import stats

from resnet_bench.experiments.speed.grid import resolved
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.reports.pooling import (
    Observed,
    Pool,
    Spread,
    expected,
    observed_in,
    pools_of,
    spread_between,
)
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import assemble
from tests.toys.speed_runs import ENVIRONMENT, header_of


def timed(
    number: int, seconds: float, visits: int = 9, software: str = "", **row: Any
) -> Observed:
    """A row of the run of that number, with an interval of ±2 % (3.92 deviations)."""
    half = math.exp(0.0196)
    made = Interval(seconds, seconds / half, seconds * half, visits)
    if visits < 6:
        made = Interval(seconds, -math.inf, math.inf, visits)
    content = {"variant": 18, "batch_size": 1, "time": made, **row}
    return Observed(content, f"2026010{number}T000000Z_a_1", None, software)


def pooled(*observed: Observed) -> list[Pool]:
    return pools_of(observed, lambda row: row["time"])


def test_three_runs_are_pooled_as_by_hand() -> None:
    (pool,) = pooled(timed(1, 0.010), timed(2, 0.011), timed(3, 0.012))
    logarithms = [math.log(each) for each in (0.010, 0.011, 0.012)]
    mean = sum(logarithms) / 3
    squares = sum((each - mean) ** 2 for each in logarithms)
    between = (4 * 0.15**2 / 2 + squares) / (4 + 2)
    within = 0.01**2  # (ln(high / low) / 3.92)^2 = (0.0392 / 3.92)^2
    deviation = math.sqrt(between + (within + between) / 3)

    spread = spread_between([pool], None)
    assert spread.variance == pytest.approx(between)
    assert spread.freedom == 6
    found = expected(pool, spread)
    assert found.seconds == pytest.approx(math.exp(mean))
    assert found.deviation == pytest.approx(deviation)
    chance = stats.t.cdf((math.log(0.013) - mean) / deviation, 6)
    assert found.chance(0.013) == pytest.approx(float(chance))
    assert found.chance(found.interval.high) == pytest.approx(0.975)
    assert found.interval.samples == 27


def test_one_run_widens_by_the_spread_known_beforehand() -> None:
    (pool,) = pooled(timed(1, 0.010))
    spread = spread_between([pool], None)
    assert spread.variance == pytest.approx(0.01125)
    assert spread.freedom == 4
    # sqrt(0.01125 + 0.0001 + 0.01125)
    assert expected(pool, spread).deviation == pytest.approx(0.15033, abs=1e-5)
    assert "assumed" in spread.sentence
    by_noise = spread_between([pool], 0.02)
    assert by_noise.variance == pytest.approx(0.0002)
    assert "the newest noise run" in by_noise.sentence


def test_a_precise_run_weighs_more_than_a_rough_one() -> None:
    rough = Interval(0.02, 0.01, 0.04, 9)
    (pool,) = pooled(timed(1, 0.010), timed(2, 0.020, time=rough))
    rough_variance = (math.log(4) / 3.92) ** 2
    weights = [1 / (0.01**2 + 1e-4), 1 / (rough_variance + 1e-4)]
    logarithm = (weights[0] * math.log(0.010) + weights[1] * math.log(0.020)) / sum(
        weights
    )
    found = expected(pool, Spread(1e-4, 0, by_noise=False))
    assert found.seconds == pytest.approx(math.exp(logarithm))


def test_a_disturbed_run_does_not_replace_a_good_one() -> None:
    for flag in ("noisy", "oversubscribed", "stopped"):
        (pool,) = pooled(timed(1, 0.097), timed(2, 1.160, flags=[flag]))
        assert expected(pool, spread_between([pool], None)).seconds == (
            pytest.approx(0.097)
        )
        assert [each.flaws for each in pool.newer] == [[flag]]
    (alone,) = pooled(timed(2, 1.160, flags=["noisy"]))
    assert len(alone.timed) == 1


def test_a_disturbed_run_of_newer_software_does_not_replace_a_good_one() -> None:
    good = timed(1, 0.01, software="old")
    bad = timed(2, 0.02, software="new", flags=["oversubscribed"])
    (pool,) = pooled(good, bad)
    assert pool.runs == [good.run]
    assert [each.observed.run for each in pool.newer] == [bad.run]


def test_the_five_newest_undisturbed_runs_count() -> None:
    runs = [timed(number, 0.01 * number) for number in range(1, 8)]
    (pool,) = pooled(*runs, timed(8, 1.0, flags=["noisy"]))
    assert [each.observed.run[7] for each in pool.timed] == list("76543")


def test_other_software_and_settings_are_not_pooled() -> None:
    (pool,) = pooled(timed(1, 0.01, software="old"), timed(2, 0.02, software="new"))
    assert [each.seconds.estimate for each in pool.timed] == [0.02]
    old = timed(1, 0.01, software="old", keep_memory=None)
    (pool,) = pooled(old, timed(2, 0.02, software="new", keep_memory=False))
    assert [each.seconds.estimate for each in pool.timed] == [0.02]
    for changed in ({"batch_size": 4}, {"threads": 1}, {"compiled": True}):
        assert len(pooled(timed(1, 0.01), timed(2, 0.02, **changed))) == 2


def test_rows_of_few_visits_count_only_alone() -> None:
    (pool,) = pooled(timed(1, 0.01), timed(2, 0.02, visits=5))
    assert [each.seconds.estimate for each in pool.timed] == [0.01]
    (few,) = pooled(timed(1, 0.01, visits=3), timed(2, 0.02, visits=3))
    assert not few.bounded
    assert few.visits == 6
    assert spread_between([few], None).freedom == 4
    assert not expected(few, spread_between([few], None)).interval.bounded


def test_software_is_libraries_python_and_variables(tmp_path: Any) -> None:
    config = resolved(Config(variants=(18,)), "cpu", 2)

    def software(**changes: Any) -> str:
        known = {**ENVIRONMENT, **changes}
        run = assemble(tmp_path, [header_of(config, environment=known)])
        return observed_in(run, [{}])[0].software

    usual = software()
    assert software(libraries={"torch": "2.11.0", "pandas": "9"}) == usual
    assert software(libraries={"torch": "2.12.0"}) != usual
    assert software(variables={"OMP_NUM_THREADS": "1"}) != usual
