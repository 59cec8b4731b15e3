import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from resnet_bench.commands.list import ListConfig, list_runs
from resnet_bench.errors import ExitCode
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.present.terminal import print_table
from resnet_bench.reports.runs import (
    list_of_runs,
    listing_table,
    started_at,
)
from resnet_bench.store.writing import create_run

OUTPUT = Output(DisplayOptions())


def store(results: Path, run_id: str, *, complete: bool = True) -> Path:
    folder = results / "speed" / run_id
    header = {
        "run": run_id,
        "experiment": "speed",
        "config": {"device": "cpu"},
        "environment": {"cpu": {"model": "Apple M2", "usable_cores": 8}},
        "cells": {"aaa": {}, "bbb": {}, "ccc": {}},
        "commit": "abcdef0",
    }
    with create_run(folder, header) as writer:
        writer.record("aaa", 1, {"type": "toy"})
        writer.commit("aaa", 1, "ok")
        writer.commit("bbb", 1, "failed", error="no")
        if complete:
            writer.end("complete")
    return folder


def test_runs_are_listed_oldest_first_with_what_they_are(tmp_path: Path) -> None:
    store(tmp_path, "20260203T040506Z_abcdef0_2222", complete=False)
    store(tmp_path, "20260102T030405Z_abcdef0_1111")
    first, second = list_of_runs(tmp_path)
    assert (first.when, first.status) == ("2026-01-02 03:04", "complete")
    assert (first.machine, first.cells, first.failed, first.records) == (
        "Apple M2, 8 cores",
        "1/3",
        1,
        1,
    )
    assert second.status == "partial"


def test_a_run_id_is_whole_in_80_columns(tmp_path: Path) -> None:
    store(tmp_path, "20260102T030405Z_abcdef0_1111")
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, no_color=True)
    print_table(listing_table(list_of_runs(tmp_path)), console, wide=False)
    (line,) = (each for each in stream.getvalue().splitlines() if "_1111" in each)
    assert "20260102T030405Z_abcdef0_1111" in line
    assert "1/3" in line


def test_a_damaged_run_is_named_and_the_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = store(tmp_path, "20260102T030405Z_abcdef0_1111") / "run.jsonl"
    damaged.write_bytes(b"nonsense\n" + damaged.read_bytes())
    store(tmp_path, "20260203T040506Z_abcdef0_2222")
    assert list_runs(ListConfig(results=tmp_path), OUTPUT) == ExitCode.OK
    said = capsys.readouterr()
    assert "damaged" in said.out
    assert "20260203T040506Z_abcdef0_2222" in said.out
    assert f"warning: {damaged}" in said.err


def test_an_empty_folder_says_how_to_make_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list_runs(ListConfig(results=tmp_path / "none"), OUTPUT) == ExitCode.OK
    said = capsys.readouterr()
    assert said.out == ""
    assert "resnet-bench speed" in said.err


def test_the_list_as_json_is_one_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, "20260102T030405Z_abcdef0_1111")
    list_runs(ListConfig(results=tmp_path, json=True), OUTPUT)
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert row["run"] == "20260102T030405Z_abcdef0_1111"
    assert row["commit"] == "abcdef0"


def test_a_run_id_tells_when_it_began() -> None:
    assert started_at("20260102T030405Z_abcdef0_1111") == "2026-01-02 03:04"
    assert started_at("something-else") is None
