"""The front: accuracy against step time and memory."""

from typing import Any

import pytest

from resnet_bench.experiments.base import OtherRuns, StepCost
from resnet_bench.experiments.finetune.view.front import (
    Front,
    front_figure,
    front_of,
    front_table,
)
from resnet_bench.experiments.finetune.view.groups import groups_of
from resnet_bench.present.tables import markdown
from resnet_bench.store.reading import Run
from tests.experiments.finetune.stored import resolved, stored_run


@pytest.fixture(scope="module")
def front(run: Run) -> Front:
    found = front_of(groups_of(run), OtherRuns())
    assert found is not None
    return found


class TimedElsewhere(OtherRuns):
    """Two speed runs; the newer one lacks a variant."""

    step_costs = (
        {18: StepCost(0.2, None, "speed run s2")},
        {18: StepCost(0.1, 2**30, "speed run s1"), 34: StepCost(0.3, None, "s1")},
    )


def texts_of(figure: Any) -> str:
    parts = [axes.get_title("left") for axes in figure.axes]
    return " ".join([*parts, figure.get_supxlabel()])


def test_step_times_come_from_the_newest_speed_run_that_has_all_variants(
    run: Run,
) -> None:
    found = front_of(groups_of(run), TimedElsewhere())
    assert found is not None
    assert [point.step_milliseconds for point in found.points] == [100.0, 300.0]
    assert "speed run s1" in texts_of(front_figure(run, found))


def test_a_front_keeps_what_no_cheaper_network_equals(front: Front) -> None:
    assert front.strategy == "full"
    by_time = front.kept(lambda point: point.step_milliseconds)
    assert [point.variant for point in by_time] == [18]  # 34 is as accurate, dearer
    reported = front.kept(lambda p: p.step_milliseconds, lambda p: p.reported)
    assert [point.variant for point in reported] == [18, 34]
    assert front.kept(lambda _: None) == []


def test_one_network_or_no_training_makes_no_front() -> None:
    one = stored_run(resolved(variants=(18,), shots=(200,)))
    assert front_of(groups_of(one), OtherRuns()) is None
    probes = stored_run(resolved(strategy=("probe",)))
    assert front_of(groups_of(probes), OtherRuns()) is None


def test_table_figure_and_json_say_that_imagenet_is_reported(
    run: Run, front: Front
) -> None:
    text = " ".join(markdown(front_table(run, front)).split())
    assert "reported, not measured here" in text
    assert "reported, not measured here" in texts_of(front_figure(run, front))
    assert front.json["measured"] == "32 images of 32 px, during this run"
    assert [point["variant"] for point in front.json["points"]] == [18, 34]
    first = front.json["points"][0]
    assert first["reported_imagenet_percent"] == pytest.approx(69.758)
