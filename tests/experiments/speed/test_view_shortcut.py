from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resnet_bench.experiments.speed.cells import (
    CEILING,
    MEMORY_KINDS,
    MEMORY_TRAIN,
    PLAIN,
    TIME,
    SpeedCell,
    row_of,
)
from resnet_bench.experiments.speed.grid import MEMORY_REPEATS, expand, resolved
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.experiments.speed.view.rows import rows_of
from resnet_bench.experiments.speed.view.shortcut import shortcut_table, shortcuts_of
from resnet_bench.store.reading import Run
from tests.toys.speed_runs import shown_of

MakeRun = Callable[..., Run]


#: What projection shortcuts of ResNet-18 need: 1x1 convolutions and norms.
PROJECTION_MULTIPLY_ADDS = 19_267_584


PROJECTION_PARAMETERS = 173_824


def without_shortcuts(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
    """Make plain networks a fifth faster and leaner, and drop the projections."""
    if cell.shortcut != PLAIN:
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
        shortcut=("residual", "plain"),
        change=without_shortcuts,
    )


def test_each_network_is_set_against_itself_without_shortcuts(run: Run) -> None:
    first, second = shortcuts_of(rows_of(run))
    assert first.residual.parameters["variant"] == 18
    assert second.plain.parameters["variant"] == 34
    step = first.residual.ratio_to(first.plain, "step")
    assert step is not None
    assert step.estimate == pytest.approx(1.25, rel=0.05)


def test_what_projections_add_is_counted(run: Run) -> None:
    cost = shown_of(run).json["shortcut"][0]
    assert cost["extra_parameters"] == PROJECTION_PARAMETERS
    assert cost["extra_gmac"] == pytest.approx(PROJECTION_MULTIPLY_ADDS / 1e9)
    assert cost["train_memory_ratio"]["estimate"] == pytest.approx(1.25)
    assert cost["ratio_to_plain"]["inference"]["low"] < 1.25


def test_one_kind_alone_has_no_cost(make_run: MakeRun) -> None:
    assert shortcut_table(shortcuts_of(rows_of(make_run(variants=(18,))))) is None


#: What the passes of a network with shortcuts find over the first one's peak.
SPREAD = {None: 1.0, 2: 1.02, 3: 0.99, 4: 1.01, 5: 0.98}


def scattered(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
    """Let repeated passes of training with shortcuts find different peaks."""
    record = without_shortcuts(cell, record)
    if cell.measure != MEMORY_TRAIN or cell.shortcut == PLAIN:
        return record
    peak = round(record["peak_bytes"] * SPREAD[cell.repeat])
    return {**record, "peak_bytes": peak}


def test_memory_is_measured_again_only_where_shortcuts_are_compared() -> None:
    both = cells_of(shortcut=("residual", "plain"))
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
    run = make_run(variants=(18,), shortcut=("residual", "plain"), change=scattered)
    row = rows_of(run)[0]
    assert row.peaks("train") == [
        round(factor * 4 * 10**8) for factor in SPREAD.values()
    ]
    assert row.peak_memory["train_peak_memory_bytes"] == 4 * 10**8
    cost = shown_of(run).json["shortcut"][0]["train_memory_ratio"]
    assert cost["n"] == MEMORY_REPEATS
    assert 1.22 < cost["low"] < 1.25 < cost["high"] < 1.28
    (table,) = (each for each in shown_of(run).tables if each.name == "shortcut")
    assert table.rows[0]["train_memory_ratio_low"] == cost["low"]


def test_the_same_bytes_in_all_passes_are_said_and_get_no_interval(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18,), shortcut=("residual", "plain"), change=scattered)
    (table,) = (each for each in shown_of(run).tables if each.name == "shortcut")
    assert table.rows[0]["inference_memory_ratio"] == pytest.approx(1.25)
    assert table.rows[0]["inference_memory_ratio_low"] is None
    assert table.notes[-1] == (
        "Peak memory without an interval was the same to the byte in all 5 passes: "
        "ResNet-18 (inference)."
    )


def test_json_gives_no_bounds_where_the_same_bytes_were_found(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18,), shortcut=("residual", "plain"), change=scattered)
    (cost,) = shown_of(run).json["shortcut"]
    assert cost["inference_memory_ratio"] == {
        "estimate": pytest.approx(1.25),
        "low": None,
        "high": None,
        "n": MEMORY_REPEATS,
        "same_bytes": True,
    }
    assert cost["train_memory_ratio"]["same_bytes"] is False
    assert cost["train_memory_ratio"]["low"] is not None


def test_the_same_bytes_are_said_of_their_own_setting_and_number_of_passes(
    make_run: MakeRun,
) -> None:
    def change(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        changed = scattered if cell.batch_size == 8 else without_shortcuts
        return changed(cell, record)

    def keep(line: dict[str, Any]) -> bool:
        return line.get("cell") not in left_out

    options = {
        "shortcut": ("residual", "plain"),
        "batch_size": (4, 8),
        "mode": "train",
    }
    left_out = {
        cell.key
        for cell in cells_of(**options)
        if cell.batch_size == 4 and cell.repeat == MEMORY_REPEATS
    }
    run = make_run(variants=(18,), change=change, keep=keep, **options)
    (table,) = (each for each in shown_of(run).tables if each.name == "shortcut")
    said = [note for note in table.notes if "same to the byte" in note]
    assert said == [
        "Peak memory without an interval was the same to the byte in all 4 passes: "
        "ResNet-18, batch 4 (train)."
    ]


def test_every_kind_of_memory_has_its_cell_and_is_read_back(make_run: MakeRun) -> None:
    memory = {cell.measure for cell in cells_of()} - {TIME, CEILING}
    assert memory == set(MEMORY_KINDS.values())
    (row,) = rows_of(make_run(variants=(18,)))
    assert list(row.memory) == list(MEMORY_KINDS)


def test_own_models_are_not_measured_again_beside_compared_networks() -> None:
    cells = cells_of(shortcut=("residual", "plain"), model=("package:network",))
    passes = [cell for cell in cells if cell.measure == MEMORY_TRAIN and cell.model]
    assert [cell.repeat for cell in passes] == [None]


def test_one_pass_alone_has_no_bounds(make_run: MakeRun) -> None:
    run = make_run(
        variants=(18,),
        shortcut=("residual", "plain"),
        change=scattered,
        keep=lambda line: line.get("cell") not in further,
    )
    (each,) = shortcuts_of(rows_of(run))
    assert each.same_bytes("train") is None
    cost = shown_of(run).json["shortcut"][0]["train_memory_ratio"]
    assert (cost["n"], cost["low"]) == (1, None)


def cells_of(**options: Any) -> list[SpeedCell]:
    return expand(resolved(Config(variants=(18,), **options), "cpu", threads=2))


further = {
    cell.key
    for cell in cells_of(shortcut=("residual", "plain"))
    if cell.repeat is not None
}
