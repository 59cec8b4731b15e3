"""Run files that were packed with xz: read like the others, but not gone on with."""

import lzma
import os
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.store import format
from resnet_bench.store.folders import find_run, run_folders
from resnet_bench.store.format import (
    LARGEST_NUMBER,
    LONGEST_TEXT,
    encode,
)
from resnet_bench.store.reading import (
    LARGEST_BYTES,
    PACKED_RUN_FILE,
    RUN_FILE,
    read_run,
)
from resnet_bench.store.writing import create_run, reopen_run

HEADER = {"run": "r1", "experiment": "toy", "cells": {"k1": {"variant": 18}}}


def packed(results: Path) -> Path:
    """The folder of a run of one cell, packed as `xz` does."""
    folder = results / "toy" / "r1"
    with create_run(folder, HEADER) as writer:
        writer.record("k1", 1, {"type": "figure", "value": 1.5})
        writer.commit("k1", 1, "ok")
        writer.end("complete")
    plain = folder / RUN_FILE
    (folder / PACKED_RUN_FILE).write_bytes(lzma.compress(plain.read_bytes()))
    plain.unlink()
    return folder


def test_a_packed_run_is_read_as_it_was(tmp_path: Path) -> None:
    run = read_run(packed(tmp_path))
    assert run.status == "complete"
    assert [row["value"] for row in run.rows("figure")] == [1.5]


@pytest.mark.parametrize(
    "name", ["latest", "r1", "toy/r1", f"toy/r1/{PACKED_RUN_FILE}"]
)
def test_a_packed_run_is_found_by_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = packed(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert find_run(tmp_path, name).resolve() == folder


def test_a_run_kept_both_ways_is_one_run(tmp_path: Path) -> None:
    folder = packed(tmp_path)
    raw = lzma.decompress((folder / PACKED_RUN_FILE).read_bytes())
    (folder / RUN_FILE).write_bytes(raw)
    assert run_folders(tmp_path) == [folder]


def test_a_packed_run_cannot_be_resumed_and_the_line_says_what_to_do(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=r"unxz .*then resume"):
        reopen_run(packed(tmp_path))


def test_a_file_that_unpacks_to_more_than_any_run_is_refused(tmp_path: Path) -> None:
    folder = packed(tmp_path)
    zeros = lzma.compress(b"\0" * (LARGEST_BYTES + 1), preset=1)
    (folder / PACKED_RUN_FILE).write_bytes(zeros)
    with pytest.raises(InputOutputError, match="larger than the limit of 200 MB"):
        read_run(folder)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = packed(tmp_path)
    os.mkfifo(folder / RUN_FILE)
    with pytest.raises(InputOutputError, match="not a regular file"):
        read_run(folder / RUN_FILE)
    (folder / RUN_FILE).unlink()
    (folder / RUN_FILE).symlink_to("/dev/zero")
    with pytest.raises(InputOutputError, match="not a regular file"):
        read_run(folder / RUN_FILE)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ("x" * (LONGEST_TEXT + 1), "a text is too long"),
        (LARGEST_NUMBER * 10, "a number is too large"),
        ([0] * 300_000, "it is too long"),
    ],
    ids=["text", "number", "line"],
)
def test_options_beyond_what_is_ever_written_are_refused_and_kept(
    odd: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No crash leaves such a line: it is not taken for a torn end."""
    monkeypatch.setattr(format, "LONGEST_LINE", 300_000)
    folder = packed(tmp_path)
    raw = lzma.decompress((folder / PACKED_RUN_FILE).read_bytes())
    more = raw + encode({"kind": "resume", "odd": odd}, raw.count(b"\n"))
    (folder / PACKED_RUN_FILE).unlink()
    (folder / RUN_FILE).write_bytes(more)
    for use in (read_run, reopen_run):
        with pytest.raises(InputOutputError, match=said):
            use(folder)
    assert (folder / RUN_FILE).stat().st_size == len(more)


def test_damage_to_a_packed_run_is_one_clear_line(tmp_path: Path) -> None:
    path = packed(tmp_path) / PACKED_RUN_FILE
    whole = path.read_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        assert values_or_refusal(path.parent) in ([1.5], "refused")
        path.write_bytes(whole[:place])
        assert values_or_refusal(path.parent) == "refused"


def values_or_refusal(folder: Path) -> object:
    """The run's figures, or "refused" when it cannot be read."""
    try:
        return [row["value"] for row in read_run(folder).rows("figure")]
    except InputOutputError:
        return "refused"
