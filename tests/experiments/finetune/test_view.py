import json
import math

import numpy as np
import pytest

from resnet_bench.experiments.finetune.view import words as view_words
from resnet_bench.experiments.finetune.view.groups import (
    ControlGain,
    Group,
    Verdict,
    control_gains,
    gain_over_scratch,
    groups_of,
    sampling_points,
    stratified_interval,
    verdict_of,
)
from resnet_bench.gate.compare import observations_of
from resnet_bench.present.tables import markdown
from resnet_bench.reports.shown import shown
from resnet_bench.statistics.estimates import mean_interval
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run
from tests.experiments.finetune.stored import resolved, stored_run

CONTRACT = {
    "variant",
    "strategy",
    "dataset",
    "weights_origin",
    "weights_sha256",
    "fraction",
    "seed",
    "test_accuracy_percent",
    "class_mean_accuracy_percent",
    "nll",
    "calibration_error",
    "trainable_parameters",
    "step_seconds",
    "images_per_second",
    "peak_memory_bytes",
    "seconds_to_target",
    "training_seconds",
}


@pytest.fixture(scope="module")
def run() -> Run:
    return stored_run(resolved())


def test_json_has_the_promised_rows_controls_and_summary(run: Run) -> None:
    content = shown(run).json
    assert content["run"] == "r1"
    assert len(content["rows"]) == 2 * 3 * 3 * 2
    for row in content["rows"] + content["controls"]:
        assert set(row) >= CONTRACT
    assert content["rows"][0]["dataset"] == "digits-5-9"
    assert {row["strategy"] for row in content["controls"]} == {
        "raw-pixels",
        "random-probe",
        "probe",
    }
    assert len(content["sources"]) == 6
    json.dumps(content, allow_nan=False)


def test_a_target_that_was_not_reached_is_null_in_json_and_infinite_in_tables(
    run: Run,
) -> None:
    summary = shown(run).json["summary"]
    small = next(
        row
        for row in summary
        if (row["variant"], row["strategy"], row["fraction"]) == (18, "scratch", 0.1)
    )
    assert small["seconds_to_target"] is None
    group = next(
        g
        for g in groups_of(run)
        if (g.variant, g.strategy, g.fraction) == (18, "scratch", 0.1)
    )
    assert math.isinf(group.seconds_to_target)
    assert "∞" in markdown(shown(run).tables[0])


def test_the_gain_over_scratch_is_paired_by_seed(run: Run) -> None:
    groups = groups_of(run)
    full = next(g for g in groups if (g.strategy, g.fraction) == ("full", 1.0))
    gain = gain_over_scratch(full, groups)
    # Every seed gains exactly one point, however much the seeds themselves differ.
    assert gain is not None
    assert (gain.estimate, gain.low, gain.high) == pytest.approx((1.0, 1.0, 1.0))
    scratch = next(g for g in groups if g.strategy == "scratch")
    assert gain_over_scratch(scratch, groups) is None


def test_the_negative_control_pools_variants_and_judges_each(run: Run) -> None:
    gains = control_gains(groups_of(run))
    assert [each.variant for each in gains] == [None, 18, 34]
    assert gains[0].gain.samples == 6
    assert gains[0].gain.estimate == pytest.approx(1.0 - 0.3)
    assert gains[0].half_width < 3
    assert gains[0].verdict is Verdict.REFUTED  # the made-up gain excludes zero


def test_differences_between_variants_are_no_noise_of_the_pooled_gain() -> None:
    pooled = stratified_interval([[0.0, 0.2], [10.0, 10.2]])
    assert pooled.estimate == pytest.approx(5.1)
    assert pooled.samples == 4
    # s = 0.1414 within, two degrees of freedom: 4.303 * 0.1414 / 2.
    assert pooled.high - pooled.estimate == pytest.approx(0.3043, abs=1e-3)
    one = stratified_interval([[1.0, 2.0, 4.0]])
    plain = mean_interval([1.0, 2.0, 4.0])
    assert one.low == pytest.approx(plain.low)
    assert one.high == pytest.approx(plain.high)
    assert math.isinf(stratified_interval([[1.0], [2.0]]).high)


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
    middle = (low + high) / 2 if math.isfinite(low) else 0.0
    assert verdict_of(Interval(middle, low, high, 3)) is verdict


def test_the_controls_sampling_error_is_that_of_paired_answers() -> None:
    trained, random = np.array([1.0, 1, 1, 0]), np.array([1.0, 0, 0, 1])
    half = sampling_points([trained - random])
    error = np.std([0, 1, 1, -1], ddof=1) / 2
    assert half == pytest.approx(196 * error, rel=1e-3)
    assert sampling_points([trained - random, None]) is None
    assert sampling_points([trained, trained[:2]]) is None


def test_answers_of_several_draws_are_averaged_by_image_and_seed() -> None:
    rows = [
        {"seed": 0, "test_accuracy_percent": 50.0, "test_images": 4, "right_answers": a}
        for a in ("c0", "a0")
    ]
    rows[1]["test_accuracy_percent"] = 60.0
    group = Group(18, "random-probe", 1.0, True, rows)
    assert group.by_seed == {0: 55.0}
    assert group.answers is not None
    assert group.answers.tolist() == [1.0, 0.5, 0.5, 0.0]
    without = Group(18, "probe", 1.0, True, [{**rows[0], "right_answers": None}])
    assert without.answers is None


def test_a_source_that_shares_images_with_the_target_is_told() -> None:
    options = {"variants": (18,), "seeds": 1, "fractions": (1.0,)}
    shared = " ".join(shown(stored_run(resolved(dataset="digits", **options))).notices)
    assert "digits-0-4, on which the backbone was trained, shares" in shared
    apart = " ".join(shown(stored_run(resolved(**options))).notices)
    assert "shares" not in apart
    assert view_words.share_images("cifar10", "cifar10")
    assert not view_words.share_images("cifar10", "digits")


def test_seeds_are_one_case_when_runs_are_compared_and_origins_are_not() -> None:
    options = {"variants": (18,), "fractions": (1.0,), "strategy": ("full",)}
    seen = observations_of(stored_run(resolved(**options)))
    name = "test_accuracy_percent"
    full = [
        observed
        for (_, metric), observed in seen.items()
        if metric == name
        and observed.identity["record"] == "transfer_result"
        and observed.identity.get("strategy") == "full"
    ]
    assert [set(observed.by_seed) for observed in full] == [{0, 1, 2}]
    other = observations_of(stored_run(resolved(weights="imagenet:V1", **options)))
    cases = {case for case, metric in seen if metric == name}
    assert not cases & {case for case, metric in other if metric == name}


def test_a_network_with_another_verdict_than_all_together_is_named() -> None:
    def gain(variant: int | None, verdict: Verdict) -> ControlGain:
        return ControlGain(variant, Interval(1.0, 0.0, 2.0, 3), verdict, None)

    gains = [gain(None, Verdict.SUPPORTED), gain(18, Verdict.SUPPORTED)]
    assert view_words.control_sentence(gains).endswith("that): SUPPORTED.")
    said = view_words.control_sentence([*gains, gain(152, Verdict.REFUTED)])
    assert said.endswith("SUPPORTED; alone: ResNet-152 REFUTED.")


def test_tables_name_the_origin_the_controls_and_the_verdict(run: Run) -> None:
    accuracy, control, _ = shown(run).tables
    text = markdown(accuracy)
    assert "suite:digits-0-4" in text
    assert "nothing here was pre-trained on ImageNet" in text
    assert "raw-pixels (control)" in text
    assert "random-probe (control)" in text
    assert "Negative control" in text
    assert next(iter(control.frame["verdict"])) == "REFUTED"
    assert {"sampling_points", "weights_sha256", "stem"} <= set(accuracy.frame.columns)


def test_a_test_set_of_180_images_leaves_several_points_of_sampling_error(
    run: Run,
) -> None:
    group = groups_of(run)[0]
    assert 1.0 < group.sampling_points < 5.0


def test_notices_begin_with_the_weights_and_say_what_pixels_alone_reach(
    run: Run,
) -> None:
    first, *rest = shown(run).notices
    assert first.startswith("WEIGHTS: suite:digits-0-4, trained by this suite")
    assert any("logistic regression on raw pixels reaches 96.0 %" in s for s in rest)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("imagenet:V1", "WEIGHTS: imagenet:V1."),
        ("imagenet:V1 (unverified)", "the file's hash was not checked"),
        ("random", "WEIGHTS: random; nothing here was pre-trained."),
        ("suite:digits-0-4", "nothing here was pre-trained on ImageNet"),
    ],
)
def test_the_origin_is_said_as_what_it_is(origin: str, said: str) -> None:
    run = stored_run(resolved(seeds=1), weights_origin=origin)
    assert said in view_words.origin_sentence(run)


def test_what_spoils_a_result_is_said() -> None:
    run = stored_run(resolved(seeds=1), diverged=True, skipped_images=3)
    said = " ".join(shown(run).notices)
    assert "trainings diverged" in said
    assert "3 images could not be decoded" in said
    assert "one seed gives no interval" in said


def test_a_run_without_results_shows_nothing_and_does_not_fail() -> None:
    config = resolved(seeds=1)
    run = stored_run(config)
    empty = Run(run.folder, run.header, [], {}, "partial")
    assert shown(empty).tables == []
    assert shown(empty).figures == {}
    assert shown(empty).json["rows"] == []
    assert "cells have no result" in " ".join(shown(empty).notices)


def test_every_figure_names_data_weights_and_machine(run: Run) -> None:
    figures = shown(run).figures
    assert set(figures) == {
        "accuracy-against-time",
        "accuracy-by-variant",
        "data-fractions",
        "time-to-accuracy",
        "accuracy-step-time-front",
        "controls",
    }
    for figure in figures.values():
        title = figure.get_suptitle()
        assert "digits 5-9" in title
        assert "suite:digits-0-4" in title
        assert "Test" in title


def test_one_share_of_the_data_makes_no_curve_over_shares() -> None:
    figures = shown(stored_run(resolved(seeds=1, fractions=(1.0,)))).figures
    assert "data-fractions" not in figures
    assert "accuracy-by-variant" in figures


def test_an_unreached_target_is_written_into_the_figure() -> None:
    run = stored_run(resolved(seeds=1), seconds_to_target=None)
    texts = [t.get_text() for t in shown(run).figures["time-to-accuracy"].axes[0].texts]
    assert set(texts) == {"not reached"}


def test_one_seed_gives_the_negative_control_no_interval() -> None:
    run = stored_run(resolved(variants=(18,), seeds=1, fractions=(1.0,)))
    said = view_words.control_sentence(control_gains(groups_of(run)))
    assert "[no interval] over 1 pair;" in said
    assert said.endswith("INCONCLUSIVE.")
