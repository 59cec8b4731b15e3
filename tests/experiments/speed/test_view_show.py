from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist, mean
from typing import Any

import pytest
from rich.console import Console

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.speed.cells import TIME, ScalingSamples, SpeedCell
from resnet_bench.experiments.speed.grid import expand, resolved
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.experiments.speed.view.rows import rows_of
from resnet_bench.experiments.speed.view.show import live_table, show
from resnet_bench.experiments.speed.view.tables import _per_second, scaling_table
from resnet_bench.present.tables import header, shown_rows
from resnet_bench.present.terminal import print_table
from resnet_bench.records import to_json
from resnet_bench.statistics.estimates import time_interval
from resnet_bench.store.reading import Run, assemble
from tests.toys.speed_runs import shown_of

MakeRun = Callable[..., Run]


CONTRACT = {
    "variant", "shortcut", "device", "batch_size", "requested_batch_size",
    "image_size", "dtype", "amp", "tf32", "channels_last", "compiled", "threads",
    "parameters", "gmac", "gflop", "forward", "loss", "backward", "optimizer", "step",
    "inference", "first_call_seconds", "train_images_per_second",
    "inference_images_per_second", "train_peak_memory_bytes",
    "inference_peak_memory_bytes", "closure", "efficiency", "ratio_to_first",
    "flags", "verdict",
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
    assert live_table(run, ()) is None
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
    run = make_run(variants=(18,), channels_last=("yes",), amp=True, device="cuda:0")
    title = shown_of(run).tables[0].title
    assert "NVIDIA H100\nbatch 128, 224 px, bfloat16, amp, channels last" in title


def test_footers_explain_flags_errors_and_ceilings(make_run: MakeRun) -> None:
    run = make_run(variants=(18, 34), rounds=1, failing={34: "ValueError: odd"})
    notes = " ".join(shown_of(run).tables[0].notes)
    assert "noisy: an interval is wider than ±5 %" in notes
    assert "ResNet-34: ValueError: odd" in notes
    assert "product 205 GFLOP/s" in notes


def test_verdicts_are_explained_and_no_further_flags(make_run: MakeRun) -> None:
    def change(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "flags": ["throttled"]} if "flags" in record else record

    shown = shown_of(make_run(variants=(18,), rounds=1, change=change))
    assert shown.json["rows"][0]["flags"] == ["throttled", "noisy"]
    assert shown.tables[0].notes[0].startswith("throttled:")
    assert "noisy:" not in " ".join(shown.tables[0].notes)


@pytest.mark.parametrize(
    ("rate", "shown"), [(2.13e11, "213 G"), (9.994e11, "999 G"), (5.11e13, "51.1 T")]
)
def test_ceilings_are_short_on_any_device(rate: float, shown: str) -> None:
    assert _per_second(rate) == shown


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
    table = live_table(run, ())
    assert table is not None
    assert len(table.frame) == 2
    assert table.frame["step_samples"][0] == 1
    assert table.notes == ()


def test_before_its_end_a_row_of_the_live_table_waits_or_runs(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18, 34, 50), keep=lambda line: False)
    failing = make_run(variants=(18, 34, 50), failing={50: "ValueError: odd"})
    cells = {key: end for key, end in failing.cells.items() if end.status != "ok"}
    first = next(iter(run.grid))
    table = live_table(replace(run, cells=cells), (first,))
    assert table is not None
    assert list(table.frame["verdict"]) == ["running", "waiting", "failed"]


def test_notices_name_the_model_they_are_about(make_run: MakeRun) -> None:
    def hot(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if "notes" not in record:
            return record
        return {**record, "notes": [f"The clock fell by {record['round']}."]}

    run = make_run(variants=(18,), change=hot)
    assert shown_of(run).notices == ["ResNet-18: The clock fell by 7."]


def test_equal_notes_are_said_once_with_the_rows_that_they_are_about(
    make_run: MakeRun,
) -> None:
    def hot(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "notes": ["It was hot."]} if "notes" in record else record

    (said,) = shown_of(make_run(variants=(18, 34), change=hot)).notices
    assert said == "ResNet-18 and ResNet-34: It was hot."
    (said,) = shown_of(make_run(variants=(18, 34, 50), change=hot)).notices
    assert said == "3 rows: It was hot."
    errors = dict.fromkeys((18, 34, 50), "ValueError: odd")
    notes = shown_of(make_run(variants=(18, 34, 50), failing=errors)).tables[0].notes
    assert notes[0] == "3 rows: ValueError: odd"


def test_a_disturbed_run_says_so_first_and_by_how_much(make_run: MakeRun) -> None:
    def crowded(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if "notes" not in record:
            return record
        note = "threads waited for a core for more than 10 % of a visit"
        share = {18: 0.2, 34: 0.4}.get(cell.variant or 0, 0.01)
        notes = [note, "It was hot."] if share > 0.1 else ["It was hot."]
        return {**record, "waiting_share": share, "notes": notes}

    first, *further = shown_of(make_run(variants=(18, 34, 50), change=crowded)).notices
    assert first.startswith("This run was disturbed: in 2 of 3 rows")
    assert "a core 30 % of the time" in first
    assert further == ["3 rows: It was hot."]


def test_dropped_visits_are_told_even_before_a_visit_that_is_left_out(
    make_run: MakeRun,
) -> None:
    def stopped(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if record.get("round") != 2:
            return record
        crowded = {"waiting_share": 0.5} if "notes" in record else {}
        return {**record, **crowded, "dropped_visits": 1}

    run = make_run(variants=(18,), change=stopped)
    assert shown_of(run).notices == [
        "left out: 1 of 8 visits, because other work took a core",
        "2 visits dropped and repeated, because the process was stopped "
        "(SIGSTOP, Ctrl-Z)",
    ]


def test_one_sample_bounds_nothing_in_a_table(make_run: MakeRun) -> None:
    def single(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        known = "step_seconds" in record
        return {**record, "step_seconds": [0.2]} if known else record

    run = make_run(variants=(18, 34), rounds=1, change=single)
    times, ratios = shown_of(run).tables
    assert times.frame["step_seconds_high"][0] is None
    assert times.frame["step_seconds_rounds"][0] == 1
    assert ratios.frame["step_ratio"][0] == 1
    assert ratios.frame["step_ratio_low"].isna()[0]
    first, second = shown_rows(ratios, ["step_ratio"])
    assert (first[0].spread, second[0].spread) == ("", "(1 round)")
    first, second = shown_rows(times, ["step_ratio"])
    assert (first[0].spread, second[0].spread) == ("", "(1 round)")


def lognormal(visits: int) -> list[float]:
    """Return seconds that lie as a lognormal distribution's quantiles, 15 % wide."""
    places = [(place + 0.5) / visits for place in range(visits)]
    return [math.exp(0.15 * NormalDist().inv_cdf(place)) for place in places]


def test_noise_is_told_with_a_budget_that_would_probably_settle_it(
    make_run: MakeRun,
) -> None:
    def varying(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if not (cell.variant == 50 and record.get("inference_seconds")):
            return record
        # Every fourth in turn, so that there is no trend.
        return {**record, "inference_seconds": [lognormal(9)[4 * record["round"] % 9]]}

    run = make_run(variants=(18, 50), rounds=9, change=varying, budget=100.0)
    (told,) = shown_of(run).notices
    assert told.startswith("1 of 2 rows is noisy")
    assert "(inference of ResNet-50) took 787 to 1270 ms" in told
    (budget,) = re.findall(r"--budget (\d+) would", told)
    # ResNet-18 needs no more visits; what is added to the budget is for ResNet-50.
    visits = round(9 * (2 * int(budget) / 100 - 1))
    assert 0.04 < time_interval(lognormal(visits)).relative_spread < 0.06


def test_no_budget_is_promised_where_other_work_disturbed_the_run(
    make_run: MakeRun,
) -> None:
    def crowded(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        share = 0.5 if record.get("round") == 1 else 0.0
        return {**record, "waiting_share": share} if "notes" in record else record

    run = make_run(variants=(18,), rounds=5, change=crowded, budget=100.0)
    assert "--budget" not in " ".join(shown_of(run).notices)


def test_rows_with_too_few_visits_are_promised_no_more_than_six(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18,), rounds=3, budget=100.0)
    (told,) = shown_of(run).notices
    assert "fewer than 6 visits" in told
    assert "--budget 200 would probably do" in told
    assert not shown_of(make_run(variants=(18,), rounds=3, protocol="timm")).notices


def test_the_spread_between_processes_is_told_once_noise_measured_it(
    make_run: MakeRun,
) -> None:
    class Noisy(OtherRuns):
        process_spread = 0.073

    run = make_run(variants=(18,))
    told = show(run, Noisy()).notices[-1]
    assert "on this machine, times of identical code differ by 7.3 %" in told
    assert shown_of(run).notices == []


def test_the_headline_sets_networks_side_by_side(make_run: MakeRun) -> None:
    (said,) = shown_of(make_run(variants=(18, 50))).headline
    assert said.startswith("Compared with ResNet-18, a training step takes ")
    assert "2.25 times the multiply-adds" in said
    (said,) = shown_of(make_run(variants=(18, 50), mode="infer")).headline
    assert said.startswith("Compared with ResNet-18, inference takes")
    assert shown_of(make_run(variants=(18,), batch_size=(1, 8))).headline == []
    assert shown_of(make_run(variants=(18, 50), rounds=2)).headline == []
    (said,) = shown_of(make_run(variants=(18,))).headline
    assert said.startswith("ResNet-18: a training step of 4 images takes ")
    assert "inference of 4 images takes" in said


def test_a_row_says_its_protocol_and_which_statistic_its_times_are(
    make_run: MakeRun,
) -> None:
    (own,) = shown_of(make_run(variants=(18,))).json["rows"]
    assert (own["protocol"], own["statistic"]) == ("resnet-bench", "median")
    run = make_run(variants=(18,), protocol="timm")
    (row,) = shown_of(run).json["rows"]
    assert (row["protocol"], row["statistic"]) == ("timm", "mean")
    samples = rows_of(run)[0].samples("step_seconds")
    assert row["step"]["estimate"] == pytest.approx(sum(samples) / len(samples))
    table = shown_of(run).tables[0]
    assert "timm protocol" in table.title
    assert any(note.startswith("timm protocol: means of 40") for note in table.notes)


def test_a_ratio_under_timms_rules_is_one_of_means(make_run: MakeRun) -> None:
    run = make_run(variants=(18, 50), protocol="timm", rounds=1)
    first, second = rows_of(run)
    ratio = second.ratio_to(first, "step")
    assert ratio is not None
    means = [mean(row.samples("step_seconds")) for row in (first, second)]
    assert ratio.estimate == pytest.approx(means[1] / means[0])
    # All calls are of one visit; there is no second round to tell an interval by.
    assert 0.9 * ratio.estimate < ratio.low < ratio.estimate < ratio.high
    (table,) = (t for t in shown_of(run).tables if t.name == "ratios")
    assert table.title.endswith("means over means")


def test_percentiles_are_told_where_the_samples_carry_them(make_run: MakeRun) -> None:
    for rounds, known in ((28, set()), (29, {"p90_seconds"})):
        (row,) = shown_of(make_run(variants=(18,), rounds=rounds)).json["rows"]
        step = row["percentiles"]["step"]
        assert {name for name, value in step.items() if value} == known
        assert (step["p90_seconds"] or math.inf) > row["step"]["estimate"]


def test_ceilings_and_roofs_say_how_many_threads_they_are_of(
    make_run: MakeRun,
) -> None:
    run = make_run(variants=(18,), threads=(1, 2))
    (times, *_) = shown_of(run).tables
    (note,) = [each for each in times.notes if each.startswith("Ceilings")]
    assert "here: 1 thread: matrix product 205 GFLOP/s" in note
    assert "; 2 threads: matrix product 205 GFLOP/s" in note


def timing_cell() -> SpeedCell:
    config = Config(
        model=("tests.engine.tiny_networks:tiny",),
        batch_size=(2,),
        image_size=(8,),
        budget=0.05,
    )
    cells = expand(resolved(config, "cpu", 1))
    return next(one for one in cells if one.measure == TIME)


def test_the_table_tells_efficiency_with_its_interval(tmp_path: Path) -> None:
    one = timing_cell()
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
    heads = [header(table, name) for name in table.narrow]
    assert heads[3:] == ["alone\nms", "together\nms", "efficiency"]
    assert shown_rows(table, ["alone_seconds"])[0][0].text == "900"


def test_a_run_of_one_rank_has_no_such_table(tmp_path: Path) -> None:
    header = {"kind": "run", "run": "r", "experiment": "speed"}
    assert scaling_table(assemble(tmp_path, [header])) is None


def test_settings_of_one_network_are_set_against_the_first(make_run: MakeRun) -> None:
    def half(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if cell.dtype == "float32" or "step_seconds" not in record:
            return record
        names = ("step_seconds", "inference_seconds")
        return {**record, **{n: [s / 2 for s in record[n]] for n in names}}

    run = make_run(variants=(18,), dtype=("float32", "bfloat16"), change=half)
    told = shown_of(run).headline
    assert any(
        each.startswith("A training step of ResNet-18: bfloat16 is ")
        and each.endswith("] times as fast as float32.")
        for each in told
    )


def test_a_setting_with_wrong_answers_is_not_named_the_fastest(
    make_run: MakeRun,
) -> None:
    def wrong(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if cell.dtype == "float32" or "step_seconds" not in record:
            return record
        halved = [seconds / 2 for seconds in record["inference_seconds"]]
        return {**record, "inference_seconds": halved, "logit_error": 1.4}

    formats = ("float32", "bfloat16")
    run = make_run(variants=(18,), dtype=formats, mode="infer", change=wrong)
    assert [row["verdict"] for row in shown_of(run).json["rows"]][1] == "wrong-answers"
    assert shown_of(run).headline == []


def test_an_interval_out_of_all_proportion_runs_out_of_the_picture(
    make_run: MakeRun,
) -> None:
    def wild(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if "step_seconds" not in record or record["round"] < 6:
            return record
        return {**record, "optimizer_seconds": [1e9]}

    run = make_run(variants=(18, 34), rounds=8, change=wild)
    (axes,) = shown_of(run).figures["phases"].axes
    assert axes.get_xlim()[1] < 10_000
