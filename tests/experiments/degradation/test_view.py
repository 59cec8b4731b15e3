from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.degradation.records import DegradationCell
from resnet_bench.experiments.degradation.studies import STUDIES
from resnet_bench.experiments.degradation.view.frames import (
    depth_colours,
    sampling_interval,
    whiskers,
)
from resnet_bench.experiments.degradation.view.mechanism import block_ratios
from resnet_bench.experiments.degradation.view.show import show
from resnet_bench.present.drawing import svg_text
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table, csv_text, markdown
from resnet_bench.present.terminal import print_table
from resnet_bench.statistics.verdicts import Verdict
from resnet_bench.store.reading import Run
from tests.experiments.degradation.synthetic import World, synthetic_run

SMALL: dict[str, Any] = {"depths": (8, 20, 56), "epochs": 2}
ALL = tuple(STUDIES)


def shown(run: Run) -> Shown:
    return show(run, OtherRuns())


@pytest.fixture(scope="module")
def seen() -> Shown:
    """Return what a run of every study shows, with longer budgets."""
    options: dict[str, Any] = {"depths": (8, 20, 56), "epochs": 1, "seeds": 2}
    return shown(synthetic_run(profile="standard", study=ALL, **options))


@pytest.fixture(scope="module")
def drawn(seen: Shown) -> dict[str, Figure]:
    return dict(seen.figures)


def named(tables: Sequence[Table], name: str) -> Table:
    return next(table for table in tables if table.name == name)


def test_json_has_the_keys_of_the_contract(seen: Shown) -> None:
    content = seen.json
    assert content["run"] in content["claims"][0]["run"]
    rows, claims = content["rows"], content["claims"]
    errors = ["train_error_percent", "train_error_recalibrated_percent"]
    errors += ["test_error_percent", "train_loss", "steps", "diverged", "seconds"]
    assert {"dataset", "shortcut", "depth", "seed", *errors} <= rows[0].keys()
    assert {row["shortcut"] for row in rows} == {"plain", "residual"}
    assert {claim["verdict"] for claim in claims} <= set(Verdict)


def test_json_holds_no_infinity_even_with_one_seed() -> None:
    content = shown(synthetic_run(seeds=1, **SMALL)).json
    assert json.dumps(content, allow_nan=False)


def test_the_claims_table_comes_first_and_errors_next(seen: Shown) -> None:
    names = [table.name for table in seen.tables]
    assert names == ["claims", "errors", "treatments", "gradients", "sizes"]


def test_tables_of_studies_that_were_not_run_are_left_out() -> None:
    tables = shown(synthetic_run(study=("depth",), **SMALL)).tables
    assert [table.name for table in tables] == ["claims", "errors"]


def test_the_claims_table_is_readable_at_80_columns() -> None:
    run = synthetic_run(**SMALL)
    console = Console(width=80, force_terminal=True, color_system=None, record=True)
    claims = named(shown(run).tables, "claims")
    print_table(claims, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for title in claims.frame["title"]:
        assert title in text


def test_the_claims_csv_names_sentence_margin_and_run(seen: Shown) -> None:
    text = csv_text(named(seen.tables, "claims"))
    header = text.splitlines()[0].split(",")
    assert {"claim", "statistic", "low", "high", "margin", "verdict", "run"} <= {
        *header
    }
    assert seen.json["run"] in text


def test_tables_turn_into_markdown(seen: Shown) -> None:
    for table in seen.tables:
        assert markdown(table).startswith("### ")


def test_the_error_table_sets_plain_beside_residual(seen: Shown) -> None:
    frame = named(seen.tables, "errors").frame
    row = frame[(frame["depth"] == 56) & (frame["steps"] == 11)].iloc[0]
    assert row["plain_train_percent"] > 70 > 2 > row["residual_train_percent"]
    assert row["plain_train_percent_low"] < row["plain_train_percent_high"]
    assert sorted(set(frame["steps"])) == [11, 44]


def test_the_test_sets_size_is_said(seen: Shown) -> None:
    notes = named(seen.tables, "errors").notes
    assert "size of the test set alone" in notes[0]


def test_sampling_interval_is_wilsons_in_percent() -> None:
    interval = sampling_interval(10.0, 360)
    assert interval.low == pytest.approx(7.3, abs=0.1)
    assert interval.high == pytest.approx(13.5, abs=0.1)


def test_gradients_that_were_not_finite_are_left_out() -> None:
    run = synthetic_run(study=("gradients",), **SMALL)
    records = [
        {**row, "bottom_over_top": None, "shattering_correlation": None}
        if row["type"] == "gradient_summary"
        else row
        for row in run.records
    ]
    table = named(shown(replace(run, records=records)).tables, "gradients")
    assert list(table.narrow) == ["shortcut", "treatment", "depth"]


def test_every_figure_of_the_issue_is_drawn(drawn: dict[str, Figure]) -> None:
    assert list(drawn) == [
        "error-by-depth",
        "training-curves",
        "budgets",
        "recipes",
        "gradients",
        "responses",
        "lesions",
        "landscape",
        "treatments",
    ]


def test_every_title_says_data_budget_machine_and_weights(
    drawn: dict[str, Figure],
) -> None:
    for figure in drawn.values():
        title = figure.get_suptitle()
        assert "digits (UCI test half) · 11 steps · 2 seeds" in title
        assert "2 cores" in title
        assert "random initial weights" in title


def test_no_figure_shows_markup_or_cjk_text(drawn: dict[str, Figure]) -> None:
    for name in ("training-curves", "gradients"):
        text = svg_text(drawn[name])
        assert "mathdefault" not in text
        assert not any("\u4e00" <= character <= "\u9fff" for character in text)


def test_training_curves_stand_plain_beside_residual(drawn: dict[str, Figure]) -> None:
    titles = [axes.get_title("left") for axes in drawn["training-curves"].axes]
    assert titles[:2] == [
        "plain (running mean of an epoch)",
        "residual (running mean of an epoch)",
    ]


def test_error_by_depth_draws_an_interval_for_both_arms(
    drawn: dict[str, Figure],
) -> None:
    (axes,) = drawn["error-by-depth"].axes
    assert len(axes.containers) == 2
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "20", "56"]


def test_the_gradient_map_names_bottom_over_top(drawn: dict[str, Figure]) -> None:
    shown = [text.get_text() for text in drawn["gradients"].axes[0].texts]
    assert len(shown) == 3
    assert all(text.startswith("x ") for text in shown)


def test_block_ratios_are_relative_to_the_last_block() -> None:
    rows = [
        {
            "shortcut": "plain",
            "depth": 8,
            "moment": "0",
            "seed": seed,
            "block": block,
            "name": f"blocks.{block}.conv1",
            "input_gradient_norm": norm,
        }
        for seed in (0, 1)
        for block, norm in ((0, 100.0), (1, 10.0), (2, 1.0))
    ]
    inside = {**rows[0], "name": "blocks.0.conv2", "input_gradient_norm": 9e9}
    ratios = block_ratios(pd.DataFrame([*rows, inside]))
    assert ratios["decades"].tolist() == pytest.approx([2.0, 1.0, 0.0])


def test_deeper_networks_have_darker_colours() -> None:
    colours = list(depth_colours([110, 8, 20]).values())
    assert [sum(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in colours] == sorted(
        (sum(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in colours), reverse=True
    )
    assert len(depth_colours([20])) == 1


def test_one_seed_has_no_whisker() -> None:
    axes = Figure().subplots()
    points = {"depth": [8], "estimate": [5.0], "low": [-math.inf], "high": [math.inf]}
    container = whiskers(axes, pd.DataFrame(points), "depth", (0.0, 100.0))
    (bar,) = container.lines[2]
    assert bar.get_segments()[0][:, 1].tolist() == [5.0, 5.0]


def test_figures_are_drawn_from_one_seed_without_intervals() -> None:
    drawn = shown(synthetic_run(study=("depth",), seeds=1, **SMALL)).figures
    assert list(drawn) == ["error-by-depth", "training-curves"]
    assert svg_text(drawn["error-by-depth"])


def test_very_deep_networks_are_drawn_by_recipe_and_alone() -> None:
    drawn = shown(synthetic_run(study=("thousand",), depths=(110,), epochs=2)).figures
    assert list(drawn) == ["recipes"]
    panels = [axes.get_title("left") for axes in drawn["recipes"].axes]
    assert panels == [
        "plain-110, 16 channels",
        "residual-110, 16 channels",
        "residual-1202, 8 channels",
    ]
    (legend,) = drawn["recipes"].legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "as it is",
        "zero last scales",
        "the paper's warm-up",
    ]


def test_a_run_without_any_result_is_shown_as_such() -> None:
    run = synthetic_run(study=ALL, **SMALL)
    empty = replace(run, records=[], cells={}, status="partial")
    assert shown(empty).figures == {}
    tables = shown(empty).tables
    assert [table.name for table in tables] == ["claims"]
    assert set(tables[0].frame["verdict"]) == {"NO VERDICT"}
    assert shown(empty).json["rows"] == []
    (notice,) = shown(empty).notices
    assert "have no result" in notice
    assert "no steps yet" in tables[0].title


def test_a_run_that_trains_nothing_speaks_of_no_training() -> None:
    tables = shown(synthetic_run(study=("anysize",))).tables
    assert [table.name for table in tables] == ["claims", "sizes"]
    assert "untrained networks" in tables[0].title
    assert not any(word in tables[0].title for word in ("steps", "seed", "digits"))


def test_a_network_that_diverged_stays_beside_its_twin() -> None:
    def diverged(cell: DegradationCell) -> bool:
        return cell.shortcut == "plain" and cell.seed == 0

    run = synthetic_run(World(diverged=diverged), study=("depth",), **SMALL)
    records = [
        {**row, "steps": 11} if row.get("diverged") else row for row in run.records
    ]
    frame = named(shown(replace(run, records=records)).tables, "errors").frame
    assert frame[["depth", "steps"]].values.tolist() == [[8, 22], [20, 22], [56, 22]]


def test_networks_on_harder_data_are_exported_and_their_divergence_told() -> None:
    def diverged(cell: DegradationCell) -> bool:
        return cell.dataset == "photo-digits"

    options: dict[str, Any] = {"study": ("depth",), "epochs": 1, "seeds": 1}
    run = synthetic_run(World(diverged=diverged), profile="standard", **options)
    assert {row["dataset"] for row in shown(run).json["rows"]} == {
        "digits",
        "photo-digits",
    }
    assert "plain-8 seed 0 photo-digits" in shown(run).notices[0]


def test_both_recipes_for_a_thousand_layers_stand_in_one_table() -> None:
    run = synthetic_run(profile="thousand", epochs=1, seeds=2)
    table = named(shown(run).tables, "treatments")
    deepest = table.frame[table.frame["depth"] == 1202]
    assert set(deepest["treatment"]) == {"zero-gamma", "paper-warm-up"}
    assert list(table.notes) == [
        "depth 1202 is 8 channels wide in its first stage, not 16"
    ]


def test_the_landscape_is_drawn_at_two_depths_on_shared_scales() -> None:
    options: dict[str, Any] = {"depths": (32, 56), "epochs": 1, "seeds": 1}
    run = synthetic_run(profile="standard", study=("landscape",), **options)
    drawn = shown(run).figures
    assert {"landscape", "landscape-where-both-train"} <= set(drawn)
    for name, depth in (("landscape", 56), ("landscape-where-both-train", 32)):
        axes = drawn[name].get_axes()
        titles = [each.get_title() or each.get_title("left") for each in axes]
        assert sum(f"-{depth}: training error" in title for title in titles) == 2
        heights = [each.get_zlim() for each in axes if hasattr(each, "get_zlim")]
        assert len(heights) == 2
        assert heights[0] == heights[1]


def test_lesions_are_not_drawn_where_nothing_trained() -> None:
    untrained = World(error=lambda cell: 80.0)
    run = synthetic_run(untrained, study=("lesion",), **SMALL)
    assert "lesions" not in shown(run).figures


def test_diverged_networks_are_listed_by_name() -> None:
    def diverged(cell: DegradationCell) -> bool:
        return cell.shortcut == "plain"

    run = synthetic_run(World(diverged=diverged), study=("depth",), seeds=5, **SMALL)
    (notice,) = shown(run).notices
    assert notice.startswith("diverged, counted as chance: plain-56 seed 0 (step 7)")
    assert notice.endswith("9 more")
    few = synthetic_run(World(diverged=diverged), seeds=2, depths=(8,), epochs=1)
    assert "more" not in shown(few).notices[0]


def test_too_few_seeds_are_warned_of_with_the_number_that_is_enough() -> None:
    (notice,) = shown(synthetic_run(study=("depth",), seeds=1, **SMALL)).notices
    assert "too few seeds" in notice
    assert "--seeds 5" in notice


def test_images_left_out_are_counted() -> None:
    run = synthetic_run(study=("depth",), seeds=5, **SMALL)
    records = [
        {**row, "skipped_images": 4} if row["type"] == "training_result" else row
        for row in run.records
    ]
    assert shown(replace(run, records=records)).notices == [
        "images left out because they could not be decoded: 4"
    ]


def test_the_headline_tells_decided_claims_and_counts_verdicts() -> None:
    told = shown(synthetic_run(study=("depth", "gradients"), **SMALL)).headline
    assert told[0].startswith("After 22 steps on digits")
    assert told[-1] == "7 claims: 5 supported, 2 refuted."
    one = shown(synthetic_run(study=("lesion",), **SMALL)).headline
    assert one[-1] == "1 claim: 1 supported, 0 refuted."


def test_published_errors_stand_beside_the_same_networks_here() -> None:
    (table,) = shown(synthetic_run()).published
    frame = table.frame
    assert set(frame["depth"]) <= {20, 32, 44, 56, 110}
    plain = frame[(frame["shortcut"] == "plain") & (frame["depth"] == 56)].iloc[0]
    assert plain["published_train_percent"] == 5.24
    assert plain["train_percent_low"] <= plain["train_percent"]


def test_every_published_row_says_what_differs() -> None:
    run = synthetic_run()
    steps = f"{run.rows('training_result')[0]['steps']:,} steps, not 64,000"
    said = set(shown(run).published[0].frame["same_protocol"])
    assert any("digits, not CIFAR-10" in words for words in said)
    assert any(steps in words for words in said)


def test_the_papers_recipe_on_its_data_at_its_length_is_the_same_protocol() -> None:
    def protocol(steps: int, **options: Any) -> set[str]:
        run = synthetic_run(dataset="cifar10", recipe="paper", **options)
        records = [{**row, "steps": steps} for row in run.records]
        (table,) = shown(replace(run, records=records)).published
        return set(table.frame["same_protocol"])

    assert protocol(63_960) == {"yes"}
    assert protocol(3_900) == {"no: 3,900 steps, not 64,000"}
    assert protocol(63_960, width=32) == {"no: width 32"}


def test_a_bound_in_words_stays_words() -> None:
    frame = shown(synthetic_run(depths=(8, 20, 110))).published[0].frame
    assert ">60" in set(frame["published_test_percent"])


def test_networks_that_nobody_published_are_not_compared() -> None:
    assert shown(synthetic_run(depths=(8, 14))).published == []
