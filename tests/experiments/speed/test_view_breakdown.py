from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_bench.experiments.speed.grid import resolved
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.experiments.speed.view.breakdown import breakdowns_of, notes_of
from resnet_bench.store.reading import assemble
from tests.toys.speed_runs import PARTS, breakdown_run, header_of, shown_of


def test_parts_are_rows_of_a_table_of_their_own(tmp_path: Path) -> None:
    table = next(
        t for t in shown_of(breakdown_run(tmp_path)).tables if t.name == "breakdown"
    )
    assert [row["part"] for row in table.rows] == list(PARTS)
    assert sum(row["share_fraction"] for row in table.rows) == pytest.approx(1.0)


def test_parts_are_in_the_json_object(tmp_path: Path) -> None:
    content = json.loads(json.dumps(shown_of(breakdown_run(tmp_path)).json))
    (model,) = content["breakdown"]
    assert (model["variant"], model["verdict"]) == (18, "ok")
    assert model["closure"]["forward"]["estimate"] == pytest.approx(1.0)
    assert [len(fit["seconds_per_unit"]) for fit in model["explained_by"]] == [1, 1, 2]
    first = model["parts"][0]
    assert (first["part"], first["blocks"]) == ("stem", None)
    forward, backward = first["forward"]["estimate"], first["backward"]["estimate"]
    assert backward == pytest.approx(2 * forward)


def test_parts_that_add_up_are_said_to(tmp_path: Path) -> None:
    (breakdown,) = breakdowns_of(breakdown_run(tmp_path))
    assert breakdown.name == "ResNet-18"
    assert breakdown.closure("forward").estimate == pytest.approx(1.0)
    said = "is forward 1.000 [1.000, 1.000], backward 1.000 [1.000, 1.000]."
    assert said in notes_of(breakdown)[0]


def test_few_visits_to_parts_have_no_bounds(tmp_path: Path) -> None:
    run = breakdown_run(tmp_path)
    (breakdown,) = breakdowns_of(replace(run, records=run.records[:3]))
    said = "is forward 1.000 (no bounds), backward 1.000 (no bounds)."
    assert said in notes_of(breakdown)[0]


def test_parts_that_do_not_add_up_are_said_not_to(tmp_path: Path) -> None:
    (breakdown,) = breakdowns_of(breakdown_run(tmp_path, lost=0.2))
    assert breakdown.verdict == "closure-failed"
    assert "closure-failed: outside of 0.95 to 1.05" in notes_of(breakdown)[0]


def test_parts_that_are_noisy_but_may_add_up_are_not_accused(tmp_path: Path) -> None:
    (breakdown,) = breakdowns_of(breakdown_run(tmp_path, lost=0.04))
    assert breakdown.closure("forward").estimate == pytest.approx(1 / 1.04)
    assert breakdown.verdict == "ok"


def test_parts_that_were_stopped_are_said_to_be(tmp_path: Path) -> None:
    run = breakdown_run(tmp_path)
    run.records[0] |= {"flags": ["stopped"], "dropped_visits": 3}
    (breakdown,) = breakdowns_of(run)
    assert breakdown.verdict == "stopped"
    assert "; stopped: the process was stopped" in notes_of(breakdown)[0]
    assert shown_of(run).notices == [
        "3 visits dropped and repeated, because the process was stopped "
        "(SIGSTOP, Ctrl-Z)"
    ]


def test_a_residual_block_takes_its_share_of_its_stage(tmp_path: Path) -> None:
    (breakdown,) = breakdowns_of(breakdown_run(tmp_path))
    assert breakdown.blocks("layer1") == 2
    assert breakdown.block_seconds("layer1") == pytest.approx(3 * 0.046 / 2)
    assert breakdown.blocks("layer1.0") == 1
    assert breakdown.block_seconds("stem") is None


def test_a_persons_model_has_no_residual_blocks_to_tell(tmp_path: Path) -> None:
    (breakdown,) = breakdowns_of(breakdown_run(tmp_path))
    mine = replace(breakdown, parameters={**breakdown.parameters, "variant": None})
    assert mine.blocks("layer1") is None


def test_work_explains_times_that_were_made_from_it(tmp_path: Path) -> None:
    (breakdown,) = breakdowns_of(breakdown_run(tmp_path))
    by_work, by_activations, by_both = breakdown.explanations
    assert by_both.r_squared > 0.99
    assert by_both.seconds_per_unit["multiply_adds"] > 0
    assert by_both.predicted["layer1"] == pytest.approx(3 * 0.046, rel=0.05)
    alone = max(by_work.r_squared, by_activations.r_squared)
    assert by_both.r_squared > alone - 1e-9
    assert "ms per GMAC (R² " in by_work.words


def test_parts_and_what_explains_them_are_figures(tmp_path: Path) -> None:
    made = shown_of(breakdown_run(tmp_path)).figures
    panels = made["time-explained"].axes
    assert len(panels) == 3
    assert len(made["parts"].axes) == 1
    legend = panels[0].get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text().startswith("R² ")


def test_a_run_without_a_breakdown_has_no_such_table(tmp_path: Path) -> None:
    config = resolved(Config(variants=(18,)), "cpu", 2)
    run = assemble(tmp_path, [header_of(config), {"kind": "end", "status": "complete"}])
    assert breakdowns_of(run) == []
    assert "breakdown" not in shown_of(run).json
    assert shown_of(run).figures == {}
