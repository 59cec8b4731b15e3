"""A person's own model may do anything: one line names the option."""

import pytest

from resnet_bench import cli
from resnet_bench.errors import ExitCode
from resnet_bench.experiments import speed


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("raises", "OddError: no such architecture"),
        ("interrupts", "KeyboardInterrupt"),
        ("exits", "SystemExit: 0"),
        ("leaves", "the child exited with code 0"),
        ("crashes", "the child was killed by SIGSEGV"),
        ("stops", "no answer for 2 s: it seems to hang"),
        ("asks", "EOFError"),
    ],
)
def test_a_model_that_cannot_be_built_is_named_in_one_line(
    name: str,
    cause: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(speed, "PREPARE_SECONDS", 2.0 if name == "stops" else 60.0)
    model = f"tests.toys.hostile:{name}"
    code = cli.run(["speed", "--model", model, "--dry-run"])
    out, err = capfd.readouterr()
    assert code == ExitCode.USAGE
    assert out == ""
    assert err.splitlines()[0] == "speed: preparing"
    assert len(err.splitlines()) == 2
    assert err.splitlines()[1].startswith(f"error: --model {model}: expected a ")
    assert cause in err


def test_a_model_that_exits_when_it_is_called_is_named_in_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = "tests.toys.hostile:ExitsWhenCalled"
    assert cli.run(["speed", "--model", model, "--dry-run"]) == ExitCode.USAGE
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: --image-size 224: expected a size that tests.toys")
    assert "SystemExit: 0" in last
