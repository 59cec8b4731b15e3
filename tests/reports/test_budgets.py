from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bench.present.drawing import svg_text
from resnet_bench.present.tables import csv_text
from resnet_bench.reports.budgets import (
    Budget,
    Candidate,
    budget_table,
    budgets_for,
    judged_on,
    published_accuracies,
    recommended,
)
from resnet_bench.reports.budgets import (
    candidates as candidates_of,
)
from resnet_bench.reports.front import front_figure, front_table, on_front
from resnet_bench.reports.pooling import Observed


def row(variant: int | None, seconds: float, **changes: Any) -> dict[str, Any]:
    bounds = {"low": 0.98 * seconds, "high": 1.05 * seconds}
    interval = {"estimate": seconds, **bounds, "n": 9}
    settled = {
        "variant": variant,
        "shortcut": "residual",
        "image_size": 224,
        "batch_size": 4,
        "dtype": "float32",
        "inference": interval,
        "inference_peak_memory_bytes": 10**8,
    }
    return {**settled, **changes}


def observed(*rows: dict[str, Any], **each: Any) -> list[Observed]:
    return [Observed(row, **{"run": "20260102T030405Z_a_1", **each}) for row in rows]


def candidates(
    rows: list[dict[str, Any]], pair_spread: float = 1e-6
) -> list[Candidate]:
    return candidates_of(observed(*rows), published_accuracies(), pair_spread)


def test_the_most_accurate_variant_within_the_budget_is_recommended() -> None:
    found = candidates([row(18, 0.010), row(34, 0.018), row(50, 0.030)])
    chosen = recommended(found, 0.020)
    assert chosen is not None
    assert chosen.row["variant"] == 34
    assert recommended(found, 0.005) is None


def test_a_machine_without_any_sure_time_has_no_table_of_budgets() -> None:
    # The usual call stays within 5 ms, the largest budget shown; the slow ones do not.
    slow = {"inference": {"p90_seconds": 0.0065, "p99_seconds": None}}
    found = candidates([row(18, 0.0049, percentiles=slow)])
    assert recommended(found, 0.005) is None
    assert budget_table(found, "here") is None


def test_a_likely_variant_goes_before_a_more_accurate_borderline_one() -> None:
    found = candidates([row(18, 0.010), row(34, 0.0198)])
    chosen = recommended(found, 0.020)
    assert chosen is not None
    assert chosen.row["variant"] == 18


def test_of_two_settings_of_a_variant_the_faster_is_recommended() -> None:
    slow, fast = row(50, 0.03), row(50, 0.02, channels_last=True)
    chosen = recommended(candidates([slow, fast]), 0.05)
    assert chosen is not None
    assert chosen.setting == "batch 4, float32, channels last"


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": None},
        {"shortcut": "plain"},
        {"image_size": 64},
        {"inference": None},
        {"variant": 20},
        {"dtype": "int8"},
        {"flags": ["wrong-answers"]},
    ],
)
def test_rows_whose_accuracy_nobody_published_are_left_out(
    changes: dict[str, Any],
) -> None:
    rows = [{**row(18, 0.01), **changes}]
    assert candidates(rows) == []
    assert budget_table(candidates(rows), "here") is None


def test_another_runtime_is_a_setting_of_its_own() -> None:
    found = candidates([row(18, 0.010), row(18, 0.006, runtime="openvino")])
    assert len(found) == 2
    chosen = recommended(found, 0.020)
    assert chosen is not None
    assert "OpenVINO" in chosen.setting


def test_a_borderline_variant_is_better_than_none() -> None:
    found = candidates([row(34, 0.0198)])
    chosen = recommended(found, 0.020)
    assert chosen is not None
    assert chosen.certainty(0.020) == "borderline"
    assert recommended(found, 0.0197) is None


@given(st.floats(0.01, 0.5), st.floats(0.001, 1.0), st.floats(0.001, 1.0))
def test_a_larger_budget_is_never_less_likely_kept(
    spread: float, one: float, other: float
) -> None:
    (candidate,) = candidates([row(18, 0.02)], spread)
    chances = [candidate.chance(each) for each in sorted((one, other))]
    assert chances == sorted(chances)


def test_a_call_is_judged_on_the_slowest_tenth_where_it_is_known() -> None:
    known = {"inference": {"p90_seconds": 0.03, "p99_seconds": None}}
    found = candidates([row(18, 0.02, percentiles=known), row(34, 0.02)])
    assert recommended(found[:1], 0.025) is None
    assert found[0].p90_seconds == pytest.approx(0.03)
    assert found[0].chance(0.03) == pytest.approx(0.5)
    assert "no longer; without p90, on the usual time" in judged_on(found)
    assert "usual time, because p90 is unknown" in judged_on(found[1:])


def test_throughput_is_not_judged_on_the_slowest_tenth() -> None:
    rate = {"estimate": 50.0, "low": 49.0, "high": 51.0, "n": 9}
    known = {"inference": {"p90_seconds": 0.03, "p99_seconds": None}}
    made = row(18, 0.02, percentiles=known, inference_images_per_second=rate)
    budget = Budget(0.025, per_image=True)
    accuracies = published_accuracies()
    (candidate,) = candidates_of(observed(made), accuracies, 0.01, budget)
    assert candidate.p90_seconds is None
    assert candidate.certainty(0.025) == "sure"


def test_budgets_are_round_and_span_the_times() -> None:
    assert budgets_for([0.012, 0.09]) == pytest.approx([0.01, 0.02, 0.05, 0.1])
    assert budgets_for([0.02]) == pytest.approx([0.01, 0.02])


def test_the_table_names_budget_setting_and_weights() -> None:
    table = budget_table(candidates([row(18, 0.012), row(50, 0.04)]), "a machine")
    assert table is not None
    assert list(table.frame["model"]) == ["none fits", "ResNet-18", "ResNet-50"]
    assert table.frame["weights"][2] == "IMAGENET1K_V2"
    assert table.title.endswith("on a machine")


BARE = {"estimate": 0.01, "low": None, "high": None, "n": 1}


def test_one_sample_is_borderline_at_most_and_has_no_bounds() -> None:
    (candidate,) = candidates([row(18, 0.01, inference=BARE)])
    assert candidate.certainty(10.0) == "borderline"
    assert candidate.certainty(0.001) == "unlikely"
    assert candidate.known_chance(10.0) is None
    assert candidate.seconds.json == {**BARE, "estimate": pytest.approx(0.01)}
    table = budget_table([candidate], "here")
    assert table is not None
    assert "inf" not in csv_text(table)


def test_a_table_is_of_one_batch() -> None:
    single = row(152, 0.001, batch_size=1)
    table = budget_table(candidates([single, row(18, 0.01), row(34, 0.02)]), "here")
    assert table is not None
    assert "within which time for 4 images" in table.title
    assert "ResNet-152" not in list(table.frame["model"])


def test_the_best_published_weights_are_taken() -> None:
    found = published_accuracies()
    assert (found[50].weights, found[50].percent) == ("IMAGENET1K_V2", 80.858)


def test_the_front_leaves_out_what_something_faster_equals() -> None:
    found = candidates([row(18, 0.01), row(34, 0.05), row(50, 0.03)])
    assert [each.row["variant"] for each in on_front(found)] == [18, 50]


def test_the_front_tells_settings_of_several_threads_apart() -> None:
    alike = [row(18, 0.02, threads=2), row(34, 0.03, threads=2)]
    assert "threads" not in front_table(candidates(alike), "here").narrow
    table = front_table(candidates([*alike, row(18, 0.03, threads=1)]), "here")
    shown = [tuple(each[name] for name in table.narrow[:3]) for each in table.rows]
    assert len(set(shown)) == len(shown) == 3


def test_the_front_is_drawn_with_names_and_machine() -> None:
    rows = [row(18, 0.01), row(34, 0.05, inference=BARE)]
    rows[1]["inference_peak_memory_bytes"] = None
    figure = front_figure(candidates(rows), "a machine")
    assert figure is not None
    text = svg_text(figure)
    assert ">ResNet-34<" in text
    assert "a machine" in text
    assert "area: peak memory" in text
    assert "hollow: fewer than six visits" in text


@pytest.mark.parametrize(("slowest", "scale"), [(0.09, "linear"), (0.2, "log")])
def test_times_far_apart_are_drawn_on_a_log_axis(slowest: float, scale: str) -> None:
    figure = front_figure(candidates([row(18, 0.01), row(34, slowest)]), "here")
    assert figure is not None
    assert figure.axes[0].get_xscale() == scale


def test_the_front_needs_two_variants() -> None:
    assert front_figure(candidates([row(18, 0.01)]), "here") is None


def test_areas_are_explained_only_if_memory_is_known() -> None:
    rows = [row(depth, 0.01, inference_peak_memory_bytes=None) for depth in (18, 34)]
    figure = front_figure(candidates(rows), "here")
    assert figure is not None
    assert "area:" not in svg_text(figure)
