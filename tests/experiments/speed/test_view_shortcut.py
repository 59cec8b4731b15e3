from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resnet_bench.experiments.speed import view
from resnet_bench.experiments.speed.cells import PLAIN, TIME, SpeedCell
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
    assert cost["train_memory_ratio"] == pytest.approx(1.25)
    assert cost["ratio_to_plain"]["inference"]["low"] < 1.25


def test_the_cost_is_a_table_of_the_run(run: Run) -> None:
    (table,) = (each for each in view.tables(run) if each.name == "shortcut")
    assert list(table.frame["model"]) == ["ResNet-18", "ResNet-34"]
    assert len(table.narrow) <= 8


def test_one_architecture_alone_has_no_cost(make_run: MakeRun) -> None:
    assert shortcut_table(rows_of(make_run(variants=(18,)))) is None
