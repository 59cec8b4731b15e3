"""The negative control: pooled, judged, said and drawn."""

import numpy as np
import pytest

from resnet_bench.experiments.finetune.view.control import (
    ControlGain,
    control_figure,
    control_gains,
    control_sentences,
    control_table,
)
from resnet_bench.experiments.finetune.view.groups import groups_of
from resnet_bench.statistics.intervals import Interval
from resnet_bench.statistics.verdicts import Verdict
from resnet_bench.store.reading import Run
from tests.experiments.finetune.stored import resolved, stored_run

INTACT = Interval(15.0, 12.0, 18.0, 6)


def gain(
    variant: int | None, low: float, high: float, seeds: int = 6, **p: float
) -> ControlGain:
    interval = Interval((low + high) / 2, low, high, seeds)
    return ControlGain(variant=variant, gain=interval, intact=INTACT, **p)


def test_the_negative_control_pools_variants_and_judges_each(run: Run) -> None:
    gains = control_gains(groups_of(run))
    assert [each.variant for each in gains] == [None, 18, 34]
    assert gains[0].gain.samples == 3
    for each in gains:
        assert each.gain.estimate == pytest.approx(1.0 - 0.3)
        assert each.intact is not None
        assert each.intact.estimate == pytest.approx(1.0 - 0.3)
        # The made-up gain is as large with the pixels in their places.
        assert each.verdict is Verdict.INCONCLUSIVE


def test_the_gain_in_place_of_all_is_judged_from_their_answers_together() -> None:
    run = stored_run(resolved())
    groups = groups_of(run)
    for group in groups:
        if group.variant == 34:
            for row in group.rows:  # it is right about other images than ResNet-18
                packed = np.frombuffer(bytes.fromhex(row["right_answers"]), np.uint8)
                mirrored = np.packbits(np.unpackbits(packed)[::-1])
                row["right_answers"] = mirrored.tobytes().hex()
    both, *alone = (each.intact for each in control_gains(groups))
    assert both is not None
    for one in alone:
        assert one is not None
        assert both.estimate == pytest.approx(one.estimate)
        assert both.high - both.low < 0.98 * (one.high - one.low)


def test_six_seeds_are_held_against_the_margin_for_each_network_by_holm() -> None:
    gains = control_gains(groups_of(stored_run(resolved(seeds=6))))
    assert all(each.has_margin for each in gains)
    assert gains[1].within > gains[0].within  # adjusted for two networks
    assert gains[0].verdict is Verdict.SUPPORTED  # 0.25 pp over six seeds


@pytest.mark.parametrize(
    ("low", "high", "differs", "within", "verdict"),
    [
        (-2.0, 1.0, 0.5, 0.01, Verdict.SUPPORTED),
        (0.5, 2.0, 0.01, 0.01, Verdict.SUPPORTED),
        (1.0, 6.0, 0.01, 0.6, Verdict.REFUTED),
        (-9.0, -4.0, 0.01, 1.0, Verdict.LOSS),
        (-1.0, 4.0, 0.2, 0.2, Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts_of_six_seeds_follow_the_margin_on_both_sides(
    low: float, high: float, differs: float, within: float, verdict: Verdict
) -> None:
    assert gain(18, low, high, differs=differs, within=within).verdict is verdict


@pytest.mark.parametrize(
    ("high", "verdict"), [(9.0, Verdict.SUPPORTED), (16.0, Verdict.INCONCLUSIVE)]
)
def test_fewer_seeds_have_to_lie_below_the_gain_in_place(
    high: float, verdict: Verdict
) -> None:
    assert gain(18, -9.0, high, seeds=3).verdict is verdict


def test_a_network_with_another_verdict_than_all_together_is_named() -> None:
    gains = [gain(variant, -2, 1, within=0.01) for variant in (None, 18)]
    (said,) = control_sentences(gains)
    assert "by -0.5 pp [-2.0, +1.0] (+15.0 pp in place);" in said
    assert said.endswith("): SUPPORTED.")
    (said,) = control_sentences([*gains, gain(152, 4, 6, differs=0.01)])
    assert said.endswith("SUPPORTED; alone: ResNet-152 REFUTED.")
    assert control_sentences([]) == []


def test_one_seed_has_an_interval_over_images_and_one_network_no_mean() -> None:
    run = stored_run(resolved(variants=(18,), seeds=1, shots=(200,)))
    (alone,) = control_gains(groups_of(run))
    assert alone.variant == 18
    low, high = alone.json["gain_points"]["low"], alone.json["gain_points"]["high"]
    assert low < alone.gain.estimate < high


def test_table_and_figure_hold_the_pooled_gain_and_each_network(run: Run) -> None:
    gains = control_gains(groups_of(run))
    table = control_table(run, gains)
    assert list(table.frame["network"]) == ["all", "ResNet-18", "ResNet-34"]
    figure = control_figure(run, gains)
    assert figure is not None
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [
        "all, pixels intact",
        "ResNet-18, pixels intact",
        "ResNet-34, pixels intact",
        "all, pixels permuted: INCONCLUSIVE",
        "ResNet-18, pixels permuted: INCONCLUSIVE",
        "ResNet-34, pixels permuted: INCONCLUSIVE",
    ]
    assert control_figure(run, []) is None
