"""What a run of finetune shows: JSON, tables, sentences and figures."""

import json
from dataclasses import replace
from typing import Any

import pytest

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.finetune.view.classes import class_table
from resnet_bench.experiments.finetune.view.groups import groups_of
from resnet_bench.experiments.finetune.view.show import (
    origin_sentence,
    share_images,
    show,
    source_sentences,
)
from resnet_bench.gate.observed import observations_of
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import markdown
from resnet_bench.store.reading import Run
from tests.experiments.finetune.stored import resolved, stored_run

CONTRACT = {
    "variant",
    "strategy",
    "dataset",
    "weights_origin",
    "weights_sha256",
    "shots",
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
def seen(run: Run) -> Shown:
    return show(run, OtherRuns())


def test_json_has_the_promised_rows_controls_and_summary(seen: Shown) -> None:
    content = seen.json
    assert content["run"] == "r1"
    assert len(content["rows"]) == 2 * 3 * 3 * 2
    for row in content["rows"] + content["controls"]:
        assert set(row) >= CONTRACT
    assert content["rows"][0]["dataset"] == "photo-digits-5-9"
    controls = {row["strategy"] for row in content["controls"]}
    assert controls == {"raw-pixels", "random-probe", "probe"}
    assert len(content["sources"]) == 2
    json.dumps(content, allow_nan=False)


def test_a_target_that_was_not_reached_is_null_in_json_and_infinite_in_tables(
    seen: Shown,
) -> None:
    (small,) = (
        row
        for row in seen.json["summary"]
        if (row["variant"], row["strategy"], row["shots"]) == (18, "scratch", 10)
    )
    assert small["seconds_to_target"] is None
    assert "∞" in markdown(seen.tables[0])


def test_tables_name_the_origin_the_controls_and_the_verdict(seen: Shown) -> None:
    accuracy, control, classes, front = seen.tables
    text = markdown(accuracy)
    assert "suite:photo-digits-0-4" in text
    assert "nothing here was pre-trained on ImageNet" in text
    assert "raw-pixels (control)" in text
    assert "random-probe (control)" in text
    assert "Negative control" in text
    names = (control.name, classes.name, front.name)
    assert names == ("negative-control", "accuracy-by-class", "front")
    assert {"over_random_points", "weights_sha256", "stem"} <= set(
        accuracy.frame.columns
    )


def test_the_hardest_class_is_told_with_what_it_is_taken_for(seen: Shown) -> None:
    row = seen.tables[2].rows[0]
    # The made-up images are all of class 5, and wrong answers are all 6.
    assert (row["hardest"], row["taken_for"]) == ("5", "6")
    assert row["hardest_percent"] == pytest.approx(85.2)
    assert row["mistaken_percent"] == pytest.approx(14.8)
    faultless = stored_run(resolved(), confusion=[[0, 0, 5], [1, 1, 5]])
    assert class_table(faultless, groups_of(faultless)).rows[0]["taken_for"] is None


def test_saved_networks_are_told_with_the_python_that_loads_one() -> None:
    options = {"variants": (18,), "seeds": 1, "shots": (200,)}
    usage = ["import torch", "model = 1"]
    run = stored_run(resolved(**options), saved="nets/a.safetensors", usage=usage)
    first, *lines = show(run, OtherRuns()).conclusion
    assert "saved in nets" in first
    assert lines == usage
    assert show(stored_run(resolved(**options)), OtherRuns()).conclusion == []


def test_published_accuracies_stand_beside_each_strategy(seen: Shown) -> None:
    frame = seen.published[0].frame.set_index(["model", "strategy"])
    assert frame["cifar10_percent"]["ResNet-18", "probe"] == 93.6
    assert frame["accuracy_percent"]["ResNet-18", "full"] > 90
    said = frame["same_protocol"]
    differs = "no: photo-digits-5-9, ResNet-18, weights suite"
    assert said["ResNet-18", "probe"].startswith(differs)
    assert "weights" not in said["ResNet-18", "scratch"]
    run = stored_run(resolved())
    for parameters in run.grid.values():
        parameters["strategy"] = "last-stage"
    assert show(run, OtherRuns()).published == []  # nobody published that


def test_notices_begin_with_the_weights_and_say_what_pixels_alone_reach(
    seen: Shown,
) -> None:
    first, *rest = seen.notices
    assert first.startswith("WEIGHTS: suite:photo-digits-0-4, trained by this suite")
    assert any("logistic regression on raw pixels reaches 96.5 %" in s for s in rest)


def test_the_headline_tells_the_origin_and_what_each_network_reached(
    seen: Shown,
) -> None:
    assert "suite" in seen.headline[0]
    few = seen.headline[1]
    assert few.startswith("ResNet-18, 10 images per class: probe 85.2 %, full 88.5 %, ")
    assert "full gains +1.0 pp [" in few
    assert "over scratch; " not in few.partition("full gains")[0]
    assert "probe gains" in few
    assert "over a random backbone" in few
    assert seen.headline[4].startswith("ResNet-34, 200 images per class: ")


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("imagenet:V1", "WEIGHTS: imagenet:V1."),
        ("imagenet:V1 (unverified)", "the file's hash was not checked"),
        ("random", "WEIGHTS: random; nothing here was pre-trained."),
        (
            "suite:cifar10",
            "WEIGHTS: suite:cifar10, trained by this suite; nothing here",
        ),
    ],
)
def test_the_origin_is_said_as_what_it_is(origin: str, said: str) -> None:
    assert said in origin_sentence(stored_run(resolved(seeds=1), weights_origin=origin))


def test_what_spoils_a_result_is_said() -> None:
    run = stored_run(resolved(seeds=1), diverged=True, skipped_images=3)
    said = " ".join(show(run, OtherRuns()).notices)
    assert "trainings that diverged" in said
    assert "images left out because they could not be decoded: 3" in said
    assert "one seed: intervals are over test images only" in said
    # It stopped after few steps because it diverged: more epochs are no remedy.
    assert "too few to judge" not in said


def test_images_in_both_halves_are_counted_of_the_test_half() -> None:
    run = stored_run(resolved(seeds=1), twins=1)
    out_of_fold = {"test_images": 5000}
    records = [
        {**row, **out_of_fold} if run.grid[row["cell"]].get("permuted") else row
        for row in run.records
    ]
    said = " ".join(show(replace(run, records=records), OtherRuns()).notices)
    assert "test images that are also training images: 1 of 1000;" in said


def test_a_source_that_shares_images_with_the_target_is_told() -> None:
    options = {"variants": (18,), "seeds": 1, "shots": (200,)}
    for dataset, told in (("digits", True), ("photo-digits-5-9", False)):
        run = stored_run(resolved(dataset=dataset, **options))
        said = " ".join(show(run, OtherRuns()).notices)
        assert (f"shares training images with {dataset}" in said) is told
    by_path = resolved(dataset="digits", weights="suite:own.safetensors", **options)
    (told_of,) = (
        said
        for said in show(
            stored_run(by_path, weights_origin="suite:digits"), OtherRuns()
        ).notices
        if "shares training images" in said
    )
    assert told_of.startswith("digits, on which")
    assert share_images("cifar10", "cifar10")
    assert share_images("photo-digits", "digits-0-4")
    assert not share_images("photo-digits-5-9", "digits-0-4")
    assert not share_images("cifar10", "digits")


def test_a_network_that_hardly_learned_the_source_is_named() -> None:
    run = stored_run(resolved(variants=(18, 34), seeds=1))
    assert "test accuracy 98.0 % on photo-digits-0-4." in source_sentences(run)[0]
    assert "hardly learned" not in " ".join(source_sentences(run))

    def weaker(row: dict[str, Any]) -> dict[str, Any]:
        name = "source_accuracy_percent"
        deep = name in row and run.grid[row["cell"]]["variant"] == 34
        return {**row, name: 51.5} if deep else row

    told = source_sentences(replace(run, records=list(map(weaker, run.records))))[-1]
    assert "hardly learned" in told
    assert "ResNet-34 51.5 %" in told
    assert "ResNet-18" not in told


def test_a_run_without_results_shows_nothing_and_does_not_fail(run: Run) -> None:
    empty = show(Run(run.folder, run.header, [], {}, "partial"), OtherRuns())
    assert empty.tables == []
    assert empty.figures == {}
    assert empty.json["rows"] == []
    assert empty.json["front"] is None
    assert "cells have no result" in " ".join(empty.notices)


def test_a_run_that_has_only_its_negative_control_is_shown_without_tables() -> None:
    run = stored_run(resolved(seeds=1))
    permuted = [r for r in run.records if run.grid[r["cell"]].get("permuted")]
    partial = replace(run, records=permuted, status="partial")
    assert show(partial, OtherRuns()).tables == []
    assert set(show(partial, OtherRuns()).figures) == {"controls"}


def test_every_figure_names_data_weights_and_machine(seen: Shown) -> None:
    assert set(seen.figures) == {
        "accuracy-against-time",
        "accuracy-by-variant",
        "confusion",
        "samples",
        "gain-from-transfer",
        "accuracy-by-shots",
        "time-to-accuracy",
        "accuracy-step-time-front",
        "controls",
    }
    for figure in seen.figures.values():
        title = figure.get_suptitle()
        assert "digits 5-9 on photographs" in title
        assert "suite:photo-digits-0-4" in title
        assert "Test" in title


def test_only_the_figures_that_the_run_can_fill_are_drawn() -> None:
    run = stored_run(
        resolved(seeds=1, variants=(18,), shots=(200,)), seconds_to_target=None
    )
    figures = show(run, OtherRuns()).figures
    assert "accuracy-by-shots" not in figures  # one number makes no curve
    assert "accuracy-step-time-front" not in figures  # nor one network a front
    texts = [text.get_text() for text in figures["time-to-accuracy"].axes[0].texts]
    assert set(texts) == {"not reached"}


def test_seeds_are_one_case_when_runs_are_compared_and_origins_are_not() -> None:
    options = {"variants": (18,), "shots": (200,), "strategy": ("full",)}
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
