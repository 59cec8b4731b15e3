from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resnet_bench.experiments.speed.cells import TIME, SpeedCell
from resnet_bench.experiments.speed.view.figures import intensity_of
from resnet_bench.experiments.speed.view.rows import rows_of
from resnet_bench.present.drawing import svg_text
from resnet_bench.store.reading import Run
from tests.toys.speed_runs import shown_of

MakeRun = Callable[..., Run]

MOVED = 17_748_840


def with_traffic(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "moved_elements": MOVED} if cell.measure == TIME else record


def test_intensity_is_work_over_bytes_of_weights_and_operators(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18,), batch_size=(2,), change=with_traffic)
    (row,) = rows_of(run)
    elements = 11_689_512 + 2 * MOVED
    expected = 2 * 2 * 1_814_073_344 / (4 * elements)
    assert intensity_of(row) == pytest.approx(expected)


def test_half_as_wide_numbers_double_the_intensity(make_run: MakeRun) -> None:
    types = ("float32", "bfloat16")
    wide, narrow = rows_of(make_run(variants=(18,), dtype=types, change=with_traffic))
    assert intensity_of(narrow) == pytest.approx(2 * (intensity_of(wide) or 0))


def test_each_number_format_has_its_roof(make_run: MakeRun) -> None:
    types = ("float32", "bfloat16")
    run = make_run(variants=(18, 50), dtype=types, change=with_traffic)
    axes = shown_of(run).figures["roofline"].axes[0]
    roofs = [str(line.get_label()) for line in axes.lines]
    assert [label for label in roofs if "roof" in label] == [
        "float32 roof: 205 GFLOP/s, 12 GB/s",
        "bfloat16 roof: 205 GFLOP/s, 12 GB/s",
    ]


def test_a_run_from_before_traffic_was_counted_has_no_roofline(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18,))
    assert intensity_of(rows_of(run)[0]) is None
    assert "roofline" not in shown_of(run).figures


def test_ticks_are_plain_numbers(make_run: MakeRun) -> None:
    drawn = shown_of(make_run(variants=(18,), change=with_traffic)).figures["roofline"]
    assert "mathdefault" not in svg_text(drawn)
