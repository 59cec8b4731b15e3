import dataclasses
import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from resnet_bench.errors import ExitCode, NotComparableError, UsageError
from resnet_bench.gate import trees as gate_trees
from resnet_bench.gate.check import run_check
from resnet_bench.gate.noise import run_noise
from resnet_bench.gate.spec import CheckConfig, NoiseConfig
from resnet_bench.gate.trees import one_tree
from resnet_bench.output import Output
from tests.gate.conftest import Write
from tests.gate.fake_worker import VERSIONS
from tests.gate.test_check import changed, latest, verdicts
from tests.gate.test_noise import CONFIG as NOISE

PYTHON = Path(sys.executable)

CONFIG = changed(against=None, against_python=PYTHON)
EXACT = dataclasses.replace(CONFIG, metrics=("exact",))


@pytest.fixture
def upgraded(write: Write) -> None:
    """The other Python has an older PyTorch, which was faster and called it more."""
    older = {
        "versions": {"PyTorch": "2.11.0"},
        "seconds": {"a:forward": 0.007},
        "exact": {"a": {"forward_operations": 5, "output_checksum": "d"}},
    }
    write(elsewhere=older)


def test_the_same_environment_passes(
    repository: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(CONFIG, output) is ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert {row["verdict"] for row in told["rows"]} == {"pass"}
    assert "Environments: the same versions." in told["notices"]


def test_a_slower_library_is_a_regression_and_other_operations_are_told(
    repository: Path,
    upgraded: None,
    output: Output,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_check(CONFIG, output) is ExitCode.REGRESSION
    text = capsys.readouterr().out
    found = verdicts(text)
    assert found["a:forward", "seconds"] == "regression"
    assert found["a:exact", "forward_operations"] == "not judged"
    assert found["a:exact", "output_checksum"] == "not judged"
    assert found["a:exact", "parameters"] == "pass"
    told = json.loads(text)
    assert told["base"]["versions"] == {"Python": "3.12.1", "PyTorch": "2.11.0"}
    assert "Environments: PyTorch 2.11.0 → 2.14.1." in told["notices"]


def test_what_differs_between_libraries_fails_by_a_limit_only(
    repository: Path, write: Write, output: Output
) -> None:
    write(elsewhere={"exact": {"a": {"forward_operations": 2}}})
    assert run_check(EXACT, output) is ExitCode.OK
    assert run_check(dataclasses.replace(EXACT, strict=True), output) is ExitCode.OK
    limited = dataclasses.replace(EXACT, threshold=("a:forward_operations=10%",))
    assert run_check(limited, output) is ExitCode.REGRESSION


def test_both_environments_are_named_in_every_output(
    repository: Path,
    upgraded: None,
    output: Output,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    told = dataclasses.replace(CONFIG, json=False, github_summary=True)
    run_check(dataclasses.replace(told, junit=Path("check.xml")), output)
    said = capsys.readouterr()
    assert "Environments" in said.out
    assert "::notice title=not judged%3A a%3Aexact forward_operations" in said.err
    row = "| PyTorch   | 2.11.0 | 2.14.1 |"
    assert row in Path("summary.md").read_text()
    facts = ET.parse("check.xml").getroot().findall("properties/property")
    versions = {fact.get("name"): fact.get("value") for fact in facts}
    assert versions["base PyTorch"] == "2.11.0"
    assert versions["head PyTorch"] == "2.14.1"


def test_what_an_environment_lacks_is_one_line_with_the_remedy(
    repository: Path, write: Write, output: Output
) -> None:
    lacking = "ModuleNotFoundError: No module named 'torch'"
    write(elsewhere={"dies_at": "open", "last_words": lacking})
    with pytest.raises(NotComparableError) as caught:
        run_check(CONFIG, output)
    assert caught.value.exit_code is ExitCode.NOT_COMPARABLE
    said = str(caught.value)
    assert said == (
        f"the base environment {PYTHON} has no usable subject: {lacking} "
        f"('{PYTHON} -m pip install' adds packages)"
    )


def test_an_environment_that_cannot_tell_its_versions_is_not_compared(
    repository: Path, write: Write, output: Output
) -> None:
    words = "RuntimeError: cuDNN version incompatibility"
    write(elsewhere={"dies_at": "versions", "last_words": words})
    with pytest.raises(NotComparableError) as caught:
        run_check(CONFIG, output)
    said = f"the base environment {PYTHON} cannot name its versions: {words}"
    assert str(caught.value) == said


def test_a_case_that_only_one_environment_can_carry_out_is_missing(
    repository: Path, write: Write, output: Output
) -> None:
    write(elsewhere={"seconds": {}})
    assert run_check(CONFIG, output) is ExitCode.INCOMPLETE


def test_a_check_is_not_resumed_with_another_library(
    repository: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_check(EXACT, output)
    resumed = dataclasses.replace(EXACT, resume=latest().id)
    assert run_check(resumed, output) is ExitCode.OK
    monkeypatch.setitem(VERSIONS, "PyTorch", "2.15.0")
    with pytest.raises(UsageError, match="another base environment: start a new run"):
        run_check(resumed, output)


def test_the_spread_under_two_pythons_is_around_their_difference(
    repository: Path,
    upgraded: None,
    output: Output,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = dataclasses.replace(NOISE, against_python=PYTHON, json=True)
    assert run_noise(config, output) is ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert told["versions"]["base"]["PyTorch"] == "2.11.0"
    assert told["rows"][0]["pair_spread"] < 0.02
    run_noise(dataclasses.replace(config, json=False), output)
    assert "Identical code under two Pythons" in capsys.readouterr().out


def test_an_installed_package_is_measured_apart_from_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "resnet_bench"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package.parent / "torch.py").touch()
    monkeypatch.setattr(gate_trees, "PACKAGE", package)
    with one_tree(CheckConfig(against_python=PYTHON)) as trees:
        assert trees["base"].python == PYTHON
        assert trees["head"].python is None
        beside = [path.name for path in trees["base"].folder.iterdir()]
        assert beside == ["resnet_bench"]
    with one_tree(NoiseConfig()) as trees:
        assert trees["base"].folder == package.parent
