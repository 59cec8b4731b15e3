"""Run files: what is written is read back, and damage never goes unseen."""

import errno
import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.store.folders import (
    find_run,
    new_run_id,
    run_folders,
)
from resnet_bench.store.format import (
    SCHEMA_VERSION,
    DamagedLineError,
    decode,
    decode_outline,
    encode,
)
from resnet_bench.store.reading import RUN_FILE, Run, assemble, read_run
from resnet_bench.store.writing import create_run, reopen_run

HEADER: dict[str, Any] = {
    "run": "r1",
    "experiment": "toy",
    "config": {"size": 2},
    "environment": {"machine_key": "abc"},
    "cells": {"k1": {"variant": 18}, "k2": {"variant": 34}},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            same(left[k], right[k]) for k in left
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@given(st.dictionaries(st.text(), json_values))
def test_a_line_is_read_back_as_it_was(content: dict[str, Any]) -> None:
    content.pop("seq", None)
    line = encode({"kind": "record", **content}, 3)
    assert line.count(b"\n") == 1
    assert same(decode(line, 3), {"kind": "record", **content})


@given(st.data())
def test_a_changed_byte_is_always_noticed(data: st.DataObject) -> None:
    line = encode({"kind": "record", "median": 0.123456, "samples": [1.5, 2.5]}, 0)
    position = data.draw(st.integers(0, len(line) - 2))
    replacement = data.draw(st.integers(0, 255).filter(lambda b: b != line[position]))
    damaged = line[:position] + bytes([replacement]) + line[position + 1 :]
    with pytest.raises(DamagedLineError):
        decode(damaged, 0)


@given(st.dictionaries(st.text(), json_values), st.text(), st.integers(0, 3))
def test_the_outline_of_a_record_says_which_one_it_is(
    content: dict[str, Any], cell: str, attempt: int
) -> None:
    content.pop("seq", None)
    which = {"kind": "record", "cell": cell, "attempt": attempt, "type": "toy"}
    line = encode({**which, **content, **which}, 3)
    assert decode_outline(line, 3).items() >= which.items()
    with pytest.raises(DamagedLineError, match="out of place"):
        decode_outline(line, 4)


def test_a_line_that_is_no_object_is_refused() -> None:
    import zlib

    text = b"[1}"
    line = b'[1,"crc32":"' + f"{zlib.crc32(text):08x}".encode() + b'"}'
    with pytest.raises(DamagedLineError):
        decode(line, 0)


def written(folder: Path, *, end: bool = True) -> Path:
    with create_run(folder, HEADER) as writer:
        writer.record("k1", 1, {"type": "sample", "value": 1.0})
        writer.commit("k1", 1, "ok", seconds=2.0)
        writer.record("k2", 1, {"type": "sample", "value": 7.0})
        writer.commit("k2", 1, "failed", error="broke")
        writer.record("k2", 2, {"type": "sample", "value": 2.0})
        writer.record("k2", 2, {"type": "other", "value": 3.0})
        if end:
            writer.commit("k2", 2, "ok")
            writer.end("complete")
    return folder


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (
            ["speed", "-o", "kept", "--variants", "18"],
            "resnet-bench speed --variants 18",
        ),
        (["speed", "--results", "kept"], "resnet-bench speed"),
        (["speed", "--results=kept", "-b", "4"], "resnet-bench speed -b 4"),
        (["speed", "-o"], "resnet-bench speed"),
        (None, "resnet-bench"),
    ],
)
def test_a_command_is_shown_without_its_results_folder(
    argv: list[str] | None, command: str, tmp_path: Path
) -> None:
    assert Run(tmp_path, {"argv": argv}, [], {}, "complete").command == command


def test_records_are_joined_with_the_parameters_of_their_cell(tmp_path: Path) -> None:
    run = read_run(written(tmp_path / "r1"))
    assert [(row["variant"], row["value"]) for row in run.rows("sample")] == [
        (18, 1.0),
        (34, 2.0),
    ]
    assert run.status == "complete"
    assert run.machine_key == "abc"
    assert run.config == {"size": 2}


def test_uncommitted_records_do_not_count(tmp_path: Path) -> None:
    run = read_run(written(tmp_path / "r1", end=False))
    assert [row["value"] for row in run.rows("sample")] == [1.0]
    assert run.status == "partial"
    assert list(run.failed) == ["k2"]


def test_a_live_view_keeps_the_records_of_running_cells(tmp_path: Path) -> None:
    lines = [
        {"kind": "run", **HEADER},
        {"kind": "record", "cell": "k1", "attempt": 1, "type": "sample", "value": 4.0},
    ]
    live = assemble(tmp_path, lines, committed_only=False)
    assert [row["value"] for row in live.rows("sample")] == [4.0]
    assert live.missing == ["k1", "k2"]


def test_first_line_says_kind_and_schema_version(tmp_path: Path) -> None:
    path = written(tmp_path / "r1") / RUN_FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["kind"] == "run"
    assert lines[0]["schema_version"] == SCHEMA_VERSION
    assert [line["kind"] for line in lines[1:3]] == ["record", "cell"]
    assert lines[-1]["kind"] == "end"


def test_a_torn_last_line_is_left_out_and_noted(tmp_path: Path) -> None:
    path = written(tmp_path / "r1") / RUN_FILE
    path.write_bytes(path.read_bytes()[:-9])
    run = read_run(path.parent)
    assert run.status == "partial"
    assert "damaged from line" in run.problems[0]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "r1") / RUN_FILE
    path.write_bytes(path.read_bytes().replace(b'"value":1.0', b'"value":9.0'))
    with pytest.raises(InputOutputError, match="line 2 is damaged"):
        read_run(path.parent)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{}\n", b"hello"])
def test_a_file_that_is_no_run_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RUN_FILE).write_bytes(content)
    with pytest.raises(InputOutputError):
        read_run(tmp_path)


def test_a_line_without_its_fields_is_refused(tmp_path: Path) -> None:
    header = encode({"kind": "run", "schema_version": 1, **HEADER}, 0)
    (tmp_path / RUN_FILE).write_bytes(header + encode({"kind": "cell"}, 1))
    with pytest.raises(InputOutputError, match="lacks 'cell'"):
        read_run(tmp_path)


def test_a_line_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    line = encode({"kind": "run", "schema_version": 1, **HEADER, "x": deep}, 0)
    (tmp_path / RUN_FILE).write_bytes(line)
    with pytest.raises(InputOutputError, match="nested too deeply"):
        read_run(tmp_path)


def test_an_id_that_could_not_name_a_folder_is_refused(tmp_path: Path) -> None:
    header = {"kind": "run", "schema_version": 1, **HEADER, "run": 'x_"><script>'}
    (tmp_path / "copy.jsonl").write_bytes(encode(header, 0))
    with pytest.raises(InputOutputError, match="is not a run id"):
        read_run(tmp_path / "copy.jsonl")


def test_the_id_of_a_run_is_the_name_of_its_folder(tmp_path: Path) -> None:
    assert read_run(written(tmp_path / "copied")).id == "copied"
    shutil.copy(tmp_path / "copied" / RUN_FILE, tmp_path / "kept.jsonl")
    assert read_run(tmp_path / "kept.jsonl").id == "r1"


@pytest.mark.parametrize(
    ("version", "message"), [(99, "newer resnet-bench"), ("1", "no schema version")]
)
def test_an_unknown_schema_is_refused(
    tmp_path: Path, version: object, message: str
) -> None:
    line = encode({"kind": "run", "schema_version": version, **HEADER}, 0)
    (tmp_path / RUN_FILE).write_bytes(line)
    with pytest.raises(InputOutputError, match=message):
        read_run(tmp_path)


def test_a_missing_run_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="No such file"):
        read_run(tmp_path / "absent")


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    written(tmp_path / "r1")
    with pytest.raises(InputOutputError, match="File exists"):
        create_run(tmp_path / "r1", HEADER)


def test_reopening_cuts_a_torn_line_and_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "r1") / RUN_FILE
    path.write_bytes(path.read_bytes()[:-9])
    writer, run = reopen_run(path.parent)
    with writer:
        assert run.status == "partial"
        writer.resume({"machine_key": "abc"})
        writer.end("complete")
    again = read_run(path.parent)
    assert again.status == "complete"
    assert len(again.resumes) == 1
    assert again.problems == []


def test_reopening_adds_a_line_end_that_was_lost(tmp_path: Path) -> None:
    path = written(tmp_path / "r1") / RUN_FILE
    path.write_bytes(path.read_bytes()[:-1])
    writer, _ = reopen_run(path.parent)
    with writer:
        writer.end("complete")
    assert read_run(path.parent).status == "complete"


def test_two_processes_never_write_one_run(tmp_path: Path) -> None:
    with (
        create_run(tmp_path / "r1", HEADER),
        pytest.raises(UsageError, match="another"),
    ):
        reopen_run(tmp_path / "r1")


def test_a_full_disk_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with create_run(tmp_path / "r1", HEADER) as writer:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(InputOutputError, match="No space left"):
            writer.record("k1", 1, {"value": 1})
    with pytest.raises(InputOutputError, match="No space left"):
        create_run(tmp_path / "r2", HEADER)


def test_reopening_what_is_missing_or_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="cannot write"):
        reopen_run(tmp_path / "absent")
    (tmp_path / RUN_FILE).write_text("hello")
    with pytest.raises(InputOutputError):
        reopen_run(tmp_path)


def test_run_ids_sort_by_time_and_name_the_commit() -> None:
    assert new_run_id("0123456789abcdef").split("_")[1] == "0123456"
    assert new_run_id(None).split("_")[1] == "nogit"
    ids = []
    for _ in range(100):
        ids.append(new_run_id("a"))
        time.sleep(0.0001)
    assert ids == sorted(set(ids))


def test_runs_are_found_by_id_beginning_latest_experiment_or_path(
    tmp_path: Path,
) -> None:
    first = written(tmp_path / "toy" / "2026a_x_1111")
    second = written(tmp_path / "toy" / "2026b_x_2222")
    assert run_folders(tmp_path) == [first, second]
    assert find_run(tmp_path, "latest") == second
    assert find_run(tmp_path, "2026a") == first
    assert find_run(tmp_path, "2222") == second
    assert find_run(tmp_path, "toy") == second
    assert find_run(tmp_path, "toy", "toy") == second
    assert find_run(tmp_path, str(first)) == first
    assert find_run(tmp_path, str(first / RUN_FILE)) == first
    with pytest.raises(UsageError, match="give more of its id"):
        find_run(tmp_path, "2026")
    with pytest.raises(UsageError, match="resnet-bench list"):
        find_run(tmp_path, "1999")
    with pytest.raises(UsageError, match="no run 'latest'"):
        find_run(tmp_path, "latest", "speed")
    with pytest.raises(UsageError, match="no run 'toy'"):
        find_run(tmp_path, "toy", "speed")
