from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resnet_bench.experiments.speed import view
from resnet_bench.experiments.speed.cells import (
    MEMORY_TRAIN,
    PLAIN,
    TIME,
    SpeedCell,
    row_of,
)
from resnet_bench.experiments.speed.grid import MEMORY_REPEATS
from resnet_bench.experiments.speed.spec import Config, expand, resolved
from resnet_bench.experiments.speed.view_grid import rows_of
from resnet_bench.experiments.speed.view_shortcut import shortcut_table, shortcuts_of
from resnet_bench.store.reading import Run

MakeRun = Callable[..., Run]

#: What projection shortcuts of ResNet-18 need: 1x1 convolutions and norms.
PROJECTION_MULTIPLY_ADDS = 19_267_584
PROJECTION_PARAMETERS = 173_824


def without_shortcuts(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
    """Make plain networks a fifth faster and leaner, and drop the projections."""
    if cell.architecture != PLAIN:
        return record
    if record["type"] == "peak_memory":
        return {**record, "peak_bytes": record["peak_bytes"] * 4 // 5}
    if cell.measure != TIME:
        return record
    faster = {
        name: [value * 0.8 for value in values]
        for name, values in record.items()
        if name.endswith("_seconds") and isinstance(values, list)
    }
    work = {
        "multiply_adds": record["multiply_adds"] - PROJECTION_MULTIPLY_ADDS,
        "parameters": record["parameters"] - PROJECTION_PARAMETERS,
    }
    return {**record, **faster, **work}


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return make_run(
        variants=(18, 34),
        architecture=("residual", "plain"),
        change=without_shortcuts,
    )


def test_each_network_is_set_against_itself_without_shortcuts(run: Run) -> None:
    first, second = shortcuts_of(rows_of(run))
    assert first.residual.parameters["variant"] == 18
    assert second.plain.parameters["variant"] == 34
    step = first.residual.ratio_to(first.plain, "step")
    assert step is not None
    assert step.low < 1.25 < step.high


def test_what_projections_add_is_counted(run: Run) -> None:
    cost = view.json_object(run)["shortcut"][0]
    assert cost["extra_parameters"] == PROJECTION_PARAMETERS
    assert cost["extra_gmac"] == pytest.approx(PROJECTION_MULTIPLY_ADDS / 1e9)
    assert cost["train_memory_ratio"]["median"] == pytest.approx(1.25)
    assert cost["ratio_to_plain"]["inference"]["low"] < 1.25


def test_the_cost_is_a_table_of_the_run(run: Run) -> None:
    (table,) = (each for each in view.tables(run) if each.name == "shortcut")
    assert list(table.frame["model"]) == ["ResNet-18", "ResNet-34"]
    assert len(table.narrow) <= 8


def test_one_architecture_alone_has_no_cost(make_run: MakeRun) -> None:
    assert shortcut_table(rows_of(make_run(variants=(18,)))) is None


#: What the passes of a network with shortcuts find over the first one's peak.
SPREAD = {None: 1.0, 2: 1.02, 3: 0.99, 4: 1.01, 5: 0.98}


def scattered(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
    """Let repeated passes of training with shortcuts find different peaks."""
    record = without_shortcuts(cell, record)
    if cell.measure != MEMORY_TRAIN or cell.architecture == PLAIN:
        return record
    peak = round(record["peak_bytes"] * SPREAD[cell.repeat])
    return {**record, "peak_bytes": peak}


def test_memory_is_measured_again_only_where_architectures_are_compared() -> None:
    both = cells_of(architecture=("residual", "plain"))
    passes = [cell for cell in both if cell.measure == MEMORY_TRAIN]
    assert len(passes) == 2 * MEMORY_REPEATS
    assert len({cell.key for cell in both}) == len(both)
    assert {row_of(cell.parameters) for cell in passes} == {
        row_of(cell.parameters) for cell in both if cell.measure == TIME
    }
    once = [cell for cell in cells_of() if cell.measure == MEMORY_TRAIN]
    assert [cell.repeat for cell in once] == [None]
    assert once[0].key in {cell.key for cell in passes}


def test_repeated_passes_give_the_cost_in_memory_an_interval(make_run: MakeRun) -> None:
    run = make_run(variants=(18,), architecture=("residual", "plain"), change=scattered)
    row = rows_of(run)[0]
    assert row.peaks("train") == {
        repeat or 1: round(factor * 4 * 10**8) for repeat, factor in SPREAD.items()
    }
    assert row.peak_memory["train_peak_memory_bytes"] == 4 * 10**8
    cost = view.json_object(run)["shortcut"][0]["train_memory_ratio"]
    assert cost["samples"] == MEMORY_REPEATS
    assert 1.22 < cost["low"] < 1.25 < cost["high"] < 1.28
    (table,) = (each for each in view.tables(run) if each.name == "shortcut")
    assert table.rows[0]["train_memory_ratio_low"] == cost["low"]


def test_the_same_bytes_in_all_passes_are_said_and_get_no_interval(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18,), architecture=("residual", "plain"), change=scattered)
    (table,) = (each for each in view.tables(run) if each.name == "shortcut")
    assert table.rows[0]["inference_memory_ratio"] == pytest.approx(1.25)
    assert table.rows[0]["inference_memory_ratio_low"] is None
    assert table.notes[-1] == (
        "Peak memory without an interval was the same to the byte in all 5 passes: "
        "ResNet-18 (inference)."
    )


def test_one_pass_alone_has_no_bounds(make_run: MakeRun) -> None:
    run = make_run(
        variants=(18,),
        architecture=("residual", "plain"),
        change=scattered,
        keep=lambda line: line.get("cell") not in further,
    )
    (each,) = shortcuts_of(rows_of(run))
    assert each.same_bytes("train") is None
    cost = view.json_object(run)["shortcut"][0]["train_memory_ratio"]
    assert (cost["samples"], cost["low"]) == (1, None)


def cells_of(**options: Any) -> list[SpeedCell]:
    return expand(resolved(Config(variants=(18,), **options), "cpu", threads=2))


further = {
    cell.key
    for cell in cells_of(architecture=("residual", "plain"))
    if cell.repeat is not None
}
