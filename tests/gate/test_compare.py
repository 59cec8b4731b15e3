import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.errors import ExitCode, NotComparableError, UsageError
from resnet_bench.experiments.speed.cells import SpeedCell
from resnet_bench.gate.baselines import keep_baseline
from resnet_bench.gate.compare import compare_runs, run_compare
from resnet_bench.gate.deciding import Verdict
from resnet_bench.gate.observed import labels_of
from resnet_bench.gate.report import Report, tables_of
from resnet_bench.gate.rows import Row
from resnet_bench.gate.spec import BaselineConfig, CompareConfig, parse_threshold
from resnet_bench.gate.spreads import Spreads, spreads_of
from resnet_bench.output import Output
from resnet_bench.reports.stored import shown
from resnet_bench.store.reading import Run, read_run
from resnet_bench.store.writing import create_run
from tests.gate.conftest import Write
from tests.gate.test_check import changed, run_id_of
from tests.toys.speed_runs import ENVIRONMENT, store_speed_run

RESULTS = Path("results")

Line = tuple[dict[str, Any], dict[str, Any]]


def stored(
    folder: Path,
    lines: Sequence[Line],
    *,
    experiment: str = "speed",
    machine_key: str = "m",
) -> Run:
    """A run with one cell for each line: its parameters, and its record."""
    header = {
        "run": folder.name,
        "experiment": experiment,
        "environment": {"machine_key": machine_key},
        "cells": {str(number): cell for number, (cell, _) in enumerate(lines)},
    }
    with create_run(folder, header) as writer:
        for number, (_, record) in enumerate(lines):
            writer.record(str(number), 1, record)
            writer.commit(str(number), 1, "ok")
        writer.end("complete")
    return read_run(folder)


Change = Callable[[SpeedCell, dict[str, Any]], dict[str, Any]]


def scaled(factors: Mapping[int | None, float], **further: Any) -> Change:
    """Return what makes a variant slower by a factor; further fields as given."""

    def change(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] != "speed_samples":
            return record
        factor = factors.get(cell.variant, 1.0)
        times = {
            name: [factor * value for value in values]
            for name, values in record.items()
            if name.endswith("_seconds") and isinstance(values, list)
        }
        rates = {
            name: [value / factor for value in values]
            for name, values in record.items()
            if name.endswith("_per_second")
        }
        return {**record, **times, **rates, **further}

    return change


def speed_run(
    folder: Path,
    run: str,
    factors: Mapping[int | None, float] | None = None,
    further: Mapping[str, Any] | None = None,
    **options: Any,
) -> Run:
    """A run of ResNet-18 and 50, a step of some slower by a factor."""
    change = scaled(factors or {}, **(further or {}))
    options = {"variants": (18, 50), "mode": "train", **options}
    return read_run(store_speed_run(folder, run, change=change, **options))


def training(seed: int, error: float) -> Line:
    record = {"type": "training_result", "test_error_percent": error, "parameters": 9}
    return {"depth": 20, "seed": seed}, record


KNOWN = Spreads(0.02, "measured by noise")


def compared(base: Run, head: Run, spreads: Spreads = KNOWN, **how: Any) -> Report:
    return compare_runs(base, head, (), spreads, **how)


def verdicts(report: Report) -> dict[tuple[str, str], Verdict]:
    return {(row.case, row.metric): row.verdict for row in report.rows}


def test_each_metric_of_each_case_is_set_against_the_other(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a")
    head = speed_run(tmp_path, "b", {18: 1.01, 50: 1.5})
    report = compared(base, head)
    found = verdicts(report)
    assert found["ResNet-18", "step_seconds"] is Verdict.PASS
    assert found["ResNet-50", "step_seconds"] is Verdict.REGRESSION
    assert found["ResNet-50", "train_images_per_second"] is Verdict.REGRESSION
    (rate,) = [row for row in report.rows if row.unit == "1/s" and row.exit_code]
    assert rate.because.startswith("as a time, low bound +")
    back = verdicts(compared(head, base))
    assert back["ResNet-50", "train_images_per_second"] is Verdict.IMPROVEMENT
    mean = report.facts["geometric_means"]["step_seconds"]
    assert mean == pytest.approx((1.01 * 1.5) ** 0.5)
    assert report.exit_code is ExitCode.REGRESSION
    assert not {"waiting_share", "moved_elements"} & {metric for _, metric in found}


def test_each_runtime_is_a_case_of_its_own(tmp_path: Path) -> None:
    def slower(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        factor = 1.5 if cell.runtime == "openvino" else 1.0
        return scaled({18: factor}, logit_error=1e-6)(cell, record)

    how: dict[str, Any] = {
        "variants": (18,),
        "runtime": ("torch", "onnxruntime", "openvino"),
        "mode": "infer",
    }
    base = read_run(store_speed_run(tmp_path, "a", **how))
    head = read_run(store_speed_run(tmp_path, "b", change=slower, **how))
    found = {
        case: verdict
        for (case, metric), verdict in verdicts(compared(base, head)).items()
        if metric == "inference_seconds"
    }
    assert found == {
        "ResNet-18 torch": Verdict.PASS,
        "ResNet-18 ONNX Runtime": Verdict.PASS,
        "ResNet-18 OpenVINO": Verdict.REGRESSION,
    }


def test_a_visit_is_one_value_and_five_decide_nothing(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a", rounds=5)
    head = speed_run(tmp_path, "b", {50: 3.0}, rounds=5)
    rows = {(row.case, row.metric): row for row in compared(base, head).rows}
    row = rows["ResNet-50", "step_seconds"]
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.because.startswith("5 and 5 visits; at least 6 on each side")


def test_a_row_that_is_not_ok_decides_nothing(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a")
    head = speed_run(tmp_path, "b", {50: 3.0}, {"flags": ["throttled"]})
    rows = {(row.case, row.metric): row for row in compared(base, head).rows}
    row = rows["ResNet-50", "step_seconds"]
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.because == "the head row is throttled"


@pytest.mark.parametrize("what", ["step_seconds", "multiply_adds", "memory", "loss"])
def test_a_limit_is_for_any_quantity_that_is_judged(tmp_path: Path, what: str) -> None:
    base, head = speed_run(tmp_path, "a"), speed_run(tmp_path, "b")
    assert compared(base, head, asked=[f"*:{what}=8%"]).exit_code is ExitCode.OK


@pytest.mark.parametrize("name", ["resnet50", "ResNet-50", "ResNet-50 batch 4", "*"])
def test_a_limit_names_a_network_with_or_without_its_settings(name: str) -> None:
    assert parse_threshold(f"{name}:step=8%").applies("ResNet-50 batch 4", "step")
    assert not parse_threshold(f"{name}x:step=8%").applies("ResNet-50 batch 4", "step")


@pytest.mark.parametrize("limit", ["resnet34:step=8%", "*:training=8%", "*:foo=8%"])
def test_a_limit_that_nothing_has_is_refused(tmp_path: Path, limit: str) -> None:
    base, head = speed_run(tmp_path, "a"), speed_run(tmp_path, "b")
    with pytest.raises(UsageError, match=f"{re.escape(limit)}: expected a case of "):
        compared(base, head, asked=[limit])


def test_more_multiply_adds_are_tolerated_up_to_a_limit(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a", further={"multiply_adds": 1000})
    head = speed_run(tmp_path, "b", further={"multiply_adds": 1015})
    assert compared(base, head).exit_code is ExitCode.REGRESSION
    for limits in (["*:multiply_adds=2%"], ["*:exact=2%"]):
        assert compare_runs(base, head, limits, KNOWN).exit_code is ExitCode.OK


def test_a_first_call_never_gates(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a")
    head = speed_run(tmp_path, "b", {}, {"first_step_seconds": 50.0})
    report = compared(base, head)
    assert verdicts(report)["ResNet-50", "first_step_seconds"] is Verdict.NOT_JUDGED
    assert report.exit_code is ExitCode.OK


def test_without_knowing_the_spread_little_is_decided(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a")
    head = speed_run(tmp_path, "b", {50: 1.3})
    report = compared(base, head, Spreads())
    assert verdicts(report)["ResNet-50", "step_seconds"] is Verdict.INCONCLUSIVE
    assert any("assumed to differ by 15 %" in notice for notice in report.notices)
    assert "widened by the 15.0 %" in tables_of(report)[0].notes[0]


def test_another_machine_compares_only_what_is_exact(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a")
    other = {**ENVIRONMENT, "machine_key": "n"}
    report = compared(base, speed_run(tmp_path, "b", environment=other))
    found = verdicts(report)
    assert found.pop(("all cases", "times and memory")) is Verdict.NOT_COMPARABLE
    assert found["ResNet-18", "parameters"] is Verdict.PASS
    assert set(found.values()) == {Verdict.PASS}
    assert report.exit_code is ExitCode.NOT_COMPARABLE
    assert any("Different machines (" in notice for notice in report.notices)


def test_what_differs_between_machines_is_told_by_name(tmp_path: Path) -> None:
    def run(name: str, gpus: list[dict[str, str]]) -> Run:
        return speed_run(tmp_path, name, environment={**ENVIRONMENT, "gpus": gpus})

    card = {"name": "H200", "driver": "580"}
    found = compared(run("a", []), run("b", [card, card])).notices
    assert "Differs: gpus: none → H200, H200." in found
    found = compared(run("c", [card]), run("d", [{**card, "driver": "590"}])).notices
    (told,) = (notice for notice in found if "gpus" in notice)
    assert "580" in told
    assert "590" in told


def test_other_settings_are_named_and_compared_only_when_asked(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a")
    head = speed_run(tmp_path, "b", {18: 0.5, 50: 0.5}, dtype=("bfloat16",))
    report = compared(base, head)
    (refused,) = [row for row in report.rows if row.case == "all cases"]
    assert "the settings differ: dtype float32 → bfloat16" in refused.because
    assert "--across" in refused.because
    assert report.exit_code is ExitCode.NOT_COMPARABLE
    across = compared(base, head, across=True)
    rows = {(row.case, row.metric): row for row in across.rows}
    row = rows["ResNet-18", "step_seconds"]
    assert row.verdict is Verdict.NOT_JUDGED
    assert row.ratio is not None
    assert row.ratio.estimate == pytest.approx(0.5)
    assert across.exit_code is ExitCode.OK


def test_memory_is_judged_by_the_spread_of_its_passes(tmp_path: Path) -> None:
    def bigger(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] != "peak_memory":
            return record
        return {**record, "peak_bytes": int(1.2 * record["peak_bytes"])}

    options: dict[str, Any] = {"variants": (18,), "mode": "train"}
    base = read_run(store_speed_run(tmp_path, "a", **options))
    head = read_run(store_speed_run(tmp_path, "b", change=bigger, **options))
    key = ("ResNet-18", "train_peak_memory_bytes")
    assert verdicts(compared(base, base))[key] is Verdict.PASS
    assert verdicts(compared(base, head))[key] is Verdict.INCONCLUSIVE
    known = Spreads(0.5, "measured by noise", memory=0.01)
    found = {(row.case, row.metric): row for row in compared(base, head, known).rows}
    assert found[key].verdict is Verdict.REGRESSION


def test_the_spread_comes_from_noise_or_stored_runs_or_is_assumed(
    tmp_path: Path,
) -> None:
    runs = [
        speed_run(tmp_path, f"2026010{n}T000000Z_abcdef0_0000", {18: 1 + n / 50})
        for n in range(1, 9)
    ]
    found = spreads_of(tmp_path, runs[0], runs[1])
    assert found.source == "between stored runs of equal settings"
    assert 0.02 < found.times < 0.1
    alone = speed_run(tmp_path / "alone", "a")
    assert spreads_of(tmp_path / "alone", alone, alone) == Spreads()


def test_cases_of_one_run_are_one_line(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a", variants=(18, 34, 50))
    head = speed_run(tmp_path, "b", variants=(18,))
    report = compared(base, head)
    (row,) = [row for row in report.rows if row.verdict is Verdict.MISSING]
    assert row.case == "2 cases"
    assert row.because == "only in the base run: ResNet-34, ResNet-50"
    assert report.exit_code is ExitCode.INCOMPLETE


def test_a_case_that_failed_in_one_run_says_so(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a")
    head = speed_run(tmp_path, "b", failing={50: "no memory"})
    (row,) = [
        row for row in compared(base, head).rows if row.verdict is Verdict.MISSING
    ]
    assert (row.case, row.because) == ("ResNet-50", "failed in the head run")


def test_two_experiments_are_not_comparable(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a")
    head = stored(tmp_path / "b", [training(0, 5.0)], experiment="degradation")
    with pytest.raises(NotComparableError, match="two of the same experiment"):
        compared(base, head)


def test_a_run_of_many_commits_is_refused_in_one_line(tmp_path: Path) -> None:
    base = stored(tmp_path / "a", [], experiment="history")
    for other in (base, speed_run(tmp_path, "b")):
        with pytest.raises(UsageError, match="run a is one of history") as caught:
            compared(other, base)
        assert caught.value.exit_code is ExitCode.USAGE
        assert "\n" not in str(caught.value)


def test_errors_are_paired_by_seed(tmp_path: Path) -> None:
    base = [training(seed, 5.0 + 0.1 * seed) for seed in range(5)]
    worse = [training(seed, 8.0 + 0.1 * seed) for seed in range(5)]
    one = stored(tmp_path / "a", base, experiment="degradation")
    two = stored(tmp_path / "b", worse, experiment="degradation")
    found = {
        metric: verdict for (_, metric), verdict in verdicts(compared(one, two)).items()
    }
    assert found["test_error_percent"] is Verdict.REGRESSION
    same = stored(tmp_path / "c", base, experiment="degradation")
    found = {
        metric: verdict
        for (_, metric), verdict in verdicts(compared(one, same)).items()
    }
    assert found["test_error_percent"] is Verdict.PASS


def test_a_training_that_diverged_is_not_judged(tmp_path: Path) -> None:
    base = [training(seed, 5.0 + 0.1 * seed) for seed in range(5)]
    head = [training(seed, math.nan if seed == 2 else 5.0) for seed in range(5)]
    one = stored(tmp_path / "a", base, experiment="degradation")
    two = stored(tmp_path / "b", head, experiment="degradation")
    rows = {row.metric: row for row in compared(one, two).rows}
    row = rows["test_error_percent"]
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.because == "the value is not finite in 1 of 5 seeds"


def test_runs_without_a_common_seed_say_so(tmp_path: Path) -> None:
    one = stored(tmp_path / "a", [training(0, 5.0)], experiment="degradation")
    two = stored(tmp_path / "b", [training(1, 5.0)], experiment="degradation")
    rows = {row.metric: row for row in compared(one, two).rows}
    assert rows["test_error_percent"].verdict is Verdict.MISSING
    assert "seed in common" in rows["test_error_percent"].because


def test_several_records_of_a_cell_are_told_apart(tmp_path: Path) -> None:
    header = {
        "run": "a",
        "experiment": "degradation",
        "environment": {"machine_key": "m"},
        "cells": {"0": {"depth": 20}},
    }
    with create_run(tmp_path / "a", header) as writer:
        for layer in (1, 2):
            row = {"type": "layer_gradient", "layer": layer, "signal_to_noise": 2.0}
            writer.record("0", 1, row)
        writer.commit("0", 1, "ok")
    run = read_run(tmp_path / "a")
    assert [row.case for row in compared(run, run).rows] == ["layer=1", "layer=2"]


def test_a_run_against_itself_says_so(tmp_path: Path) -> None:
    base = speed_run(tmp_path, "a")
    itself = compared(base, base)
    assert "Run a is compared with itself." in itself.notices
    assert set(verdicts(itself).values()) == {Verdict.PASS}


def test_a_label_holds_only_what_differs_within_its_kind_of_record() -> None:
    found = labels_of(
        [
            {"record": "speed", "batch": 4, "variant": 18},
            {"record": "speed", "batch": 4, "variant": 34},
            {"record": "ceiling", "batch": None, "variant": None},
        ]
    )
    assert [*found.values()] == [
        "speed variant=18",
        "speed variant=34",
        "ceiling",
    ]


def test_times_of_several_metrics_name_theirs() -> None:
    rows = [
        Row(case="a", metric=metric, verdict=Verdict.PASS, unit="s")
        for metric in ("forward_seconds", "step_seconds")
    ]
    (both,) = tables_of(Report(command="compare", rows=rows))
    (one,) = tables_of(Report(command="check", rows=rows[:1]))
    assert [*both.frame["metric"]] == ["forward_seconds", "step_seconds"]
    assert "metric" not in one.frame


def test_rows_of_unlike_protocols_are_not_set_against_each_other(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"variants": (18,), "mode": "infer"}
    own, timm, again = (
        read_run(store_speed_run(tmp_path, name, protocol=protocol, **options))
        for name, protocol in (("own", None), ("timm", "timm"), ("again", "timm"))
    )
    unlike = compared(own, timm)
    assert any("protocol None → timm" in row.because for row in unlike.rows)
    assert not [row for row in unlike.rows if row.metric == "inference_seconds"]
    alike = verdicts(compared(timm, again))
    assert alike["ResNet-18", "inference_seconds"] is Verdict.PASS


def test_two_checks_are_compared_by_what_they_saw_of_the_head(
    repository: Path,
    write: Write,
    output: Output,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = changed(metrics=("exact",))
    first = run_id_of(config, output)
    keep_baseline(BaselineConfig(request=("save", "v1", first)), output)
    write(exact={"a": {"flops": 30}})
    second = run_id_of(config, output)
    capsys.readouterr()
    compare = CompareConfig(runs=("v1", second), json=True)
    assert run_compare(compare, output) is ExitCode.REGRESSION
    rows = json.loads(capsys.readouterr().out)["rows"]
    worse = [(row["case"], row["metric"]) for row in rows if row["verdict"] != "pass"]
    assert worse == [("a", "flops")]


def test_another_machines_run_ends_with_not_comparable(
    repository: Path, output: Output
) -> None:
    speed_run(RESULTS, "a")
    speed_run(RESULTS, "b", environment={**ENVIRONMENT, "machine_key": "n"})
    compare = CompareConfig(runs=("a", "b"), explain=True)
    assert run_compare(compare, output) is ExitCode.NOT_COMPARABLE


def test_different_experiments_are_refused_in_the_output_too(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    speed_run(RESULTS, "a")
    stored(RESULTS / "degradation" / "b", [], experiment="degradation")
    compare = CompareConfig(runs=("a", "b"), export_markdown=Path("-"))
    with pytest.raises(NotComparableError, match="same experiment"):
        run_compare(compare, output)
    assert capsys.readouterr().out.endswith("compare: 1 not comparable\n")


def test_a_run_of_an_unknown_experiment_is_refused(tmp_path: Path) -> None:
    strange = stored(tmp_path / "a", [training(0, 5.0)], experiment="alchemy")
    with pytest.raises(UsageError, match="is of alchemy"):
        shown(strange)


def test_two_checks_may_differ_in_predictions_but_not_in_accuracy(
    repository: Path, write: Write, output: Output
) -> None:
    config = changed(cases=("a:accuracy",), metrics=("accuracy",))
    runs = []
    for right in (0.91, 0.911, 0.8):
        write(accuracy={"a": [right, right + 0.01] * 3})
        runs.append(run_id_of(config, output))
    first, alike, worse = runs
    for other, code in ((alike, ExitCode.OK), (worse, ExitCode.REGRESSION)):
        assert run_compare(CompareConfig(runs=(first, other)), output) is code
