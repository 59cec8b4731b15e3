from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from resnet_bench.experiments.speed.cells import SpeedCell
from resnet_bench.experiments.speed.settings import LADDER
from resnet_bench.experiments.speed.view.ladder import (
    Recommendation,
    ladder_figures,
    recommendations,
    refusals,
    steps_of,
)
from resnet_bench.experiments.speed.view.rows import rows_of
from resnet_bench.store.reading import Run
from tests.toys.speed_runs import (
    FACTORS,
    FIRST_CALL_SECONDS,
    UNSUPPORTED,
    shown_of,
    times_by,
)

MakeRun = Callable[..., Run]


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return make_run(
        variants=(18, 50),
        ladder=True,
        unsupported=UNSUPPORTED,
        change=times_by(FACTORS),
        rounds=6,
    )


def test_every_step_is_a_row_of_the_json_object(run: Run) -> None:
    content = json.loads(json.dumps(shown_of(run).json, allow_nan=False))
    assert [row["rung"] for row in content["rows"]] == [*FACTORS, *FACTORS]
    for row in content["rows"]:
        ratio = row["ratio_to_first"]["inference"]["estimate"]
        assert ratio == pytest.approx(FACTORS[row["rung"]], rel=0.1)


def test_each_ladder_starts_from_its_own_model(run: Run) -> None:
    steps = steps_of(rows_of(run))
    starts = {step.start.parameters["variant"] for step in steps if step.previous}
    assert starts == {18, 50}
    assert [step.row.name for step in steps if step.previous is None] == [
        "ResNet-18",
        "ResNet-50",
    ]


def test_a_step_is_set_against_the_one_before_it(run: Run) -> None:
    rows = shown_of(run).json["rows"]
    ratio = rows[4]["ratio_to_previous"]["inference"]["estimate"]
    assert ratio == pytest.approx(0.5 / 0.9, rel=0.1)
    assert rows[0]["ratio_to_previous"]["inference"] is None


def test_compiling_pays_off_after_so_many_calls(run: Run) -> None:
    rows = shown_of(run).json["rows"]
    before, usual = (rows[index]["inference"]["estimate"] for index in (4, 5))
    compiling = FIRST_CALL_SECONDS - usual
    assert rows[5]["conversion_seconds"]["inference"] == pytest.approx(compiling)
    assert rows[5]["break_even_calls"]["inference"] == pytest.approx(
        compiling / (before - usual)
    )


def test_what_is_not_compiled_has_nothing_to_pay_off(run: Run) -> None:
    row = shown_of(run).json["rows"][4]
    assert row["conversion_seconds"] == {"step": None, "inference": None}
    assert row["break_even_calls"] == {"step": None, "inference": None}


def test_compiling_that_slows_down_never_pays_off(run: Run) -> None:
    compiled = steps_of(rows_of(run))[5]
    alike = replace(compiled, ready=[compiled.row])
    assert alike.conversion_seconds("inference") is not None
    assert alike.break_even_calls("inference") is None


def test_the_fastest_step_is_recommended_with_its_options(run: Run) -> None:
    found = list(recommendations(steps_of(rows_of(run))))
    assert [(each.goal, each.step.row.name) for each in found] == [
        ("train", "ResNet-18"),
        ("infer", "ResNet-18"),
        ("train", "ResNet-50"),
        ("infer", "ResNet-50"),
    ]
    assert {each.options for each in found} == {
        "--dtype bfloat16 --channels-last --compile"
    }
    assert "times as fast as eager float32" in found[0].sentence
    assert shown_of(run).json["recommended"][1]["rung"] == "compiled"


def test_ladders_that_differ_in_size_are_told_apart(make_run: MakeRun) -> None:
    shown = shown_of(
        make_run(
            variants=(18,),
            ladder=True,
            mode="infer",
            threads=(1, 2),
            image_size=(160, 224),
            unsupported=UNSUPPORTED,
            change=times_by(FACTORS),
        )
    )
    sizes = ["160 px, 1 thread", "160 px, 2 threads"]
    sizes += ["224 px, 1 thread", "224 px, 2 threads"]
    starts = [f"Fastest way to infer ResNet-18 at batch 4, {size}: " for size in sizes]
    for start, sentence in zip(starts, shown.headline, strict=True):
        assert sentence.startswith(start)
    (table,) = [each for each in shown.tables if each.name == "ladder"]
    assert table.narrow[:4] == ["model", "image_size", "threads", "rung"]
    panels = [axes.get_title(loc="left") for axes in shown.figures["ladder"].axes]
    assert panels == [f"ResNet-18, batch 4, {size}" for size in sizes]
    told = [(each["image_size"], each["threads"]) for each in shown.json["recommended"]]
    assert told == [(160, 1), (160, 2), (224, 1), (224, 2)]


def test_a_start_that_nothing_beats_is_recommended_as_it_is(make_run: MakeRun) -> None:
    slower = {name: 1.0 if name == "eager" else 10.0 for name in FACTORS}
    run = make_run(
        variants=(18,), ladder=True, unsupported=UNSUPPORTED, change=times_by(slower)
    )
    found = next(iter(recommendations(steps_of(rows_of(run)))))
    assert found.sentence == "Fastest way to train ResNet-18 at batch 4: the defaults"


def test_steps_that_could_not_be_taken_are_said(run: Run) -> None:
    (said,) = refusals(run)
    groups = dict(each.split(" (", 1)[::-1] for each in said.split("; "))
    assert groups["needs a CUDA device)"].endswith("tf32, float16, cuda-graphs")
    assert "openvino" in groups["is not installed)."]
    ladder = next(table for table in shown_of(run).tables if table.name == "ladder")
    assert set(refusals(run)) <= set(ladder.notes)


def test_a_failed_step_is_no_step_to_compare_with(make_run: MakeRun) -> None:
    run = make_run(
        variants=(18,), ladder=True, unsupported=UNSUPPORTED, failing={18: "broken"}
    )
    rows = rows_of(run)
    assert recommendations(steps_of(rows)) == []
    assert ladder_figures(run, steps_of(rows)) == {}
    assert all(step.previous is None for step in steps_of(rows))


def test_ladder_has_a_table_and_a_figure(run: Run) -> None:
    assert [table.name for table in shown_of(run).tables][:2] == ["times", "ladder"]
    assert {"ladder", "ladder-training"} <= set(shown_of(run).figures)


def test_a_run_without_a_ladder_has_neither(make_run: MakeRun) -> None:
    run = make_run(variants=(18, 34))
    assert "ladder" not in [table.name for table in shown_of(run).tables]
    assert "ladder" not in shown_of(run).figures
    assert "recommended" not in shown_of(run).json


def test_a_single_visit_settles_no_recommendation(make_run: MakeRun) -> None:
    run = make_run(
        variants=(18,),
        ladder=True,
        unsupported=UNSUPPORTED,
        change=times_by(FACTORS),
        rounds=1,
    )
    found = next(iter(recommendations(steps_of(rows_of(run)))))
    assert "do not show that it is faster" in found.sentence


def test_steps_that_samples_do_not_tell_apart_are_named_together(
    make_run: MakeRun,
) -> None:
    # Every other visit of the last step is slower and faster by a tenth.
    factors = {**FACTORS, "keep-memory": 0.395}
    change = times_by(factors)

    def noisy(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        changed = change(cell, record)
        if cell.rung != "keep-memory" or "step_seconds" not in record:
            return changed
        factor = 0.9 if record["round"] % 2 else 1.12
        names = ("step_seconds", "inference_seconds")
        return {**changed, **{n: [factor * s for s in changed[n]] for n in names}}

    run = make_run(variants=(18,), ladder=True, unsupported=UNSUPPORTED, change=noisy)
    (train, _) = shown_of(run).json["recommended"]
    assert {train["rung"], *train["tied"]} == {"compiled", "keep-memory"}
    assert any("cannot distinguish it from" in each for each in shown_of(run).headline)


#: A ladder on which OpenVINO in bfloat16 is the fastest, and torch is compiled.
WITH_RUNTIMES = {
    **FACTORS,
    "onnxruntime": 0.6,
    "onnxruntime-int8": 0.5,
    "openvino": 0.55,
    "openvino-bfloat16": 0.25,
    "openvino-int8": 0.3,
}
EXPORT_SECONDS = 4.0


@pytest.fixture
def make_ladder(make_run: MakeRun) -> Callable[..., Run]:
    """Build a ladder with other runtimes; `errors` are those of the logits by rung."""

    def make(**errors: float) -> Run:
        scaled = times_by(WITH_RUNTIMES)

        def change(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
            changed = scaled(cell, record)
            if record["type"] == "speed_samples" and cell.rung:
                error = errors.get(cell.rung.replace("-", "_"), 1e-6)
                changed |= {"logit_error": error, "first_inference_seconds": 0.0}
                if cell.runtime:
                    told = {"THREADS": "2"}
                    changed |= {"conversion_seconds": EXPORT_SECONDS, "told": told}
            return changed

        refused = tuple((r.name, "why") for r in LADDER if r.needs_cuda)
        return make_run(
            variants=(18,), ladder=True, unsupported=refused, change=change, rounds=6
        )

    return make


def inference_of(run: Run) -> Recommendation:
    found = recommendations(steps_of(rows_of(run)))
    return next(each for each in found if each.goal == "infer")


def test_the_fastest_runtime_is_set_against_torchs_best_and_float32s(
    make_ladder: Callable[..., Run],
) -> None:
    found = inference_of(make_ladder(openvino_bfloat16=0.01))
    assert found.options == "--runtime openvino --dtype bfloat16"
    rungs = [step.row.parameters["rung"] for step in found.beaten.values()]
    assert rungs == ["compiled", "openvino"]
    assert "1.6" in found.sentence  # 0.4 / 0.25 of the compiled step
    assert "same top-1 prediction on 100 %" in found.sentence


def test_exporting_pays_off_against_torch_as_it_is_built(
    make_ladder: Callable[..., Run],
) -> None:
    rows = {row["rung"]: row for row in shown_of(make_ladder()).json["rows"]}
    row, ready = rows["openvino-bfloat16"], rows["bfloat16"]
    assert row["conversion_seconds"]["inference"] == EXPORT_SECONDS
    saved = ready["inference"]["estimate"] - row["inference"]["estimate"]
    calls = row["break_even_calls"]["inference"]
    assert calls == pytest.approx(EXPORT_SECONDS / saved)
    assert rows["openvino"]["break_even_calls"]["inference"] is None
    assert row["told"] == {"THREADS": "2"}


@pytest.mark.parametrize(
    ("rung", "error", "wrong"),
    [
        ("onnxruntime", 1e-5, False),
        ("onnxruntime", 0.01, True),
        ("onnxruntime", float("nan"), True),
        ("openvino-bfloat16", 0.01, False),
        ("openvino-bfloat16", 1.4, True),
    ],
)
def test_logits_tell_a_runtime_that_computes_something_else(
    make_ladder: Callable[..., Run], rung: str, error: float, wrong: bool
) -> None:
    rows = rows_of(make_ladder(**{rung.replace("-", "_"): error}))
    row = next(row for row in rows if row.parameters["rung"] == rung)
    assert ("wrong-answers" in row.flags) is wrong


def test_wrong_answers_are_never_recommended(
    make_ladder: Callable[..., Run],
) -> None:
    found = inference_of(make_ladder(openvino_bfloat16=1.4))
    assert found.step.row.parameters["rung"] == "openvino-int8"
