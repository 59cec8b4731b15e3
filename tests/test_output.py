"""Where text goes, and in which colour."""

import io
import sys
from pathlib import Path

import pytest

from resnet_bench.commands.progress import LiveDisplay, PlainDisplay, Tracker
from resnet_bench.commands.run import RunRequest, Session
from resnet_bench.execution.base import Recorded, Started
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.present.exports import finite
from resnet_bench.store.recording import Recorder
from resnet_bench.store.writing import create_run
from tests.toys.toy import TOY
from tests.toys.toy.spec import ToyCell


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def coloured(stream: io.StringIO, color: str) -> bool:
    console = Output(DisplayOptions(color=color)).console(stream)
    console.print("[red]text[/red]")
    return "\x1b[31m" in stream.getvalue()


def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert coloured(Terminal(), "auto")
    assert not coloured(io.StringIO(), "auto")
    assert coloured(io.StringIO(), "always")
    assert not coloured(Terminal(), "never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Terminal(), "auto")
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not coloured(Terminal(), "auto")


def test_quiet_says_only_results_and_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output(DisplayOptions(quiet=True))
    output.say("progress")
    output.warn("careful")
    output.write("result\n")
    out, err = capsys.readouterr()
    assert (out, err) == ("result\n", "warning: careful\n")
    assert not output.interactive


def test_a_terminal_gets_a_live_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    cell = ToyCell(behaviour="count", index=3, size=2)
    session = Session(TOY, RunRequest(), Output(DisplayOptions()), [])
    header = {"run": "r", "experiment": "toy", "cells": {cell.key: cell.parameters}}
    with create_run(tmp_path / "r", header) as writer:
        recorder = Recorder(
            writer, [{"kind": "run", "schema_version": 1, **header}], {}
        )
        display = session._display(Tracker([cell]), recorder)
        assert isinstance(display, LiveDisplay)
        with display:
            display.show(Started(cell.key, 1))
            content = {"type": "toy_sample", "step": 0, "value": 41.5}
            recorder.record(cell.key, 1, content)
            display.show(Recorded(cell.key, 1, content))
    assert "41.5" in screen.getvalue()
    monkeypatch.setenv("TERM", "dumb")
    display = session._display(Tracker([cell]), recorder)
    assert isinstance(display, PlainDisplay)


def test_json_gets_null_for_numbers_it_cannot_hold() -> None:
    told = {"a": [float("nan"), 1.0], "b": (float("inf"), "x")}
    assert finite(told) == {"a": [None, 1.0], "b": [None, "x"]}
