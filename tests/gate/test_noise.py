import json
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_bench.commands.show import ShowConfig, show_stored
from resnet_bench.errors import ExitCode
from resnet_bench.gate.deciding import TimingRule, detectable_effect, plan_for
from resnet_bench.gate.noise import known_process_spread, run_noise
from resnet_bench.gate.spec import NoiseConfig
from resnet_bench.output import Output
from resnet_bench.store.folders import run_folders
from tests.gate.conftest import ENVIRONMENT, Write

RESULTS = Path("results")
CONFIG = NoiseConfig(subject="project:subject", cases=("a:forward",), pairs=12)


def test_noise_finds_the_spread_and_keeps_it_by_machine(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_noise(replace(CONFIG, json=True), output) is ExitCode.OK
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert row["case"] == "a:forward"
    assert 0 < row["pair_spread"] < 0.02
    planned = (12, TimingRule(), plan_for(12))
    assert row["detectable"] == detectable_effect(row["pair_spread"], *planned)
    assert known_process_spread(RESULTS, "0123456789ab") == row["process_spread"]
    assert known_process_spread(RESULTS, "another") is None
    (RESULTS / "noise" / "~damaged").mkdir()
    (RESULTS / "noise" / "~damaged" / "run.jsonl").write_text("{")
    (measured,) = run_folders(RESULTS, "noise")[:-1]
    run_noise(replace(CONFIG, budget=1e-6), output)
    (without_a_pair,) = {*run_folders(RESULTS, "noise")[:-1]} - {measured}
    without_a_pair.rename(RESULTS / "noise" / "newest")
    assert known_process_spread(RESULTS, "0123456789ab") == row["process_spread"]


def test_noise_is_shown_as_a_table(
    repository: Path,
    output: Output,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "load", 2.0)
    run_noise(replace(CONFIG, export_markdown=Path("noise.md")), output)
    out, err = capsys.readouterr()
    assert "pair spread" in out
    assert "load 2.00 over the last minute" in err
    assert "| a:forward" in Path("noise.md").read_text()


def test_legs_in_which_a_process_was_stopped_are_told(
    repository: Path, write: Write, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    write(stopped=1)
    run_noise(CONFIG, output)
    # Both trees are the working tree here.
    assert "stopped (SIGSTOP, Ctrl-Z) in 48 tries of a leg" in capsys.readouterr().out


def test_a_noise_measurement_is_shown_again(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    run_noise(replace(CONFIG, json=True), output)
    before = json.loads(capsys.readouterr().out)
    show_stored(ShowConfig(json=True), output)
    assert json.loads(capsys.readouterr().out) == before
    show_stored(ShowConfig(), output)
    assert "pair spread" in capsys.readouterr().out
