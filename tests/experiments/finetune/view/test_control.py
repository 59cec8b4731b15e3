"""The negative control: pooled, judged, said and drawn."""

import math

import numpy as np
import pytest

from resnet_bench.experiments.finetune.view.control import (
    ControlGain,
    answers_of,
    control_figure,
    control_gains,
    control_sentences,
    control_table,
    sampling_points,
)
from resnet_bench.experiments.finetune.view.groups import Group, groups_of
from resnet_bench.statistics.intervals import Interval
from resnet_bench.statistics.verdicts import Verdict
from resnet_bench.store.reading import Run
from tests.experiments.finetune.stored import resolved, stored_run


def gain(variant: int | None, low: float, high: float) -> ControlGain:
    middle = (low + high) / 2 if math.isfinite(low) else 0.0
    return ControlGain(variant=variant, gain=Interval(middle, low, high, 3))


def test_the_negative_control_pools_variants_and_judges_each(run: Run) -> None:
    gains = control_gains(groups_of(run))
    assert [each.variant for each in gains] == [None, 18, 34]
    assert gains[0].gain.samples == 6
    assert gains[0].gain.estimate == pytest.approx(1.0 - 0.3)
    assert gains[0].half_width < 3
    assert gains[0].verdict is Verdict.REFUTED  # the made-up gain excludes zero
    assert gains[1].intact is not None
    assert gains[1].intact.estimate == pytest.approx(1.0 - 0.3)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-2.0, 1.0, Verdict.SUPPORTED),
        (-9.0, -6.0, Verdict.SUPPORTED),
        (0.5, 2.0, Verdict.REFUTED),
        (-1.0, 4.0, Verdict.INCONCLUSIVE),
        (-12.0, -1.0, Verdict.INCONCLUSIVE),
        (-math.inf, math.inf, Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts_follow_the_margin_and_the_width(
    low: float, high: float, verdict: Verdict
) -> None:
    assert gain(18, low, high).verdict is verdict


def test_the_sampling_error_is_that_of_paired_answers() -> None:
    trained, random = np.array([1.0, 1, 1, 0]), np.array([1.0, 0, 0, 1])
    half = sampling_points([trained - random])
    error = np.std([0, 1, 1, -1], ddof=1) / 2
    assert half == pytest.approx(196 * error, rel=1e-3)
    assert sampling_points([trained - random, None]) is None
    assert sampling_points([trained, trained[:2]]) is None


def test_answers_of_several_draws_are_averaged_by_image() -> None:
    rows = [{"test_images": 4, "right_answers": bits} for bits in ("c0", "a0")]
    answers = answers_of(Group(18, "random-probe", 1.0, True, rows))
    assert answers is not None
    assert answers.tolist() == [1.0, 0.5, 0.5, 0.0]
    rows[0]["right_answers"] = ""
    assert answers_of(Group(18, "probe", 1.0, True, rows)) is None


def test_a_network_with_another_verdict_than_all_together_is_named() -> None:
    gains = [gain(None, -2, 1), gain(18, -2, 1)]
    (said,) = control_sentences(gains)
    assert said.endswith("that): SUPPORTED.")
    (said,) = control_sentences([*gains, gain(152, 1, 2)])
    assert said.endswith("SUPPORTED; alone: ResNet-152 REFUTED.")
    assert control_sentences([]) == []


def test_one_seed_gives_no_interval() -> None:
    run = stored_run(resolved(variants=(18,), seeds=1, fractions=(1.0,)))
    gains = control_gains(groups_of(run))
    (said,) = control_sentences(gains)
    assert "[no interval] over 1 pair;" in said
    assert said.endswith("INCONCLUSIVE.")
    assert gains[0].json["half_width_points"] is None
    assert gains[0].json["gain_points"]["low"] is None


def test_table_and_figure_hold_the_pooled_gain_and_each_network(run: Run) -> None:
    gains = control_gains(groups_of(run))
    table = control_table(run, gains)
    assert list(table.frame["network"]) == ["all", "ResNet-18", "ResNet-34"]
    assert list(table.frame["verdict"]) == ["REFUTED", "SUPPORTED", "SUPPORTED"]
    figure = control_figure(run, gains)
    assert figure is not None
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [
        "ResNet-18, pixels intact",
        "ResNet-34, pixels intact",
        "all, pixels permuted: REFUTED",
        "ResNet-18, pixels permuted: SUPPORTED",
        "ResNet-34, pixels permuted: SUPPORTED",
    ]
    assert control_figure(run, []) is None
