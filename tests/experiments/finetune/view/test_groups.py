import math

import pytest

from resnet_bench.experiments.finetune.view.groups import (
    Group,
    gain_over_random,
    gain_over_scratch,
    groups_of,
)
from resnet_bench.store.reading import Run
from tests.experiments.finetune.stored import answers_of


def group_of(run: Run, strategy: str, shots: int) -> Group:
    """Return ResNet-18's group."""
    return next(
        group
        for group in groups_of(run)
        if (group.variant, group.strategy, group.shots) == (18, strategy, shots)
    )


def test_few_shots_come_first_and_controls_after_strategies(run: Run) -> None:
    placed = [(g.strategy, g.variant, g.shots, g.permuted) for g in groups_of(run)]
    assert placed[:5] == [
        ("probe", 18, 10, False),
        ("full", 18, 10, False),
        ("scratch", 18, 10, False),
        ("random-probe", 18, 10, False),
        ("probe", 34, 10, False),
    ]
    assert placed[8] == ("raw-pixels", None, 10, False)
    assert placed[-1] == ("random-probe", 34, 200, True)


def test_gains_are_paired_by_seed_and_image(run: Run) -> None:
    gain = gain_over_scratch(group_of(run, "full", 200), groups_of(run))
    # Every seed gains exactly one point, however much the seeds themselves differ;
    # what is left is that other images might have been drawn.
    assert gain is not None
    assert gain.estimate == pytest.approx(1.0)
    assert gain.high - gain.low == pytest.approx(2 * 1.96 * 0.234, rel=0.02)
    scratch = group_of(run, "scratch", 200)
    assert gain_over_scratch(scratch, groups_of(run)) is None
    over_random = gain_over_random(group_of(run, "probe", 200), groups_of(run))
    assert over_random is not None
    assert over_random.estimate == pytest.approx(1.0 - 0.3)


def test_a_target_that_was_not_reached_takes_forever(run: Run) -> None:
    assert group_of(run, "scratch", 200).seconds_to_target == 8.0
    assert math.isinf(group_of(run, "scratch", 10).seconds_to_target)


def test_accuracies_stay_below_100_percent_and_several_rows_are_averaged() -> None:
    rows = [
        {
            "seed": 0,
            "test_images": 1000,
            "right_answers": answers_of(level),
            "renderings": None,
        }
        for level in (99.0, 100.0)
    ]
    group = Group(18, "full", None, False, rows)
    assert group.accuracy.estimate == pytest.approx(99.5)
    assert 98 < group.accuracy.low < group.accuracy.high < 100
