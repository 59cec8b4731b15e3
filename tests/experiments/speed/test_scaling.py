"""Scaling efficiency: blocks in turns, and the table made of them."""

from pathlib import Path
from typing import Any

import pytest

from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.experiments.speed import run as speed
from resnet_bench.experiments.speed.cells import TIME, ScalingSamples, SpeedCell
from resnet_bench.experiments.speed.grid import expand, resolved
from resnet_bench.experiments.speed.measures import timing as scaling
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.experiments.speed.view.times import scaling_table
from resnet_bench.records import to_json
from resnet_bench.store.reading import assemble


def cell() -> SpeedCell:
    config = Config(
        model=("tests.engine.tiny_networks:tiny",),
        batch_size=(2,),
        image_size=(8,),
        budget=0.05,
    )
    cells = expand(resolved(config, "cpu", 1))
    return next(one for one in cells if one.measure == TIME)


def test_blocks_of_one_rank_and_of_all_take_turns() -> None:
    (record,) = scaling.measure_scaling(cell(), ALONE)
    assert isinstance(record, ScalingSamples)
    assert record.ranks == 1
    assert len(record.alone_step_seconds) == scaling.BLOCKS
    assert len(record.together_step_seconds) == scaling.BLOCKS
    assert min(record.alone_step_seconds) > 0


def test_several_ranks_never_go_on_without_one_that_ran_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_large(cell: SpeedCell, ranks: Ranks) -> Any:
        raise MemoryError("out of memory")

    monkeypatch.setattr(speed, "measure_scaling", too_large)
    with pytest.raises(MemoryError):
        list(speed.run(cell(), Ranks(0, 2)))


def test_the_table_tells_efficiency_with_its_interval(tmp_path: Path) -> None:
    one = cell()
    record = ScalingSamples(
        ranks=2,
        alone_step_seconds=(0.9,) * 8,
        together_step_seconds=(1.0,) * 8,
    )
    identity = {"cell": one.key, "attempt": 1}
    content = {"type": "scaling_samples", **to_json(record)}
    lines = [
        {
            "kind": "run",
            "run": "r",
            "experiment": "speed",
            "cells": {one.key: one.parameters},
        },
        {"kind": "record", **identity, **content},
        {"kind": "cell", **identity, "status": "ok"},
    ]
    table = scaling_table(assemble(tmp_path, lines))
    assert table is not None
    (row,) = table.rows
    assert row["efficiency"] == pytest.approx(0.9)
    assert row["efficiency_low"] <= 0.9 <= row["efficiency_high"]
    assert row["ranks"] == 2


def test_a_run_of_one_rank_has_no_such_table(tmp_path: Path) -> None:
    header = {"kind": "run", "run": "r", "experiment": "speed"}
    assert scaling_table(assemble(tmp_path, [header])) is None
