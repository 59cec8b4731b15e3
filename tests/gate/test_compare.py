import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.errors import ExitCode, NotComparableError, UsageError
from resnet_bench.gate.baselines import keep_baseline
from resnet_bench.gate.compare import compare_runs, labels_of, run_compare
from resnet_bench.gate.deciding import Verdict
from resnet_bench.gate.report import Report, tables_of
from resnet_bench.gate.rows import Row
from resnet_bench.gate.spec import BaselineConfig, CompareConfig
from resnet_bench.output import Output
from resnet_bench.reports.stored import shown
from resnet_bench.store.reading import Run, read_run
from resnet_bench.store.writing import create_run
from tests.gate.conftest import Write
from tests.gate.test_check import changed, run_id_of
from tests.toys.speed_runs import store_speed_run

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


def speed(depth: int, seconds: float, **further: Any) -> Line:
    samples = [seconds * (1 + 0.001 * step) for step in range(10)]
    record = {"type": "speed_samples", "round": 0, "forward_seconds": samples}
    return {"variant": depth}, {**record, **further}


def training(seed: int, error: float) -> Line:
    record = {"type": "training_result", "test_error_percent": error, "parameters": 9}
    return {"depth": 20, "seed": seed}, record


def compared(base: Run, head: Run, spread: float | None = 0.02) -> Report:
    return compare_runs(base, head, (), spread)


def verdicts(report: Report) -> dict[tuple[str, str], Verdict]:
    return {(row.case, row.metric): row.verdict for row in report.rows}


def test_each_metric_of_each_case_is_set_against_the_other(tmp_path: Path) -> None:
    base = stored(tmp_path / "a", [speed(18, 0.01), speed(50, 0.02)])
    head = stored(tmp_path / "b", [speed(18, 0.0101), speed(50, 0.03)])
    report = compared(base, head)
    assert verdicts(report) == {
        ("variant=18", "forward_seconds"): Verdict.PASS,
        ("variant=50", "forward_seconds"): Verdict.REGRESSION,
    }
    mean = report.facts["geometric_means"]["forward_seconds"]
    assert mean == pytest.approx((1.01 * 1.5) ** 0.5)
    assert report.exit_code is ExitCode.REGRESSION


def test_a_rate_is_better_when_higher(tmp_path: Path) -> None:
    rates = [{"train_images_per_second": [value] * 8} for value in (100.0, 50.0)]
    base = stored(tmp_path / "a", [speed(18, 0.01, **rates[0])])
    head = stored(tmp_path / "b", [speed(18, 0.01, **rates[1])])
    found = verdicts(compared(base, head))
    assert found["speed_samples", "train_images_per_second"] is Verdict.REGRESSION
    back = verdicts(compared(head, base))
    assert back["speed_samples", "train_images_per_second"] is Verdict.IMPROVEMENT


def test_without_knowing_the_spread_little_is_decided(tmp_path: Path) -> None:
    base = stored(tmp_path / "a", [speed(18, 0.01)])
    head = stored(tmp_path / "b", [speed(18, 0.013)])
    found = verdicts(compared(base, head, spread=None))
    assert found["speed_samples", "forward_seconds"] is Verdict.INCONCLUSIVE


def test_another_machine_compares_only_what_is_exact(tmp_path: Path) -> None:
    base = stored(tmp_path / "a", [speed(18, 0.01, parameters=7)])
    head = stored(tmp_path / "b", [speed(18, 0.01, parameters=7)], machine_key="n")
    report = compared(base, head)
    assert verdicts(report) == {
        ("speed_samples", "forward_seconds"): Verdict.NOT_COMPARABLE,
        ("speed_samples", "parameters"): Verdict.PASS,
    }
    assert report.exit_code is ExitCode.NOT_COMPARABLE
    assert any("Different machines (m, n)" in notice for notice in report.notices)


def test_two_experiments_are_not_comparable(tmp_path: Path) -> None:
    base = stored(tmp_path / "a", [speed(18, 0.01)])
    head = stored(tmp_path / "b", [training(0, 5.0)], experiment="degradation")
    with pytest.raises(NotComparableError, match="two of the same experiment"):
        compared(base, head)


def test_a_cell_on_one_side_only_is_missing(tmp_path: Path) -> None:
    base = stored(tmp_path / "a", [speed(18, 0.01), speed(50, 0.02)])
    head = stored(tmp_path / "b", [speed(18, 0.01)])
    report = compared(base, head)
    assert verdicts(report)["variant=50", "forward_seconds"] is Verdict.MISSING
    assert report.exit_code is ExitCode.INCOMPLETE


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


def test_zero_has_no_ratio(tmp_path: Path) -> None:
    base = stored(tmp_path / "a", [speed(18, 0.01, first_step_seconds=0.0)])
    head = stored(tmp_path / "b", [speed(18, 0.01, first_step_seconds=1.0)])
    found = verdicts(compared(base, head))
    assert found["speed_samples", "first_step_seconds"] is Verdict.INCONCLUSIVE
    itself = compared(base, base)
    assert itself.notices[-1] == "Run a is compared with itself."
    same = verdicts(itself)
    assert same["speed_samples", "first_step_seconds"] is Verdict.PASS


def test_a_label_holds_only_what_differs_within_its_kind_of_record() -> None:
    found = labels_of(
        [
            {"record": "speed", "batch": 4, "variant": 18},
            {"record": "speed", "batch": 4, "variant": 34},
            {"record": "ceiling", "batch": None, "variant": None},
        ]
    )
    assert [*found.values()] == [
        "record=speed variant=18",
        "record=speed variant=34",
        "record=ceiling",
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
    unlike = [
        row for row in compared(own, timm).rows if row.metric == "inference_seconds"
    ]
    assert [row.verdict for row in unlike] == [Verdict.MISSING] * 2
    said = {row.case: row.because for row in unlike}
    (case,) = [case for case in said if "protocol=timm" in case]
    assert said.pop(case) == "only in the head run"
    assert list(said.values()) == ["only in the base run"]
    alike = [
        row for row in compared(timm, again).rows if row.metric == "inference_seconds"
    ]
    assert [row.verdict for row in alike] == [Verdict.PASS]


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
    stored(RESULTS / "speed" / "a", [speed(18, 0.01)])
    stored(RESULTS / "speed" / "b", [speed(18, 0.01)], machine_key="n")
    compare = CompareConfig(runs=("a", "b"), explain=True)
    assert run_compare(compare, output) is ExitCode.NOT_COMPARABLE


def test_different_experiments_are_refused_in_the_output_too(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(RESULTS / "speed" / "a", [speed(18, 0.01)])
    stored(RESULTS / "degradation" / "b", [training(0, 5)], experiment="degradation")
    compare = CompareConfig(runs=("a", "b"), export_markdown=Path("-"))
    with pytest.raises(NotComparableError, match="same experiment"):
        run_compare(compare, output)
    assert capsys.readouterr().out.endswith("compare: 1 not comparable\n")


def test_a_run_of_an_unknown_experiment_is_refused(tmp_path: Path) -> None:
    strange = stored(tmp_path / "a", [speed(18, 0.01)], experiment="alchemy")
    with pytest.raises(UsageError, match="is of alchemy"):
        shown(strange)
