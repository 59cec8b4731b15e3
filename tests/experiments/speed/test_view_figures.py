from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.colors import to_hex

from resnet_bench.experiments.speed.cells import TIME, SpeedCell
from resnet_bench.experiments.speed.view.figures import intensity_of
from resnet_bench.experiments.speed.view.rows import rows_of
from resnet_bench.present import theme
from resnet_bench.present.drawing import svg_text
from resnet_bench.store.reading import Run
from tests.toys.speed_runs import shown_of

MakeRun = Callable[..., Run]


def test_figures_draw_intervals_labels_and_fixed_colours(make_run: MakeRun) -> None:
    made = shown_of(make_run(variants=(18, 50))).figures
    assert list(made) == ["phases", "time-against-work", "images-per-second"]
    axes = made["phases"].axes[0]
    colours = [to_hex(patch.get_facecolor()) for patch in axes.patches]
    assert colours[0] == theme.VARIANT_COLOURS[18].lower()
    assert axes.get_xlabel() == "time per step (ms)"
    assert len(axes.containers) >= 12
    for figure in made.values():
        text = svg_text(figure)
        assert "AMD EPYC 7B13" in text
        assert ">ResNet-50<" in text


def test_a_step_is_named_beside_the_widest_interval_too(make_run: MakeRun) -> None:
    def erratic(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if record.get("round", 0) % 2 == 0 or "step_seconds" not in record:
            return record
        return {**record, "step_seconds": [50 * s for s in record["step_seconds"]]}

    run = make_run(variants=(18, 34), rounds=8, change=erratic)
    assert svg_text(shown_of(run).figures["phases"]).count(" ms<") == 2


def test_models_are_named_where_too_few_visits_leave_no_bounds(
    make_run: MakeRun,
) -> None:
    made = shown_of(make_run(variants=(34, 50), rounds=2)).figures
    text = svg_text(made["time-against-work"])
    assert ">ResNet-34<" in text
    assert ">ResNet-50<" in text


def test_every_kind_of_run_has_its_figures(make_run: MakeRun) -> None:
    infer = shown_of(make_run(variants=(18, 34), mode="infer")).figures
    assert list(infer) == ["time-against-work", "images-per-second"]
    train = shown_of(make_run(variants=(18,), mode="train")).figures
    # Time against work needs two networks with different work.
    assert list(train) == ["phases", "images-per-second"]
    mixed = make_run(variants=(152,), model=("pkg:net",), batch_size=(1024,))
    text = svg_text(shown_of(mixed).figures["images-per-second"])
    assert ">pkg:net<" in text


def test_figures_leave_out_work_that_is_unknown(make_run: MakeRun) -> None:
    def unknown(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        keys = ("multiply_adds", "flop")
        return {**record, **{key: None for key in keys if key in record}}

    run = make_run(variants=(18,), change=unknown)
    assert "time-against-work" not in shown_of(run).figures
    assert shown_of(run).json["rows"][0]["gmac"] is None
    assert math.isfinite(shown_of(run).json["rows"][0]["step"]["estimate"])


def test_a_rate_without_an_interval_is_written_beside_its_bar(
    make_run: MakeRun,
) -> None:
    def one_rate(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] != "speed_samples":
            return record
        return {**record, "inference_images_per_second": [123.0]}

    run = make_run(
        variants=(18,), protocol="timm", mode="infer", rounds=1, change=one_rate
    )
    assert ">123<" in svg_text(shown_of(run).figures["images-per-second"])


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


def test_no_roof_is_left_out_however_many_there_are(make_run: MakeRun) -> None:
    settings = {"threads": (1, 2, 4), "dtype": ("float32", "bfloat16")}
    run = make_run(variants=(18,), change=with_traffic, **settings)
    axes = shown_of(run).figures["roofline"].axes[0]
    assert sum("roof" in str(line.get_label()) for line in axes.lines) == 6


def test_a_run_from_before_traffic_was_counted_has_no_roofline(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18,))
    assert intensity_of(rows_of(run)[0]) is None
    assert "roofline" not in shown_of(run).figures


def test_ticks_are_plain_numbers(make_run: MakeRun) -> None:
    drawn = shown_of(make_run(variants=(18,), change=with_traffic)).figures["roofline"]
    assert "mathdefault" not in svg_text(drawn)
