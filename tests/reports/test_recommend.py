"""`recommend` answers from this machine's own runs, and says how sure it is."""

from __future__ import annotations

import io
import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console

from resnet_bench import cli
from resnet_bench.commands import recommend as command
from resnet_bench.commands.recommend import RecommendConfig
from resnet_bench.commands.run import Session
from resnet_bench.errors import ExitCode, NotComparableError, UsageError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.speed.cells import SpeedCell
from resnet_bench.options import given
from resnet_bench.present.tables import csv_text
from resnet_bench.present.terminal import rich_table
from resnet_bench.reports import recommend as module
from resnet_bench.reports.budgets import finetuned_accuracies
from resnet_bench.reports.recommend import Machine, Recommendation, recommend
from resnet_bench.reports.stored import ShownRun, StoredRuns
from tests.experiments.finetune.stored import resolved, stored_run
from tests.toys.speed_runs import ENVIRONMENT, store_speed_run

HERE = Machine("0123456789ab", "cpu", "a machine")
ELSEWHERE = {**ENVIRONMENT, "machine_key": "ba9876543210"}

#: One image takes ResNet-18 10.8 ms and ResNet-50 28 ms here, up to 15 % slower.
RUN = "20260102T030405Z_abcdef0_1234"


def store(results: Path, **options: Any) -> Path:
    settings: dict[str, Any] = {"variants": (18, 34, 50), "batch_size": (1,)}
    return store_speed_run(results, **{"run": RUN, **settings, **options})


def answer(results: Path, machine: Machine = HERE, **asked: Any) -> Recommendation:
    return recommend(RecommendConfig(results=results, **asked).question, machine)


def variant_of(found: Recommendation) -> int | None:
    return None if found.chosen is None else found.chosen.row["variant"]


def test_the_most_accurate_variant_within_the_latency_is_named(tmp_path: Path) -> None:
    store(tmp_path)
    assert variant_of(answer(tmp_path, latency_ms=100)) == 50
    assert variant_of(answer(tmp_path, latency_ms=27)) == 34
    assert variant_of(answer(tmp_path, latency_ms=16)) == 18


def test_throughput_is_asked_for_in_images_per_second(tmp_path: Path) -> None:
    store(tmp_path, batch_size=(8,))
    for rate, variant in ((10, 50), (70, 18)):
        found = answer(tmp_path, images_per_second=rate, batch_size=8)
        assert variant_of(found) == variant


def test_training_counts_steps(tmp_path: Path) -> None:
    store(tmp_path)
    assert variant_of(answer(tmp_path, latency_ms=60, mode="train")) == 18
    assert variant_of(answer(tmp_path, latency_ms=60)) == 50


def test_nothing_within_the_budget_names_the_closest(tmp_path: Path) -> None:
    store(tmp_path)
    found = answer(tmp_path, latency_ms=1)
    assert found.chosen is None
    assert found.closest.row["variant"] == 18
    (sentence, *_) = found.sentences
    assert sentence.startswith("Nothing measured here can infer one image within 1 ms;")
    assert found.json["closest"]["variant"] == 18


def test_how_sure_an_answer_is_falls_with_the_room_that_is_left(
    tmp_path: Path,
) -> None:
    store(tmp_path, variants=(18,))
    said = [
        answer(tmp_path, latency_ms=latency).json["candidates"][0]["certainty"]
        for latency in (30, 14, 11.5, 6)
    ]
    assert said == ["sure", "likely", "borderline", "unlikely"]


def test_a_measured_spread_takes_the_place_of_the_assumed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, variants=(18,))
    assumed = answer(tmp_path, latency_ms=14)
    assert assumed.json["process_spread_measured"] is False
    assert assumed.json["process_spread"] == pytest.approx(0.15 / math.sqrt(2))
    monkeypatch.setattr(module, "known_process_spread", lambda *_: 0.01)
    measured = answer(tmp_path, latency_ms=14)
    assert measured.json["process_spread"] == pytest.approx(0.01 / math.sqrt(2))
    (before,), (after,) = (each.json["candidates"] for each in (assumed, measured))
    assert after["chance"] > before["chance"]
    assert any("the newest noise run" in note for note in measured.table.notes)


def test_runs_of_other_machines_are_never_used(tmp_path: Path) -> None:
    store(tmp_path, environment=ELSEWHERE)
    with pytest.raises(NotComparableError, match="1 of other machines are not used"):
        answer(tmp_path, latency_ms=100)


def test_runs_of_another_device_are_not_used(tmp_path: Path) -> None:
    store(tmp_path, device="cuda:0")
    with pytest.raises(NotComparableError, match="--variants all --device cpu"):
        answer(tmp_path, latency_ms=100)
    gpu = Machine(HERE.key, "cuda:0", "a GPU")
    assert variant_of(answer(tmp_path, gpu, latency_ms=1000)) == 50


def test_runtimes_that_are_not_installed_are_no_answer_and_named(
    tmp_path: Path,
) -> None:
    store(tmp_path, variants=(50,), runtime=("torch", "openvino"), mode="infer")
    lacking = replace(HERE, absent=frozenset({"openvino", "onnxruntime"}))
    both, one = (answer(tmp_path, each, latency_ms=100) for each in (HERE, lacking))
    assert {each.row["runtime"] for each in both.found} == {"torch", "openvino"}
    assert {each.row["runtime"] for each in one.found} == {"torch"}
    assert one.sentences[2] == (
        "Not considered, because not installed: OpenVINO (extra 'runtimes')."
    )


def test_a_setting_that_measure_does_not_take_is_timed_by_its_own_command(
    tmp_path: Path,
) -> None:
    store(tmp_path, channels_last=("yes",))
    elsewhen = replace(HERE, day="2026-03-01")
    told = answer(tmp_path, elsewhen, latency_ms=100).sentences
    assert told[1].endswith("; the command below times it again.")


def faster(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
    calls = record.get("inference_seconds", [])
    return {**record, "inference_seconds": [each / 2 for each in calls]}


def test_the_table_holds_the_answer_in_its_own_setting(tmp_path: Path) -> None:
    # The faster setting has too few visits to be sure.
    store(tmp_path, variants=(50,))
    newer = "20260202T030405Z_abcdef0_1234"
    changed = {"channels_last": ("yes",), "change": faster, "rounds": 1}
    store(tmp_path, run=newer, variants=(50,), **changed)
    found = answer(tmp_path, latency_ms=1000)
    assert found.chosen != min(found.found, key=lambda each: each.expected.seconds)
    (line,) = found.json["candidates"]
    assert line == found.json["recommended"]


def test_a_call_is_one_image_unless_a_batch_is_asked_for(tmp_path: Path) -> None:
    store(tmp_path, batch_size=(1, 4))
    asked: list[tuple[int, dict[str, Any]]] = [(1, {}), (4, {"batch_size": 4})]
    for batch, options in asked:
        found = answer(tmp_path, latency_ms=1000, **options)
        assert {each.batch_size for each in found.found} == {batch}
        assert found.json["batch_size"] == batch
    with pytest.raises(NotComparableError, match=r"batches \(-b\): 1, 4: .*size 8"):
        answer(tmp_path, latency_ms=1000, batch_size=8)


def test_runs_of_a_setting_are_pooled_and_the_newest_does_not_win(
    tmp_path: Path,
) -> None:
    newer = "20260202T030405Z_abcdef0_1234"
    store(tmp_path)
    store(tmp_path, run=newer, variants=(18,))
    runs = {
        each["variant"]: each["runs"]
        for each in answer(tmp_path, latency_ms=50).json["candidates"]
    }
    assert runs == {18: [newer, RUN], 34: [RUN], 50: [RUN]}


def test_runs_of_another_day_and_commit_are_said_to_be(tmp_path: Path) -> None:
    store(tmp_path)
    elsewhen = replace(HERE, day="2026-03-01", commit="c" * 40)
    told = answer(tmp_path, elsewhen, latency_ms=100).sentences
    assert told[1].startswith(
        f"This is based on a run from another day and commit: {RUN} (58 days old);"
    )
    assert told[2].startswith("Not considered, because not timed here: ")
    then = replace(HERE, day="2026-01-02")
    told = answer(tmp_path, then, latency_ms=100).sentences
    assert not any("another" in each for each in told)


def test_a_newer_run_that_does_not_count_is_mentioned(tmp_path: Path) -> None:
    store(tmp_path)
    store(tmp_path, run="20260202T030405Z_abcdef0_1234", rounds=1)
    elsewhen = replace(HERE, day="2026-03-01")
    told = answer(tmp_path, elsewhen, latency_ms=100).sentences
    assert any("again, best on a quiet machine" in each for each in told)
    assert told[2] == (
        "1 newer run of this setting was not used: fewer than six visits, noisy."
    )


def test_a_newer_run_that_was_disturbed_is_said_to_be(tmp_path: Path) -> None:
    store(tmp_path)
    candidate = answer(tmp_path, latency_ms=100).found[0]
    (timed,) = candidate.pool.timed
    flagged = {**timed.observed.row, "flags": ["oversubscribed", "noisy"]}
    newer = replace(timed, observed=replace(timed.observed, row=flagged))
    pool = replace(candidate.pool, newer=[newer, newer])
    told = module.origin(replace(candidate, pool=pool), HERE)
    assert told == ["2 newer runs were not used: noisy, oversubscribed."]


def test_how_a_call_is_judged_is_said_of_the_answer_alone(tmp_path: Path) -> None:
    store(tmp_path)
    found = answer(tmp_path, latency_ms=100)
    first, *others = found.found
    with_p90 = replace(first, slowest_tenth=1.1)
    usual = [replace(each, slowest_tenth=None) for each in others]
    mixed = replace(found, found=[with_p90, *usual])
    assert variant_of(mixed) == 50 != first.variant
    assert "A call is judged on its usual time, because p90 is unknown." in (
        mixed.table.notes
    )
    assert "judged on p90" not in " ".join(mixed.table.notes)
    alone = replace(found, found=[with_p90])
    assert "A call is judged on p90: nine of ten calls take no longer." in (
        alone.table.notes
    )


def test_variants_without_a_time_are_named(tmp_path: Path) -> None:
    store(tmp_path)
    told = answer(tmp_path, latency_ms=100).table.notes
    assert told[1] == (
        "Not considered, because not timed here: ResNet-101, ResNet-152; "
        "--measure times all."
    )


def test_one_sample_is_told_without_bounds_or_chance(tmp_path: Path) -> None:
    store(tmp_path, rounds=1)
    found = answer(tmp_path, latency_ms=1000)
    told = found.json["recommended"]
    assert told["certainty"] == "borderline"
    assert told["chance"] is None
    assert (told["seconds"]["low"], told["seconds"]["high"]) == (None, None)
    assert "(1 visit, too few for bounds)" in found.sentences[0]
    assert "borderline (few visits)" in found.sentences[0]
    assert "inf" not in csv_text(found.table).replace("infer", "")


def test_measure_takes_the_times_and_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "machine_environment", lambda: ENVIRONMENT)
    asked: list[Any] = []

    def carry_out(session: Session, given: dict[str, Any]) -> ExitCode:
        config = session.experiment.config(**given)
        asked.append((session.argv, config.variants, config.batch_size, config.mode))
        store(tmp_path, mode="train")
        return ExitCode.OK

    monkeypatch.setattr(Session, "carry_out", carry_out)
    words = "recommend --latency-ms 200 --mode train --measure --json --device cpu -o"
    assert cli.run([*words.split(), str(tmp_path)]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["recommended"]["variant"] == 50
    ((argv, *options),) = asked
    assert argv[:3] == ["speed", "--variants", "all"]
    assert options == [(18, 34, 50, 101, 152), (1,), "train"]


def test_a_file_that_cannot_be_written_is_refused_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "machine_environment", lambda: ENVIRONMENT)
    monkeypatch.setattr(Session, "carry_out", lambda *_: pytest.fail("measured"))
    target = tmp_path / "absent" / "table.csv"
    asked = "recommend --latency-ms 200 --measure --device cpu"
    files = ["--export-csv", str(target), "-o", str(tmp_path)]
    code = cli.run([*asked.split(), *files])
    assert code == ExitCode.INTERNAL
    assert f"cannot write {target}: No such file" in capsys.readouterr().err


def test_a_damaged_run_is_passed_over(tmp_path: Path) -> None:
    store(tmp_path)
    damaged = tmp_path / "speed" / "20260302T030405Z_abcdef0_1234"
    damaged.mkdir()
    (damaged / "run.jsonl").write_text("no run\n")
    assert variant_of(answer(tmp_path, latency_ms=100)) == 50


def test_the_command_named_reproduces_the_setting(tmp_path: Path) -> None:
    store(
        tmp_path,
        variants=(18,),
        dtype=("bfloat16",),
        channels_last=("yes",),
        compile=True,
        mode="infer",
    )
    line = answer(tmp_path, latency_ms=100).json["recommended"]["command"]
    program, name, *arguments = shlex.split(line)
    assert (program, name) == ("resnet-bench", "speed")
    command = cli.commands.get_command(click.Context(cli.commands), name)
    assert command is not None
    made = EXPERIMENTS["speed"].config
    config = made(**given(made, command.make_context(name, arguments).params))
    assert config.variants == (18,)
    assert config.dtype == ("bfloat16",)
    assert (config.channels_last, config.compile) == (("yes",), True)
    assert config.mode == "infer"
    assert (config.batch_size, config.threads) == ((1,), (2,))


def test_accuracies_are_said_to_be_published(tmp_path: Path) -> None:
    store(tmp_path)
    (sentence, *_) = answer(tmp_path, latency_ms=100).sentences
    assert "torchvision's IMAGENET1K_V2, not measured here" in sentence


def test_a_more_accurate_variant_that_is_not_sure_is_mentioned(tmp_path: Path) -> None:
    store(tmp_path)
    *_, last = answer(tmp_path, latency_ms=30).sentences
    assert last.startswith("More accurate but not sure enough: ResNet-50")


def test_images_of_another_size_have_no_published_accuracy(tmp_path: Path) -> None:
    store(tmp_path, image_size=(64,))
    with pytest.raises(NotComparableError, match="one image of 224 px"):
        answer(tmp_path, latency_ms=100)


def store_in_int8(results: Path, agreement: float = 0.97) -> None:
    """Times in float32, and in int8 four times as fast."""

    def change(_: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] != "speed_samples":
            return record
        times = [value / 4 for value in record["inference_seconds"]]
        answers = {"top1_agreement": agreement, "logit_error": 0.04}
        return {**record, "inference_seconds": times, **answers}

    store(results, mode="infer")
    store(
        results,
        run="20260103T030405Z_abcdef0_1234",
        runtime=("openvino",),
        dtype=("int8",),
        change=change,
    )


def test_int8_is_mentioned_with_what_is_known_of_its_answers(tmp_path: Path) -> None:
    store_in_int8(tmp_path)
    found = answer(tmp_path, latency_ms=16)
    assert variant_of(found) == 18  # by what is accurate for sure
    told, again = (each for each in found.sentences if "int8" in each)
    assert told.startswith("In int8, whose accuracy is unknown: ResNet-50, batch 1, ")
    assert "on 97 % of the images compared, logits differ by 4.0 %" in told
    assert told.endswith("Check the accuracy on your own images.")
    assert again.startswith("Reproduce in int8: resnet-bench speed --variants 50 ")
    assert again.endswith("--runtime openvino --dtype int8")
    in_int8 = found.json["int8"]
    assert (in_int8["variant"], in_int8["top1_percent"]) == (50, None)
    assert in_int8["top1_agreement"] == 0.97


def test_int8_stands_alone_where_nothing_else_is_fast_enough(tmp_path: Path) -> None:
    store_in_int8(tmp_path)
    found = answer(tmp_path, latency_ms=9.5)
    assert found.chosen is None
    assert found.json["int8"]["variant"] == 50
    assert answer(tmp_path, latency_ms=1).json["int8"] is None


def test_int8_with_other_answers_is_not_mentioned(tmp_path: Path) -> None:
    store_in_int8(tmp_path, agreement=0.8)
    found = answer(tmp_path, latency_ms=16)
    assert found.json["int8"] is None
    assert "int8" not in " ".join(found.sentences)


def test_a_measured_accuracy_takes_the_place_of_the_published_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, image_size=(32,))
    with pytest.raises(NotComparableError, match="run 'resnet-bench finetune' first"):
        answer(tmp_path, latency_ms=100, accuracy="finetune")
    run = stored_run(resolved(variants=(18, 34), seeds=3))
    found = {"finetune": [ShownRun(run)], "speed": []}
    monkeypatch.setattr(StoredRuns, "readable", lambda _, name: found[name])
    here = Machine(run.machine_key, "cpu", "a machine")
    with pytest.raises(NotComparableError, match=r"inference on .* was never timed"):
        answer(tmp_path, here, latency_ms=100, accuracy="finetune")
    accuracies = finetuned_accuracies([run])
    assert set(accuracies) == {18, 34}
    assert accuracies[18].image_size == 32
    assert not accuracies[18].published
    assert accuracies[18].weights.startswith("full on photo-digits-5-9")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "one of --latency-ms and --images-per-second"),
        ({"latency_ms": 5.0, "images_per_second": 5.0}, "one of --latency-ms and"),
        ({"latency_ms": 0.0}, "--latency-ms 0"),
        ({"latency_ms": -1.0}, "--latency-ms -1"),
        ({"latency_ms": float("nan")}, "--latency-ms nan"),
        ({"images_per_second": 0.0}, "--images-per-second 0"),
        ({"images_per_second": float("inf")}, "--images-per-second inf"),
        ({"latency_ms": 5.0, "batch_size": 0}, "--batch-size 0"),
    ],
)
def test_a_budget_that_is_none_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RecommendConfig(**asked)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--latency-ms", "100"], ExitCode.OK),
        (["--latency-ms", "100", "--json"], ExitCode.OK),
        (["--latency-ms", "1"], ExitCode.INCOMPLETE),
        (["--latency-ms", "100", "-o", "elsewhere"], ExitCode.NOT_COMPARABLE),
        (["--latency-ms", "nan"], ExitCode.USAGE),
    ],
)
def test_the_exit_code_tells_an_answer_from_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: ExitCode,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "machine_environment", lambda: ENVIRONMENT)
    store(tmp_path / "results")
    assert cli.run(["recommend", *arguments]) == code
    out, _ = capsys.readouterr()
    if "--json" in arguments:
        assert json.loads(out)["recommended"]["variant"] == 50
    elif code == ExitCode.OK:
        assert "Reproduce: resnet-bench speed --variants 50" in out


@pytest.mark.parametrize("asked", [{"latency_ms": 100}, {"images_per_second": 1}])
def test_times_by_another_projects_rules_are_not_used(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    store(tmp_path, protocol="timm")
    with pytest.raises(NotComparableError, match="first"):
        answer(tmp_path, **asked)


@pytest.mark.parametrize("asked", [{"latency_ms": 1000}, {"images_per_second": 1}])
def test_the_longest_setting_fits_in_80_columns(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    store(
        tmp_path,
        batch_size=(16,),
        dtype=("bfloat16",),
        channels_last=("yes",),
        compile=True,
    )
    table = answer(tmp_path, batch_size=16, **asked).table
    console = Console(file=io.StringIO(), width=200)
    drawn = rich_table(table, table.narrow)
    assert console.measure(drawn).maximum <= 80
