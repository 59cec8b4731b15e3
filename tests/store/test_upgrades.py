from __future__ import annotations

from pathlib import Path

import pytest

from resnet_bench.store.reading import read_run
from resnet_bench.store.upgrades import SCHEMA_VERSION, UPGRADES

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_every_older_schema_has_an_upgrade_and_a_sample(version: int) -> None:
    assert version in UPGRADES
    run = read_run(DATA / f"schema-{version}" / "run.jsonl")
    assert run.header["schema_version"] == version
    assert run.status == "complete"


def test_lesions_of_version_1_get_their_kind_back() -> None:
    run = read_run(DATA / "schema-1" / "run.jsonl")
    damages = [row["damage"] for row in run.rows("lesion")]
    assert damages == ["delete", "delete-many", "swap"]
    assert len(run.rows("training_result")) == 1
