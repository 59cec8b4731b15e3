from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.container import ErrorbarContainer

from resnet_bench.experiments.speed.cells import SpeedCell
from resnet_bench.experiments.speed.view.rows import rows_of
from resnet_bench.experiments.speed.view.sweep import Sweep, sweep_figures, sweeps_of
from resnet_bench.present.drawing import svg_text
from resnet_bench.store.reading import Run
from tests.toys.speed_runs import shown_of

MakeRun = Callable[..., Run]


def rates(by_value: dict[int, float], name: str) -> Any:
    """Give each cell the images per second that belong to its value."""

    def change(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] != "speed_samples":
            return record
        rate = by_value[getattr(cell, name)]
        wanted = {"train_images_per_second": [rate] * 3} if cell.trains else {}
        return {**record, **wanted, "inference_images_per_second": [3 * rate] * 3}

    return change


BATCHES = {1: 40.0, 2: 70.0, 4: 96.0, 8: 100.0, 16: 99.0}


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return make_run(
        variants=(18,),
        batch_size=tuple(BATCHES),
        change=rates(BATCHES, "batch_size"),
    )


def test_the_knee_is_the_smallest_batch_with_95_percent_of_the_best(run: Run) -> None:
    train, inference = sweeps_of(rows_of(run))
    assert (train.mode, inference.mode) == ("train", "inference")
    assert train.knee == 4
    assert train.best == 8
    assert train.json["values"] == [1, 2, 4, 8, 16]
    assert train.json["best_is_last"] is False


def test_the_knee_stands_in_table_json_and_figure(run: Run) -> None:
    (table,) = [each for each in shown_of(run).tables if each.name == "sweeps"]
    assert list(table.frame["knee"]) == ["4", "4"]
    assert list(table.frame["knee_images_per_second"]) == pytest.approx([96, 288])
    assert [each["knee"] for each in shown_of(run).json["sweeps"]] == [4, 4]
    text = svg_text(shown_of(run).figures["sweep-batch-size"])
    assert "knee (95 %)" in text
    assert "ResNet-18, inference" in text


def test_pixels_count_where_the_images_size_is_swept(make_run: MakeRun) -> None:
    by_size = {64: 1000.0, 128: 300.0, 224: 100.0}
    run = make_run(
        variants=(18,),
        image_size=tuple(by_size),
        change=rates(by_size, "image_size"),
        mode="infer",
    )
    (sweep,) = sweeps_of(rows_of(run))
    assert sweep.name == "image_size"
    assert sweep.knee == 128


def test_a_sweep_over_threads_is_none_over_batches(make_run: MakeRun) -> None:
    by_threads = {1: 10.0, 2: 19.0, 4: 19.5}
    run = make_run(
        variants=(18, 50),
        threads=tuple(by_threads),
        change=rates(by_threads, "threads"),
        mode="infer",
    )
    found: list[Sweep] = sweeps_of(rows_of(run))
    assert [(each.name, each.knee) for each in found] == [
        ("threads", 2),
        ("threads", 2),
    ]


def test_two_values_have_no_knee(make_run: MakeRun) -> None:
    run = make_run(variants=(18,), batch_size=(1, 4))
    assert sweeps_of(rows_of(run)) == []
    assert "sweeps" not in shown_of(run).json


@pytest.fixture
def threads_and_batches(make_run: MakeRun) -> Run:
    return make_run(
        variants=(18,),
        threads=(1, 2),
        batch_size=tuple(BATCHES),
        change=rates(BATCHES, "batch_size"),
    )


def test_sweeps_say_in_which_other_setting_they_differ(
    threads_and_batches: Run,
) -> None:
    (table,) = (t for t in shown_of(threads_and_batches).tables if t.name == "sweeps")
    by_batch = [row for row in table.rows if row["swept"] == "batch size"]
    assert [row["beside"] for row in by_batch] == ["1 thread"] * 2 + ["2 threads"] * 2
    assert "beside" in table.narrow
    text = svg_text(shown_of(threads_and_batches).figures["sweep-batch-size"])
    assert "ResNet-18, inference, 2 threads" in text
    assert "inference, 224 px" not in text
    assert "224 px, float32, random images and weights" in text


def test_two_thread_counts_make_a_sweep_but_two_batches_do_not(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18,), threads=(1, 2), batch_size=(4, 8))
    assert {sweep.name for sweep in sweeps_of(rows_of(run))} == {"threads"}


def test_lines_of_many_settings_look_different(make_run: MakeRun) -> None:
    run = make_run(
        variants=(18,),
        threads=(1, 2, 4, 8),
        batch_size=tuple(BATCHES),
        change=rates(BATCHES, "batch_size"),
    )
    rows = rows_of(run)
    (axes,) = sweep_figures(run, rows, sweeps_of(rows))["sweep-batch-size"].axes
    lines = [
        each.lines[0] for each in axes.containers if isinstance(each, ErrorbarContainer)
    ]
    looks = {
        (line.get_linewidth(), line.get_fillstyle(), line.get_linestyle())
        for line in lines
    }
    assert len(looks) == len(lines) == 2 * 4


def test_the_lines_of_a_network_without_shortcuts_look_different(
    make_run: MakeRun,
) -> None:
    run = make_run(
        variants=(18,),
        shortcut=("residual", "plain"),
        batch_size=tuple(BATCHES),
        mode="infer",
    )
    rows = rows_of(run)
    (axes,) = sweep_figures(run, rows, sweeps_of(rows))["sweep-batch-size"].axes
    lines = [
        each.lines[0] for each in axes.containers if isinstance(each, ErrorbarContainer)
    ]
    assert len({line.get_linewidth() for line in lines}) == len(lines) == 2
