from __future__ import annotations

from pathlib import Path

import pytest

from resnet_bench.errors import UsageError
from resnet_bench.store import format as upgrades
from resnet_bench.store import writing
from resnet_bench.store.format import SCHEMA_VERSION, UPGRADES, Lines
from resnet_bench.store.reading import read_run
from resnet_bench.store.writing import create_run, reopen_run

DATA = Path(__file__).resolve().parent.parent / "data"


def test_every_older_schema_has_a_sample() -> None:
    for version in range(1, SCHEMA_VERSION):
        run = read_run(DATA / f"schema-{version}" / "run.jsonl")
        assert run.header["schema_version"] == version


def test_an_older_run_is_read_through_its_upgrade_and_never_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = {"run": "r", "experiment": "toy", "cells": {"k": {"depth": 8}}}
    with create_run(tmp_path / "r", header) as writer:
        writer.record("k", 1, {"type": "sample", "old_name": 3})
        writer.commit("k", 1, "ok")

    def rename(lines: Lines) -> Lines:
        return [
            {("new_name" if key == "old_name" else key): line[key] for key in line}
            for line in lines
        ]

    newer = SCHEMA_VERSION + 1
    monkeypatch.setattr(upgrades, "SCHEMA_VERSION", newer)
    monkeypatch.setattr(writing, "SCHEMA_VERSION", newer)
    monkeypatch.setattr(upgrades, "UPGRADES", (*UPGRADES, rename))
    (row,) = read_run(tmp_path / "r").rows("sample")
    assert row["new_name"] == 3
    with pytest.raises(UsageError, match="older resnet-bench"):
        reopen_run(tmp_path / "r")
