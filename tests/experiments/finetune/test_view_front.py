"""The front: accuracy against step time and memory."""

from pathlib import Path
from typing import Any

import pytest

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.finetune.view import front as view_front
from resnet_bench.experiments.finetune.view.groups import groups_of
from resnet_bench.experiments.speed import Speed
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import markdown
from resnet_bench.reports import shown as reports
from resnet_bench.reports.shown import ShownRun, shown
from resnet_bench.store.reading import Run
from tests.experiments.finetune.stored import resolved, stored_run


@pytest.fixture(scope="module")
def run() -> Run:
    return stored_run(resolved())


def texts_of(figure: Any) -> str:
    parts = [a.get_title("left") for a in figure.axes]
    return " ".join([*parts, figure.get_supxlabel()])


def test_the_front_marks_imagenet_as_reported_and_says_where_steps_come_from(
    run: Run,
) -> None:
    text = texts_of(shown(run).figures["accuracy-step-time-front"])
    assert "reported, not measured here" in text
    assert "during this run" in text


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


def test_the_front_takes_step_times_from_a_speed_run_of_the_same_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stored_run(resolved(seeds=1), tmp_path / "finetune" / "r1")
    stored = {
        name: Run(
            tmp_path / "speed" / name,
            {"run": name, "experiment": "speed", "environment": {"machine_key": key}},
            [],
            {},
            "complete",
        )
        for name, key in {"s1": "m1", "s2": "m1", "s3": "other"}.items()
    }
    rows = {
        "s1": [speed_row(18), speed_row(34), speed_row(34, step={"estimate": 9.0})],
        "s2": [speed_row(18)],  # newer, but one variant is missing
        "s3": [speed_row(18), speed_row(34)],
    }
    monkeypatch.setattr(
        reports, "run_folders", lambda *_: [r.folder for r in stored.values()]
    )
    monkeypatch.setattr(reports, "read_run", lambda folder: stored[folder.name])
    monkeypatch.setattr(Speed, "show", lambda _, r, __: Shown({"rows": rows[r.id]}, []))
    newest, older = ShownRun(run).others.step_costs
    assert newest.keys() == {18}
    assert {variant: cost.step_seconds for variant, cost in older.items()} == {
        18: 0.1,
        34: 0.1,
    }
    assert "speed run s1" in older[18].where
    assert "speed run s1" in texts_of(shown(run).figures["accuracy-step-time-front"])


def test_a_front_keeps_what_no_cheaper_network_equals(run: Run) -> None:
    found = view_front.front_of(groups_of(run), OtherRuns())
    assert found is not None
    assert found.strategy == "full"
    by_time = found.kept(lambda point: point.step_milliseconds)
    assert [point.variant for point in by_time] == [18]  # 34 is as accurate, dearer
    reported = found.kept(lambda p: p.step_milliseconds, lambda p: p.reported)
    assert [point.variant for point in reported] == [18, 34]
    assert found.kept(lambda _: None) == []


def test_one_network_makes_no_front() -> None:
    run = stored_run(resolved(variants=(18,), fractions=(1.0,)))
    assert view_front.front_of(groups_of(run), OtherRuns()) is None
    assert "accuracy-step-time-front" not in shown(run).figures


def test_the_front_stands_in_table_and_json_with_imagenet_as_reported(run: Run) -> None:
    text = " ".join(markdown(shown(run).tables[-1]).split())
    assert "reported, not measured here" in text
    front = shown(run).json["front"]
    assert front["measured"] == "32 images of 32 px, during this run"
    assert [point["variant"] for point in front["points"]] == [18, 34]
    assert front["points"][0]["reported_imagenet_percent"] == pytest.approx(69.758)
    nothing = shown(stored_run(resolved(strategy=("probe",)))).json
    assert nothing["front"] is None


def test_the_front_ignores_rows_of_another_device_or_without_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [speed_row(18, device="cuda:0"), speed_row(34, step=None)]
    rows.append(speed_row(50, shortcut="plain"))
    monkeypatch.setattr(Speed, "show", lambda *_: Shown({"rows": rows}, []))
    speed = Run(Path("s"), {"run": "s", "experiment": "speed"}, [], {}, "complete")
    assert reports._costs_of(ShownRun(speed), "cpu") == {}
