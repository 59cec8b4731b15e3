"""What notebooks import: runs and their tables, by name."""

from pathlib import Path

import pytest

from resnet_bench import read_run, run_ids, tables
from resnet_bench.errors import UsageError

RESULTS = Path(__file__).resolve().parent.parent / "results"


def test_a_stored_run_is_read_by_name_and_shows_its_tables() -> None:
    newest = run_ids("speed", RESULTS)[-1]
    run = read_run(newest[-4:], RESULTS)
    assert (run.id, run.experiment) == (newest, "speed")
    frame = tables(run)["times"]
    assert set(frame["model"]) <= {f"ResNet-{n}" for n in (18, 34, 50, 101, 152)}


def test_the_runs_before_the_latest_have_names() -> None:
    ids = sorted(run_ids(results=RESULTS))
    assert read_run("latest", RESULTS).id == ids[-1]
    assert read_run("latest~2", RESULTS).id == ids[-3]
    with pytest.raises(UsageError, match="latest~999"):
        read_run("latest~999", RESULTS)
