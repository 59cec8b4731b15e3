import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.colors import to_hex
from rich.console import Console

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.speed.cells import SpeedCell
from resnet_bench.experiments.speed.view.show import live_table, show
from resnet_bench.present import theme
from resnet_bench.present.drawing import svg_text
from resnet_bench.present.tables import csv_text, markdown
from resnet_bench.present.terminal import print_table
from resnet_bench.store.reading import Run
from tests.toys.speed_runs import shown_of

MakeRun = Callable[..., Run]

CONTRACT = {
    "variant", "shortcut", "device", "batch_size", "requested_batch_size",
    "image_size", "dtype", "amp", "tf32", "channels_last", "compiled", "threads",
    "parameters", "gmac", "gflop", "forward", "loss", "backward", "optimizer", "step",
    "inference", "first_call_seconds", "train_images_per_second",
    "inference_images_per_second", "train_peak_memory_bytes",
    "inference_peak_memory_bytes", "closure", "efficiency", "ratio_to_first",
    "warmup_converged", "flags", "verdict",
}  # fmt: skip


def test_json_rows_have_everything_the_contract_names(make_run: MakeRun) -> None:
    run = make_run(variants=(18, 34))
    content = json.loads(json.dumps(shown_of(run).json, allow_nan=False))
    assert content["run"] == run.id
    first, second = content["rows"]
    assert set(first) >= CONTRACT
    assert set(first["forward"]) == {"estimate", "low", "high", "n"}
    assert second["ratio_to_first"]["step"]["estimate"] == pytest.approx(1.8, rel=0.1)
    assert (first["variant"], first["parameters"]) == (18, 11_689_512)
    assert round(first["gmac"], 3) == 1.814
    assert first["gflop"] == 2 * first["gmac"]


def test_json_bounds_that_cannot_be_told_are_null(make_run: MakeRun) -> None:
    run = make_run(variants=(18, 34), rounds=1)
    row = json.loads(json.dumps(shown_of(run).json, allow_nan=False))["rows"][1]
    assert row["closure"]["low"] is None
    assert row["ratio_to_first"]["step"]["high"] is None


def test_json_of_what_was_not_asked_for_is_null(make_run: MakeRun) -> None:
    row = shown_of(make_run(variants=(18,), mode="infer")).json["rows"][0]
    for name in ("forward", "backward", "step", "closure", "train_images_per_second"):
        assert row[name] is None
    assert set(row["ratio_to_first"]) == {"inference"}
    assert row["train_peak_memory_bytes"] is None


def test_a_run_cut_short_is_still_shown(make_run: MakeRun) -> None:
    run = make_run(variants=(18, 34), keep=lambda line: False)
    assert run.status == "partial"
    rows = shown_of(run).json["rows"]
    assert [row["verdict"] for row in rows] == ["missing", "missing"]
    assert shown_of(run).figures == {}
    assert [table.name for table in shown_of(run).tables] == ["times"]
    assert "missing: not measured yet." in shown_of(run).tables[0].notes


def test_a_run_without_timing_cells_shows_nothing(make_run: MakeRun) -> None:
    run = make_run(variants=(18,), keep=lambda line: False)
    run.header["cells"] = {}
    assert shown_of(run).json["rows"] == []
    assert shown_of(run).tables == []
    assert live_table(run) is None
    assert shown_of(run).figures == {}


@pytest.mark.parametrize(
    "options",
    [
        {"variants": (18, 34, 50)},
        {"variants": (18,), "mode": "infer"},
        {"variants": (18,), "mode": "train"},
        {"variants": (18, 50), "batch_size": (1, 16), "threads": (1, 2)},
        {"model": ("a_rather_long_package.with_modules:wide_net",)},
    ],
)
def test_tables_fit_a_terminal_of_eighty_columns(
    make_run: MakeRun, options: dict[str, Any]
) -> None:
    for table in shown_of(make_run(**options)).tables:
        assert len(table.narrow) <= 8
        stream = io.StringIO()
        console = Console(file=stream, width=80, force_terminal=True, no_color=True)
        print_table(table, console)
        # One block: the head of the first column stands there once.
        assert stream.getvalue().count("model") <= 1 + ("model" in str(options))


def test_settings_that_differ_have_a_column_and_the_others_the_title(
    make_run: MakeRun,
) -> None:
    table = shown_of(make_run(variants=(18,), batch_size=(1, 4), threads=(1,))).tables[
        0
    ]
    assert list(table.frame["setting"]) == ["batch 1", "batch 4"]
    assert table.title == (
        "Speed on AMD EPYC 7B13, 2 cores, 1 thread\n"
        "224 px, float32, random images and weights"
    )


def test_a_batch_that_was_made_smaller_is_named(make_run: MakeRun) -> None:
    run = make_run(variants=(18,), batch_size=(4,))
    for parameters in run.grid.values():
        parameters["requested_batch_size"] = 8
    assert "batch 4, asked for 8, 224 px" in shown_of(run).tables[0].title


def test_switches_that_are_on_are_named(make_run: MakeRun) -> None:
    run = make_run(variants=(18,), channels_last=True, amp=True, device="cuda:0")
    title = shown_of(run).tables[0].title
    assert "NVIDIA H100\nbatch 128, 224 px, bfloat16, amp, channels last" in title


def test_percentiles_are_shown_only_when_carried(make_run: MakeRun) -> None:
    few = shown_of(make_run(variants=(18,), rounds=3)).tables[0].frame
    many = shown_of(make_run(variants=(18,), rounds=4)).tables[0].frame
    assert few["step_p90_seconds"][0] is None
    assert many["step_p90_seconds"][0] > many["step_seconds"][0]
    assert many["step_p99_seconds"][0] is None


def test_footers_explain_flags_errors_and_ceilings(make_run: MakeRun) -> None:
    run = make_run(variants=(18, 34), rounds=1, failing={34: "ValueError: odd"})
    notes = " ".join(shown_of(run).tables[0].notes)
    assert "within this process" in notes
    assert "noisy: an interval is wider than ±5%" in notes
    assert "ResNet-34: ValueError: odd" in notes
    assert "product 205 GFLOP/s" in notes


def test_a_note_says_what_is_set_for_memory(make_run: MakeRun) -> None:
    run = make_run(variants=(18,))
    without = shown_of(run).tables[0].notes
    variables = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1073741824"}
    header = {
        **run.header,
        "environment": {**run.environment, "variables": variables},
    }
    added = set(shown_of(replace(run, header=header)).tables[0].notes) - set(without)
    assert "huge pages" in " ".join(added)


def test_the_live_table_fills_while_cells_run(make_run: MakeRun) -> None:
    run = make_run(
        variants=(18, 34),
        keep=lambda line: line.get("round") == 0,
        committed_only=False,
    )
    table = live_table(run)
    assert table is not None
    assert len(table.frame) == 2
    assert table.frame["step_samples"][0] == 5
    assert table.notes == ()


def test_csv_and_markdown_of_the_tables_can_be_made(make_run: MakeRun) -> None:
    times, ratios = shown_of(make_run(variants=(18, 34))).tables
    assert "forward_seconds_low" in csv_text(times).splitlines()[0]
    assert "| ResNet-34" in markdown(ratios)


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
        if record.get("round") != 1 or "step_seconds" not in record:
            return record
        return {**record, "step_seconds": [50 * s for s in record["step_seconds"]]}

    run = make_run(variants=(18, 34), rounds=3, change=erratic)
    assert svg_text(shown_of(run).figures["phases"]).count(" ms<") == 2


def test_the_note_on_intervals_fits_brackets_as_well_as_plus_minus(
    make_run: MakeRun,
) -> None:
    note = shown_of(make_run(variants=(18,))).tables[0].notes[0]
    assert "in brackets" in note
    assert "±" in note


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


def test_notices_name_the_model_they_are_about(make_run: MakeRun) -> None:
    def hot(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if "notes" not in record:
            return record
        return {**record, "notes": [f"The clock fell by {record['round']}."]}

    run = make_run(variants=(18,), change=hot)
    assert shown_of(run).notices == ["ResNet-18: The clock fell by 4."]


def test_one_sample_bounds_nothing_in_a_table(make_run: MakeRun) -> None:
    def single(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        known = "step_seconds" in record
        return {**record, "step_seconds": [0.2]} if known else record

    run = make_run(variants=(18, 34), rounds=1, change=single)
    times, ratios = shown_of(run).tables
    assert times.frame["step_seconds_high"][0] == math.inf
    assert ratios.frame["step_ratio"][0] == 1
    assert ratios.frame["step_ratio_low"].isna()[0]


def test_the_spread_between_processes_is_told_once_noise_measured_it(
    make_run: MakeRun,
) -> None:
    class Noisy(OtherRuns):
        process_spread = 0.073

    run = make_run(variants=(18,))
    assert "differ by 7.3% on this machine" in show(run, Noisy()).notices[-1]
    assert shown_of(run).notices == []


def test_the_headline_sets_networks_side_by_side(make_run: MakeRun) -> None:
    (said,) = shown_of(make_run(variants=(18, 50))).headline
    assert said.startswith("A training step takes, beside that of ResNet-18: ResNet-50")
    assert "2.25 times the multiply-adds" in said
    (said,) = shown_of(make_run(variants=(18, 50), mode="infer")).headline
    assert said.startswith("Inference takes")
    assert shown_of(make_run(variants=(18,), batch_size=(1, 8))).headline == []
