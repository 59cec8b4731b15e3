"""Run files that were damaged: refused or noted, and never a wrong number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnet_bench.errors import InputOutputError
from resnet_bench.store.format import encode
from resnet_bench.store.reading import RUN_FILE, Run, read_run
from resnet_bench.store.writing import create_run, reopen_run

HEADER: dict[str, Any] = {
    "run": "r1",
    "experiment": "toy",
    "cells": {"k1": {"depth": 8}, "k2": {"depth": 14}},
}
SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def pristine(folder: Path) -> bytes:
    with create_run(folder, HEADER) as writer:
        for index, key in enumerate(("k1", "k2")):
            for step in range(3):
                value = {"type": "sample", "step": step, "value": index + step / 7}
                writer.record(key, 1, value)
            writer.commit(key, 1, "ok", seconds=1.5)
        writer.end("complete")
    return (folder / RUN_FILE).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return pristine(tmp_path_factory.mktemp("whole") / "r1")


def read(folder: Path, content: bytes) -> Run:
    (folder / RUN_FILE).write_bytes(content)
    return read_run(folder)


def numbers(run: Run) -> list[tuple[Any, ...]]:
    return [(row["cell"], row["step"], row["value"]) for row in run.rows("sample")]


Damage = Callable[[bytes, st.DataObject], bytes]


def flip(content: bytes, data: st.DataObject) -> bytes:
    place = data.draw(st.integers(0, len(content) - 1))
    byte = content[place] ^ data.draw(st.integers(1, 255))
    return content[:place] + bytes([byte]) + content[place + 1 :]


def cut(content: bytes, data: st.DataObject) -> bytes:
    start = data.draw(st.integers(0, len(content) - 1))
    return content[:start] + content[start + data.draw(st.integers(1, 400)) :]


def insert(content: bytes, data: st.DataObject) -> bytes:
    place = data.draw(st.integers(0, len(content)))
    return content[:place] + data.draw(st.binary(min_size=1)) + content[place:]


def lose_a_line(content: bytes, data: st.DataObject) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    return b"".join(lines)


def double_a_line(content: bytes, data: st.DataObject) -> bytes:
    lines = content.splitlines(keepends=True)
    line = data.draw(st.sampled_from(lines))
    lines.insert(data.draw(st.integers(0, len(lines))), line)
    return b"".join(lines)


def swap_two_lines(content: bytes, data: st.DataObject) -> bytes:
    lines = content.splitlines(keepends=True)
    one, other = data.draw(
        st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True)
    )
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


@SETTINGS
@given(data=st.data())
@pytest.mark.parametrize(
    "damage", [flip, cut, insert, lose_a_line, double_a_line, swap_two_lines]
)
def test_damage_is_refused_or_noted_and_no_number_is_wrong(
    whole: bytes, tmp_path: Path, damage: Damage, data: st.DataObject
) -> None:
    undamaged = numbers(read(tmp_path, whole))
    try:
        run = read(tmp_path, damage(whole, data))
    except InputOutputError:
        return
    kept = numbers(run)
    for key in run.cells:
        mine = [row for row in undamaged if row[0] == key]
        assert [row for row in kept if row[0] == key] == mine
    assert {row[0] for row in kept} <= set(run.cells)
    if run.status == "complete":
        assert kept == undamaged
    else:
        assert run.missing or run.problems or len(kept) == len(undamaged)


scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3)
odd = (
    scalars
    | st.lists(scalars, max_size=2)
    | st.dictionaries(st.sampled_from(["k1", "config", "seconds"]), scalars, max_size=2)
)
FIELDS = ["kind", "cell", "attempt", "status", "type", "seconds", "error", "group"]
kinds = st.sampled_from(["run", "record", "cell", "end", "resume", "other"])


@SETTINGS
@given(
    header=st.dictionaries(
        st.sampled_from(["run", "experiment", "config", "environment", "cells"]), odd
    ),
    lines=st.lists(
        st.builds(
            lambda kind, rest: {**rest, "kind": kind},
            kinds,
            st.dictionaries(st.sampled_from(FIELDS), odd),
        ),
        max_size=4,
    ),
)
def test_undamaged_lines_of_odd_content_are_read_or_refused(
    tmp_path: Path, header: dict[str, Any], lines: list[dict[str, Any]]
) -> None:
    first = {"kind": "run", "schema_version": 1, **HEADER, **header}
    content = b"".join(encode(line, n) for n, line in enumerate([first, *lines]))
    try:
        run = read(tmp_path, content)
    except InputOutputError:
        return
    assert run.config is not None
    assert run.environment is not None
    assert set(run.failed) <= set(run.cells)
    assert all(isinstance(row["cell"], str) for row in run.rows("sample"))


def test_a_torn_end_of_several_lines_is_left_out_and_resumable(
    whole: bytes, tmp_path: Path
) -> None:
    lines = whole.splitlines(keepends=True)
    torn = b"".join(lines[:5]) + lines[5][:9] + lines[6][4:] + b"\0" * 300
    run = read(tmp_path, torn)
    assert "damaged from line 6 on" in run.problems[0]
    assert run.missing == ["k2"]
    writer, _ = reopen_run(tmp_path)
    with writer:
        writer.record("k2", 2, {"type": "sample", "step": 0, "value": 4.0})
        writer.commit("k2", 2, "ok")
        writer.end("complete")
    again = read_run(tmp_path)
    assert again.problems == []
    assert [row[2] for row in numbers(again) if row[0] == "k2"] == [4.0]


def test_two_lines_written_into_each_other_at_the_end_are_left_out(
    whole: bytes, tmp_path: Path
) -> None:
    lines = whole.splitlines(keepends=True)
    tangled = b"".join(lines[:-2]) + lines[-2][:20] + lines[-1].strip() + lines[-2][20:]
    run = read(tmp_path, tangled)
    assert run.status == "partial"
    assert run.missing == ["k2"]


def test_a_file_whose_lines_were_renumbered_by_hand_is_refused(
    whole: bytes, tmp_path: Path
) -> None:
    content = whole.replace(b'"seq":2', b'"seq":9')
    with pytest.raises(InputOutputError, match="line 3 is damaged"):
        read(tmp_path, content)
