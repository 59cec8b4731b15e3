import dataclasses
import json
from pathlib import Path

import pytest

from resnet_bench.commands.show import ShowConfig, show_stored
from resnet_bench.errors import ExitCode, UsageError
from resnet_bench.gate.check import run_check
from resnet_bench.gate.noise import run_noise
from resnet_bench.gate.spec import NoiseConfig
from resnet_bench.output import Output
from resnet_bench.reports.shown import shown
from resnet_bench.store.reading import read_run
from tests.gate.test_check import changed
from tests.gate.test_compare import speed, stored


def test_a_check_is_shown_again(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    run_check(changed(metrics=("exact",)), output)
    before = json.loads(capsys.readouterr().out)
    assert show_stored(ShowConfig(json=True), output) is ExitCode.OK
    assert json.loads(capsys.readouterr().out) == before
    show_stored(ShowConfig(), output)
    shown = capsys.readouterr()
    assert "6 quantities identical" in shown.out
    assert "check: 6 pass" in shown.out


def test_a_noise_measurement_is_shown_again(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = ("a:forward",)
    config = NoiseConfig(subject="project:subject", cases=cases, pairs=12, json=True)
    run_noise(config, output)
    before = json.loads(capsys.readouterr().out)
    show_stored(ShowConfig(json=True), output)
    assert json.loads(capsys.readouterr().out) == before
    show_stored(ShowConfig(), output)
    assert "pair spread" in capsys.readouterr().out


def test_a_run_of_an_unknown_experiment_is_refused(
    tmp_path: Path,
) -> None:
    run = stored(tmp_path / "a", [speed(18, 0.01)])
    strange = dataclasses.replace(
        read_run(run.folder), header={**run.header, "experiment": "alchemy"}
    )
    with pytest.raises(UsageError, match="is of alchemy"):
        shown(strange)
