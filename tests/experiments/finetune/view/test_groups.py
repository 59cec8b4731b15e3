import math

import pytest

from resnet_bench.experiments.finetune.view.groups import (
    Group,
    gain_over_scratch,
    groups_of,
)
from resnet_bench.store.reading import Run


def group_of(run: Run, strategy: str, fraction: float) -> Group:
    """Return ResNet-18's group."""
    return next(
        group
        for group in groups_of(run)
        if (group.variant, group.strategy, group.fraction) == (18, strategy, fraction)
    )


def test_strategies_come_before_controls_and_larger_shares_first(run: Run) -> None:
    placed = [(g.strategy, g.variant, g.fraction, g.permuted) for g in groups_of(run)]
    assert placed[:3] == [
        ("probe", 18, 1.0, False),
        ("full", 18, 1.0, False),
        ("scratch", 18, 1.0, False),
    ]
    assert placed[12] == ("raw-pixels", None, 1.0, False)
    assert placed[-1] == ("random-probe", 34, 1.0, True)


def test_the_gain_over_scratch_is_paired_by_seed(run: Run) -> None:
    gain = gain_over_scratch(group_of(run, "full", 1.0), groups_of(run))
    # Every seed gains exactly one point, however much the seeds themselves differ.
    assert gain is not None
    assert (gain.estimate, gain.low, gain.high) == pytest.approx((1.0, 1.0, 1.0))
    scratch = group_of(run, "scratch", 1.0)
    assert gain_over_scratch(scratch, groups_of(run)) is None


def test_a_target_that_was_not_reached_takes_forever(run: Run) -> None:
    assert group_of(run, "scratch", 1.0).seconds_to_target == 8.0
    assert math.isinf(group_of(run, "scratch", 0.1).seconds_to_target)


def test_a_test_set_of_180_images_leaves_several_points_of_sampling_error(
    run: Run,
) -> None:
    assert 1.0 < group_of(run, "full", 1.0).sampling_points < 5.0


def test_several_rows_of_a_seed_are_averaged() -> None:
    rows = [{"seed": 0, "test_accuracy_percent": level} for level in (50.0, 60.0)]
    assert Group(18, "random-probe", 1.0, True, rows).by_seed == {0: 55.0}
