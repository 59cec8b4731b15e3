"""What a stored run is told of the runs beside it."""

from pathlib import Path
from typing import Any

import pytest

from resnet_bench.experiments.speed import Speed
from resnet_bench.present.shown import Shown
from resnet_bench.reports import stored as reports
from resnet_bench.reports.stored import ShownRun
from resnet_bench.store.reading import Run


def stored(folder: Path, machine: str = "m1", device: str = "cpu") -> Run:
    header = {
        "run": folder.name,
        "experiment": folder.parent.name,
        "environment": {"machine_key": machine},
        "config": {"device": device},
    }
    return Run(folder, header, [], {}, "complete")


def speed_row(variant: int, **changes: Any) -> dict[str, Any]:
    return {
        "variant": variant,
        "device": "cpu",
        "shortcut": "residual",
        "batch_size": 4,
        "image_size": 224,
        "dtype": "float32",
        "step": {"estimate": 0.1},
        "train_peak_memory_bytes": 2**30,
        **changes,
    }


def test_step_costs_are_those_of_speed_runs_of_the_same_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = {"s1": "m1", "s2": "m1", "s3": "other"}
    runs = {
        name: stored(tmp_path / "speed" / name, machines[name]) for name in machines
    }
    rows = {
        "s1": [speed_row(18), speed_row(34), speed_row(34, step={"estimate": 9.0})],
        "s2": [
            speed_row(18),
            speed_row(34, step=None),
            speed_row(50, shortcut="plain"),
            speed_row(101, device="cuda:0"),
            speed_row(152, protocol="another"),
        ],
    }
    folders = [run.folder for run in runs.values()]
    monkeypatch.setattr(reports, "run_folders", lambda *_: folders)
    monkeypatch.setattr(reports, "checked_run", lambda folder, _: runs[folder.name])
    monkeypatch.setattr(Speed, "show", lambda _, r, __: Shown({"rows": rows[r.id]}, []))
    run = stored(tmp_path / "finetune" / "r1")
    newest, older = ShownRun(run).others.step_costs
    assert newest.keys() == {18}
    seconds = {variant: cost.step_seconds for variant, cost in older.items()}
    assert seconds == {18: 0.1, 34: 0.1}
    assert older[18].where == "4 images of 224 px, float32; speed run s1"
