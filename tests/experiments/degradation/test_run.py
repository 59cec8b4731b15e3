from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_bench.engine import devices
from resnet_bench.engine.data import DataRequest, ImageData, load_data
from resnet_bench.engine.models.small_maps import SmallMapConvolution
from resnet_bench.engine.ranks import Ranks
from resnet_bench.errors import UsageError
from resnet_bench.execution.base import Job, Recorded, Task
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.experiments.degradation import run as measuring
from resnet_bench.experiments.degradation.grid import SHORTCUTS, Grid
from resnet_bench.experiments.degradation.measures import network as subjects
from resnet_bench.experiments.degradation.measures.network import Subject
from resnet_bench.experiments.degradation.records import (
    DegradationCell,
    Shortcut,
    SizeCheck,
    TrainingResult,
)
from resnet_bench.experiments.degradation.spec import Config, expand
from resnet_bench.experiments.degradation.studies import STUDIES as STUDIES_BY_NAME
from resnet_bench.experiments.degradation.studies.base import Study
from resnet_bench.records import Record, to_json
from tests.engine.fake_cuda import FakeCuda

from .tiny import small_cell, subject

STUDIES = ("depth", "constructed", "gradients", "identity", "response", "lesion")


def records(cell: DegradationCell) -> list[Record]:
    return list(measuring.run(cell, Ranks()))


def kinds(cell: DegradationCell) -> Counter[str]:
    return Counter(record.type_name() for record in records(cell))


def result(cell: DegradationCell) -> TrainingResult:
    found = [r for r in records(cell) if isinstance(r, TrainingResult)]
    assert len(found) == 1
    return found[0]


def without_times(content: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in content.items() if not k.endswith("seconds")}


def test_one_training_serves_every_study_that_concerns_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whether 22 steps suffice to learn depends on the version of torch.
    monkeypatch.setattr(subjects, "_chance_percent", lambda _: 300.0)
    cell = small_cell(shortcut="plain", studies=STUDIES, deep_depths=(20,))
    counts = kinds(cell)
    assert counts["training_result"] == 1
    # Epochs of 4 full batches: five and a half of them.
    assert counts["curve_point"] == 6
    # Steps 0, 1, 10 and the end (22 steps, so 100 is not reached).
    assert counts["gradient_summary"] == 4
    assert counts["layer_gradient"] == 4 * 14
    assert counts["layer_response"] == 13
    assert counts["identity_insertion"] == 1
    assert counts["construction"] == 1
    assert counts["lesion"] > 3


def test_a_study_that_was_not_asked_for_yields_nothing() -> None:
    assert set(kinds(small_cell(studies=("depth",)))) == {
        "training_result",
        "curve_point",
    }


def test_which_test_images_were_answered_rightly_is_kept() -> None:
    found = result(small_cell())
    assert found.right_test_answers is not None
    right = bin(int(found.right_test_answers, 16)).count("1")
    assert 100 * (1 - right / found.test_images) == pytest.approx(
        found.test_error_percent
    )


@dataclass(frozen=True, kw_only=True)
class Glance(Record):
    """What a study of a test saw, and when."""

    moment: str


class Glances(Study):
    """Looks at shallow plain networks after the first step, and at the end."""

    name = "glances"
    question = "can a study be added by one class and one row?"
    records = (Glance,)
    pauses = (1,)

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        return grid.networks(grid.depths[:1], ("plain",))

    def look(self, subject: Subject, moment: str, step: int) -> Iterator[Record]:
        yield Glance(moment=moment)

    def observe(self, subject: Subject) -> Iterator[Record]:
        yield Glance(moment="trained")


def test_a_study_is_one_class_and_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STUDIES_BY_NAME, "glances", Glances())
    small: dict[str, Any] = {"seeds": 1, "epochs": 1, "width": 4, "device": "cpu"}
    (cell,) = expand(Config(study=("glances",), depths=(8, 14), **small))
    assert (cell.depth, cell.shortcut) == (8, "plain")
    seen = [row.moment for row in records(cell) if isinstance(row, Glance)]
    assert seen == ["1", "end", "trained"]


def test_a_result_says_what_was_trained_and_for_how_long() -> None:
    row = result(small_cell(budget=2, epochs=1))
    assert row.steps == 44
    assert row.train_images_used == 256
    assert row.recalibration_images == 256
    assert row.chance_error_percent == pytest.approx(90)
    assert not row.diverged
    assert row.seconds > 0
    assert row.step_seconds == pytest.approx(row.seconds / 44)
    assert row.train_error_recalibrated_percent < 90


def test_few_images_are_learnt_by_heart_at_equal_steps() -> None:
    few = result(small_cell(train_images=50, epochs=2, width=8, depth=8))
    assert few.train_images_used == 50
    assert few.steps == 44
    assert few.train_error_recalibrated_percent == 0
    assert few.test_error_percent > 3


def test_all_images_leave_a_smaller_gap_than_a_few_learnt_by_heart() -> None:
    few, many = (
        result(small_cell(train_images=images, epochs=2, width=8, depth=8))
        for images in (50, 1000)
    )
    gaps = [
        row.test_error_percent - row.train_error_recalibrated_percent
        for row in (few, many)
    ]
    assert gaps[1] < gaps[0] - 5


@pytest.mark.parametrize(("depth", "least", "most"), [(8, -15, 15), (56, 30, 90)])
def test_only_a_deep_plain_network_falls_behind_its_residual_twin(
    depth: int, least: float, most: float
) -> None:
    plain, residual = (
        result(small_cell(shortcut=shortcut, depth=depth, epochs=3))
        for shortcut in SHORTCUTS
    )
    behind = (
        plain.train_error_recalibrated_percent
        - residual.train_error_recalibrated_percent
    )
    assert least < behind < most


def errors_at_depth_56(*networks: tuple[Shortcut, str]) -> list[float]:
    """Return the training errors in percent of short trainings."""
    return [
        result(
            small_cell(shortcut=shortcut, treatment=treatment, depth=56, epochs=2)
        ).train_error_recalibrated_percent
        for shortcut, treatment in networks
    ]


def test_a_weak_shortcut_leaves_much_of_the_degradation() -> None:
    weak, full = errors_at_depth_56(
        ("residual", "lambda-0.25"), ("residual", "standard")
    )
    assert weak > full + 5


def test_a_plain_network_that_starts_as_the_identity_degrades_less() -> None:
    usual, dirac = errors_at_depth_56(("plain", "standard"), ("plain", "dirac"))
    assert dirac < usual - 5


def test_a_diverged_network_stands_at_chance_and_is_not_looked_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = small_cell(learning_rate=1e30, studies=STUDIES)
    rows = records(cell)
    last = next(row for row in rows if isinstance(row, TrainingResult))
    assert last.diverged
    assert last.diverged_at_step is not None
    assert last.train_error_recalibrated_percent == pytest.approx(90)
    assert last.test_error_percent == pytest.approx(90)
    assert last.train_loss is None
    assert "lesion" not in {row.type_name() for row in rows}


def test_both_shortcuts_start_from_the_same_weights_and_see_the_same_batches() -> None:
    plain, residual = (subject(shortcut=shortcut) for shortcut in ("plain", "residual"))
    first, second = plain.model.state_dict(), residual.model.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    batches = [made.trainer.order.next().indices for made in (plain, residual)]
    assert torch.equal(batches[0], batches[1])


def test_the_same_cell_gives_the_same_bits_alone_and_beside_another() -> None:
    cells = [
        small_cell(seed=s, depth=8, studies=("depth", "gradients")) for s in (0, 1)
    ]
    alone = [
        [without_times({"type": r.type_name(), **to_json(r)}) for r in records(cell)]
        for cell in cells
    ]
    executor = ProcessExecutor()
    job = Job(
        run=measuring.run,
        schedule="once",
        tasks=tuple(Task(cell) for cell in cells),
        workers=2,
        memory_bytes=1e12,
    )
    beside: dict[str, list[dict[str, Any]]] = {cell.key: [] for cell in cells}
    try:
        for event in executor.run(job):
            if isinstance(event, Recorded):
                beside[event.key].append(without_times(event.content))
    finally:
        executor.close()
    assert [beside[cell.key] for cell in cells] == alone


def test_any_size_shows_what_the_global_pool_accepts_and_flattening_does_not() -> None:
    rows = records(small_cell(task="anysize", depth=8, studies=("anysize",)))
    checks = [row for row in rows if isinstance(row, SizeCheck)]
    assert all(c.accepted for c in checks if c.pooling == "adaptive")
    assert all(c.output_shape == (1, 10) for c in checks if c.accepted)
    flattened = [c for c in checks if c.pooling == "flatten"]
    assert [c.accepted for c in flattened] == [True, False, False, False]
    assert all("multiplied" in (c.raised or "") for c in flattened[1:])


def test_both_shortcuts_of_torchvisions_networks_share_their_weights() -> None:
    plain, residual = (
        subject(shortcut=shortcut, family="imagenet", depth=18, image_size=32)
        for shortcut in ("plain", "residual")
    )
    first, second = plain.model.state_dict(), residual.model.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert plain.data.channels == 3
    images = plain.data.test.images[:2]
    logits = [made.model.eval()(images) for made in (plain, residual)]
    assert logits[0].shape == logits[1].shape == (2, 10)
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("treatment", ["adam", "wide", "dirac", "option-b"])
def test_every_treatment_trains(treatment: str) -> None:
    shortcut = "residual" if treatment == "option-b" else "plain"
    assert not result(
        small_cell(treatment=treatment, shortcut=shortcut, depth=8)
    ).diverged


def test_a_long_curve_is_thinned_and_keeps_its_last_point() -> None:
    made = subject(train_images=64, depth=8)
    made.trainer.train()
    points = list(subjects.curve(made))
    assert [point.step for point in points] == list(range(1, 23))
    point = made.trainer.curve[0]
    made.trainer.curve = [replace(point, step=i, epoch=i) for i in range(1, 502)]
    thinned = list(subjects.curve(made))
    assert len(thinned) <= subjects.CURVE_POINTS
    assert thinned[-1].step == 501


def test_a_cell_has_one_key_however_its_device_was_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose = devices.choose
    monkeypatch.setattr(devices, "choose", lambda name: choose(name, FakeCuda(gpus=2)))
    names = ("auto", "cuda", "cuda:0", "cuda:1")
    cells = [expand(measuring.prepare(Config(device=name)))[0] for name in names]
    assert [cell.place for cell in cells] == ["cuda:0", "cuda:0", "cuda:0", "cuda:1"]
    assert len({cell.key for cell in cells}) == 1


@pytest.mark.parametrize("device", ["gpu", "tpu:3", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="--device"):
        measuring.prepare(Config(device=device))


def test_data_that_are_not_there_are_refused_before_any_training(
    tmp_path: Path,
) -> None:
    config = Config(dataset="cifar10", data_dir=tmp_path, device="cpu")
    with pytest.raises(UsageError, match="cifar-10-batches-py"):
        measuring.rehearse(config)
    with pytest.raises(UsageError, match="cifar-10-batches-py"):
        measuring.estimate(config, expand(config))


def test_a_dry_run_downloads_nothing_and_estimates_nothing_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def load(request: DataRequest) -> ImageData:
        asked.append(request.download)
        return load_data(request)

    monkeypatch.setattr(subjects, "load_data", load)
    monkeypatch.setattr(measuring, "load_data", load)
    wanted = Config(dataset="cifar10", data_dir=tmp_path, device="cpu", download=True)
    config = measuring.prepare(wanted)
    assert measuring.estimate(config, expand(config)) is None
    assert asked == [False]


def test_an_estimate_comes_from_steps_timed_here() -> None:
    cell = small_cell(depth=8)
    ticks = iter([100.0, 110.0])
    ratio = measuring.measured_over_planned(cell, clock=lambda: next(ticks))
    assert ratio * cell.step_seconds == pytest.approx(10 / measuring.TIMED_STEPS)
    config = Config(
        depths=(8,), seeds=1, epochs=1, width=4, study=("depth",), device="cpu"
    )
    assert (measuring.estimate(config, expand(config)) or 0) > 0


def test_an_estimate_without_trainings_needs_no_step() -> None:
    config = Config(study=("anysize",))
    assert measuring.estimate(config, expand(config)) == 1


def test_convolutions_of_small_maps_are_computed_densely() -> None:
    last = subject(depth=8).model.get_submodule("layer3.0.conv2")
    assert isinstance(last, SmallMapConvolution)
