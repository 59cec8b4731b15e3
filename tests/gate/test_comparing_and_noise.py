import json
from pathlib import Path

import pytest

from resnet_bench.errors import ExitCode, NotComparableError
from resnet_bench.gate.baselines import keep_baseline
from resnet_bench.gate.compare import run_compare
from resnet_bench.gate.noise import known_process_spread, run_noise
from resnet_bench.gate.spec import BaselineConfig, CompareConfig, NoiseConfig
from resnet_bench.output import Output
from tests.gate.conftest import Write
from tests.gate.test_check import changed, run_id_of
from tests.gate.test_compare import speed, stored, training

RESULTS = Path("results")


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


def test_noise_finds_the_spread_and_keeps_it_by_machine(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    config = NoiseConfig(
        subject="project:subject", cases=("a:forward",), pairs=12, json=True
    )
    assert run_noise(config, output) is ExitCode.OK
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert row["case"] == "a:forward"
    assert 0 < row["pair_spread"] < 0.02
    assert known_process_spread(RESULTS, "0123456789ab") == row["process_spread"]
    assert known_process_spread(RESULTS, "another") is None
    (RESULTS / "noise" / "~damaged").mkdir()
    (RESULTS / "noise" / "~damaged" / "run.jsonl").write_text("{")
    assert known_process_spread(RESULTS, "0123456789ab") is None


def test_noise_is_shown_as_a_table(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    config = NoiseConfig(
        subject="project:subject",
        cases=("a:forward",),
        pairs=12,
        export_markdown=Path("noise.md"),
    )
    run_noise(config, output)
    assert "pair spread" in capsys.readouterr().out
    assert "| a:forward" in Path("noise.md").read_text()
