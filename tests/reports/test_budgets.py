import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bench.present.drawing import svg_text
from resnet_bench.reports.budgets import (
    Candidate,
    budget_table,
    budgets_for,
    certainty,
    published_accuracies,
    recommended,
)
from resnet_bench.reports.budgets import (
    candidates as candidates_of,
)
from resnet_bench.reports.front import front_figure, on_front


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


def candidates(rows: list[dict[str, Any]]) -> list[Candidate]:
    return candidates_of(rows, published_accuracies())


def test_the_most_accurate_variant_within_the_budget_is_recommended() -> None:
    found = candidates([row(18, 0.010), row(34, 0.018), row(50, 0.030)])
    chosen = recommended(found, 0.020, 0.0)
    assert chosen is not None
    assert chosen.row["variant"] == 34
    assert recommended(found, 0.005, 0.0) is None


def test_a_likely_variant_goes_before_a_more_accurate_borderline_one() -> None:
    found = candidates([row(18, 0.010), row(34, 0.0198)])
    chosen = recommended(found, 0.020, 0.0)
    assert chosen is not None
    assert chosen.row["variant"] == 18


def test_of_two_settings_of_a_variant_the_faster_is_recommended() -> None:
    slow, fast = row(50, 0.03), row(50, 0.02, channels_last=True)
    chosen = recommended(candidates([slow, fast]), 0.05, 0.0)
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
    ],
)
def test_rows_whose_accuracy_nobody_published_are_left_out(
    changes: dict[str, Any],
) -> None:
    rows = [{**row(18, 0.01), **changes}]
    assert candidates(rows) == []
    assert budget_table(candidates(rows), "here") is None


def test_a_borderline_variant_is_better_than_none() -> None:
    found = candidates([row(34, 0.0198)])
    chosen = recommended(found, 0.020, 0.0)
    assert chosen is not None
    assert certainty(chosen.chance(0.020, 0.0)) == "borderline"
    assert recommended(found, 0.0197, 0.0) is None


@given(st.floats(0.01, 0.5), st.floats(0.001, 1.0), st.floats(0.001, 1.0))
def test_a_larger_budget_is_never_less_likely_kept(
    spread: float, one: float, other: float
) -> None:
    (candidate,) = candidates([row(18, 0.02)])
    chances = [candidate.chance(each, spread) for each in sorted((one, other))]
    assert chances == sorted(chances)


def test_half_of_all_processes_keep_a_budget_of_the_median() -> None:
    (candidate,) = candidates([row(18, 0.02)])
    assert candidate.chance(0.02, 0.1) == pytest.approx(0.5)
    bare = {"estimate": 0.02, "low": None, "high": None, "n": 1}
    (alone,) = candidates([row(18, 0.02, inference=bare)])
    assert alone.chance(0.02 * math.exp(0.196), 0.1) == pytest.approx(0.975, abs=1e-4)


def test_budgets_are_round_and_span_the_times() -> None:
    assert budgets_for([0.012, 0.09]) == pytest.approx([0.01, 0.02, 0.05, 0.1])
    assert budgets_for([0.02]) == pytest.approx([0.01, 0.02])


def test_the_table_names_budget_setting_and_weights() -> None:
    table = budget_table(candidates([row(18, 0.012), row(50, 0.04)]), "a machine")
    assert table is not None
    assert list(table.frame["model"]) == ["none fits", "ResNet-18", "ResNet-50"]
    assert table.frame["weights"][2] == "IMAGENET1K_V2"
    assert table.title.endswith("on a machine")


def test_a_call_without_bounds_counts_by_its_median() -> None:
    bare = {"estimate": 0.01, "low": None, "high": None, "n": 1}
    found = candidates([row(18, 0.01, inference=bare)])
    assert recommended(found, 0.01, 0.0) is not None


def test_the_best_published_weights_are_taken() -> None:
    found = published_accuracies()
    assert (found[50].weights, found[50].percent) == ("IMAGENET1K_V2", 80.858)


def test_the_front_leaves_out_what_something_faster_equals() -> None:
    found = candidates([row(18, 0.01), row(34, 0.05), row(50, 0.03)])
    assert [each.row["variant"] for each in on_front(found)] == [18, 50]


def test_the_front_is_drawn_with_names_and_machine() -> None:
    bare = {"estimate": 0.05, "low": None, "high": None, "n": 1}
    rows = [row(18, 0.01), row(34, 0.05, inference=bare)]
    rows[1]["inference_peak_memory_bytes"] = None
    figure = front_figure(candidates(rows), "a machine")
    assert figure is not None
    text = svg_text(figure)
    assert ">ResNet-34<" in text
    assert "a machine" in text
    assert "area: peak memory" in text


def test_the_front_needs_two_variants() -> None:
    assert front_figure(candidates([row(18, 0.01)]), "here") is None


def test_areas_are_explained_only_if_memory_is_known() -> None:
    rows = [row(depth, 0.01, inference_peak_memory_bytes=None) for depth in (18, 34)]
    figure = front_figure(candidates(rows), "here")
    assert figure is not None
    assert "area:" not in svg_text(figure)
