"""Where text goes, and in which colour."""

import io
import sys
from pathlib import Path

import pytest

from resnet_bench.commands.progress import LiveDisplay, PlainDisplay, Tracker
from resnet_bench.commands.run import RunRequest, Session
from resnet_bench.errors import InputOutputError
from resnet_bench.execution.base import Recorded, Started
from resnet_bench.output import (
    SPELLING,
    DisplayOptions,
    Output,
    check_writable,
    printable,
    settle_streams,
)
from resnet_bench.present.exports import finite
from resnet_bench.store.recording import Recorder
from resnet_bench.store.writing import create_run
from tests.toys.toy import TOY
from tests.toys.toy.spec import ToyCell


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputOutputError, match=r"cannot write to results folder .*file"
    ):
        check_writable(tmp_path / "file")
    with pytest.raises(
        InputOutputError, match=r"cannot write to the cache .*: move it"
    ):
        check_writable(tmp_path / "file" / "new", "the cache", ": move it")
    check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


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


def test_control_characters_are_shown_as_such(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output(DisplayOptions())
    hostile = "a\x1b]0;owned\x07\r\u202eb\ud800"
    shown = "a\\x1b]0;owned\\x07\\r\\u202eb\\ud800\n"
    output.write(hostile)
    output.say(hostile)
    output.warn(hostile)
    out, err = capsys.readouterr()
    assert out == shown
    assert err == f"{shown}warning: {shown}"
    assert printable("1 ± 2 µs\n\t永") == "1 ± 2 µs\n\t永"


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", b"1 +- 2 us \\u6c38"),
        ("latin-1", b"1 \xb1 2 \xb5s \\u6c38"),
        ("utf-8", "1 ± 2 µs 永".encode()),
    ],
)
def test_a_stream_that_knows_few_characters_gets_others(
    encoding: str, written: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    settle_streams()
    assert stream.errors == SPELLING
    Output(DisplayOptions()).write("1 ± 2 µs 永")
    assert stream.buffer.getvalue() == written + b"\n"


def test_an_export_through_a_link_that_leads_nowhere_yet_keeps_the_link(
    tmp_path: Path,
) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("there.json")
    Output(DisplayOptions()).check_export(link)
    assert link.is_symlink()
    assert not (tmp_path / "there.json").exists()
