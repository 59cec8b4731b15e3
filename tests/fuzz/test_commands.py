"""Whatever is typed: an exit code of the table, one line, never a traceback.

No cell is run here: the executor refuses each, so that a command goes its whole
way, from its options to tables and figures of a run in which every cell failed.
"""

import copy
import dataclasses
import functools
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import click
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from resnet_bench import cli
from resnet_bench.commands import run as session
from resnet_bench.commands.table import READERS
from resnet_bench.errors import ExitCode
from resnet_bench.execution.base import (
    Arguments,
    Ended,
    Event,
    Job,
    Result,
    Started,
)
from resnet_bench.execution.inline import InlineExecutor
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.speed.grid import resolved
from resnet_bench.experiments.speed.spec import Config as SpeedConfig
from resnet_bench.reports import runs
from resnet_bench.store.format import encode
from resnet_bench.store.reading import RUN_FILE, read_lines
from tests.fuzz.test_run_files import ODD, places, small_runs
from tests.toys.toy import TOY

#: Readers that only look at stored runs; others measure, and are not let.
LOOKING = {"list", "show", "compare", "history", "recommend", "report"}

#: What would measure, reach for the network, or take the tool's output from the test.
NEVER_GIVEN = {"download", "help", "measure"}

QUICK = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
LONG = settings(QUICK, max_examples=600)


class RefusingExecutor(InlineExecutor):
    """Runs no cell, and takes every config as it is."""

    def call(
        self,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
        patience: float | None = None,
    ) -> Result:
        answer: Any = arguments[0] if arguments else None
        if function.__name__ == "machine_environment":
            answer = {"machine_key": "m", "git": {"commit": None, "dirty": None}}
        elif function.__name__ == "estimate":
            answer = 1.0
        elif isinstance(answer, SpeedConfig):
            answer = resolved(answer, "cpu", 1)
        elif getattr(answer, "device", None) == "auto":
            answer = dataclasses.replace(answer, device="cpu")
        return cast(Result, answer)

    def run(self, job: Job) -> Iterator[Event]:
        for task in job.tasks:
            yield Started(task.cell.key, task.attempt)
            yield Ended(task.cell.key, task.attempt, "failed", 0.0, "not run")


@pytest.fixture(autouse=True)
def nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    for name, row in READERS.items():
        if name not in LOOKING:
            idle = dataclasses.replace(row, function=lambda *_: ExitCode.OK)
            monkeypatch.setitem(READERS, name, idle)
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    monkeypatch.setattr(session, "make_executor", lambda *_: RefusingExecutor())
    monkeypatch.setattr(session, "launch", lambda *_: ExitCode.OK)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no run\n")
    (tmp_path / "folder").mkdir()
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@functools.cache
def parameters_of(command: str) -> list[click.Parameter]:
    made = cli.commands.get_command(click.Context(cli.commands), command)
    assert made is not None
    return [one for one in made.params if one.name not in NEVER_GIVEN]


#: Values with a space between them; the empty one is drawn apart.
WORDS = """
    , - -- all auto none None nan inf -inf 1e400 0 -1 1 2 3 4 8 18 34 50 0.5 1e-9
    999999999999999999999999999999 18,34 8,14 resnet18 ResNet-50 cpu cuda cuda:7
    float32 file folder absent/x . /dev/null/x latest 2026 é\u200b digits cifar10
    nowhere:thing os:system ' " [] {} %s
"""
words = st.sampled_from(["", *WORDS.split()])
junk = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
anything = words | junk.filter(lambda text: "/" not in text and ".." not in text)


def fitting(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """Draw values that the parameter accepts more often than chance would."""
    choices = getattr(parameter.type, "choices", None)
    likely = st.sampled_from(sorted(choices)) if choices else st.integers(0, 60)
    return likely.map(str) | anything


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Draw a command and some of its options, and now and then nonsense."""
    names = sorted({*EXPERIMENTS, *READERS, "completion"})
    command = draw(st.sampled_from(names))
    line = [command]
    known = parameters_of(command)
    for parameter in draw(st.lists(st.sampled_from(known), max_size=4)):
        line.extend(_given(draw, parameter))
    if draw(st.integers(0, 9)) == 0:
        line.insert(draw(st.integers(0, len(line))), draw(anything))
    return line


def _given(draw: st.DrawFn, parameter: click.Parameter) -> list[str]:
    if isinstance(parameter, click.Argument):
        return [draw(fitting(parameter))]
    spelling = draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts]))
    if not spelling.startswith("-"):
        spelling = "--" + spelling
    if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
        return [spelling]
    return [spelling, draw(fitting(parameter))]


def ends_well(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command line and hold its end to what is promised."""
    capsys.readouterr()
    code = cli.run(arguments)
    out, err = capsys.readouterr()
    assert code in set(ExitCode)
    assert "Traceback" not in err + out
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if code in (ExitCode.USAGE, ExitCode.INTERNAL):
        assert len(errors) == 1, err
        assert err.splitlines()[-1] == errors[0]
    else:
        # What cannot be compared is told as an error too.
        assert len(errors) <= (code is ExitCode.NOT_COMPARABLE), err


@QUICK
@given(arguments=command_lines())
def test_any_command_line_ends_well(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ends_well(arguments, capsys)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@LONG
@given(arguments=command_lines())
def test_any_of_many_command_lines_ends_well(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ends_well(arguments, capsys)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_a_run_whose_options_were_changed_is_resumed_or_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "publish", lambda _: [])
    chance = random.Random(2)
    for name, path in small_runs(tmp_path / "good").items():
        lines = [line for line in read_lines(path).lines if line["kind"] != "end"]
        for number in range(60):
            changed = copy.deepcopy(lines)
            config = changed[0]["config"]
            container, key = chance.choice(list(places(config)))
            container[key] = copy.deepcopy(chance.choice(ODD))
            folder = tmp_path / "results" / name / f"20260102T030405Z_a_{number}"
            folder.mkdir(parents=True)
            raw = b"".join(encode(line, n) for n, line in enumerate(changed))
            (folder / RUN_FILE).write_bytes(raw)
            ends_well([name, "--resume", folder.name], capsys)
            shutil.rmtree(folder)


@functools.cache
def keys() -> st.SearchStrategy[str]:
    """Draw names of options, of commands, and of nothing."""
    names = {
        (one.name or "").replace("_", "-")
        for command in (*EXPERIMENTS, *READERS)
        for one in parameters_of(command)
    }
    return st.sampled_from(sorted(names)) | st.sampled_from(sorted(EXPERIMENTS)) | junk


def quoted(text: str) -> str:
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\\x7f' else c for c in text
    )
    return f'"{escaped}"'


toml_values = (
    st.integers(-5, 10**20).map(str)
    | st.floats().map(repr)
    | st.sampled_from(["true", "false", "1979-05-27", "07:32:00", "[]", "{}", "{a=1}"])
    | words.map(quoted)
    | junk.map(quoted)
    | st.lists(st.integers(0, 60).map(str), max_size=3).map(
        lambda items: f"[{', '.join(items)}]"
    )
)


@st.composite
def configuration_files(draw: st.DrawFn) -> str:
    """Draw the text of a configuration file, now and then no TOML at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    lines = []
    for table in ["", *draw(st.lists(keys(), max_size=2, unique=True))]:
        if table:
            lines.append(f"[{quoted(table)}]")
        for key in draw(st.lists(keys(), max_size=3, unique=True)):
            lines.append(f"{quoted(key)} = {draw(toml_values)}")
    return "\n".join(lines) + "\n"


def ends_well_with(
    text: str, command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assume("download" not in text)
    (folder / "resnet-bench.toml").write_text(text, encoding="utf-8")
    ends_well([command], capsys)


commands = st.sampled_from([*EXPERIMENTS, *READERS])


@QUICK
@given(text=configuration_files(), command=commands)
def test_any_configuration_file_ends_well(
    text: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_well_with(text, command, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@LONG
@given(text=configuration_files(), command=commands)
def test_any_of_many_configuration_files_ends_well(
    text: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_well_with(text, command, tmp_path, capsys)
