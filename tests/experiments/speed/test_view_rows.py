from collections.abc import Callable
from typing import Any

import pytest

from resnet_bench.experiments.speed.cells import SpeedCell
from resnet_bench.experiments.speed.view.rows import SpeedRow, rows_of
from resnet_bench.store.reading import Run

MakeRun = Callable[..., Run]
Record = dict[str, Any]


def changed(only: int | None = None, **fields: Any) -> Callable[..., Record]:
    """Change fields of the visits of one variant, or of all."""

    def change(cell: SpeedCell, record: Record) -> Record:
        meant = only is None or cell.variant == only
        if record["type"] != "speed_samples" or not meant:
            return record
        return {**record, **fields}

    return change


def only_row(run: Run) -> SpeedRow:
    (row,) = rows_of(run)
    return row


def test_a_time_has_one_value_per_visit_and_bounds_from_six_on(
    make_run: MakeRun,
) -> None:
    for rounds in (5, 6):
        interval = only_row(make_run(variants=(18,), rounds=rounds)).phase("forward")
        assert interval is not None
        assert (interval.samples, interval.bounded) == (rounds, rounds == 6)


@pytest.mark.parametrize(("disturbed", "left_out"), [(2, 2), (4, 0)])
def test_few_disturbed_visits_are_left_out_and_many_flag_the_row(
    make_run: MakeRun, disturbed: int, left_out: int
) -> None:
    def crowded(cell: SpeedCell, record: Record) -> Record:
        if record.get("round", disturbed) >= disturbed or "notes" not in record:
            return record
        seen = {"waiting_share": 0.4, "flags": ["oversubscribed"]}
        return {**record, **seen, "step_seconds": [9.0]}

    row = only_row(make_run(variants=(18,), rounds=9, change=crowded))
    assert (row.left_out, len(row.visits)) == (left_out, 9 - left_out)
    assert ("oversubscribed" in row.flags) == (left_out == 0)
    assert (9.0 in row.samples("step_seconds")) == (left_out == 0)


def test_rows_follow_the_grid_with_their_memory_and_ceiling(make_run: MakeRun) -> None:
    rows = rows_of(make_run(variants=(50, 18), batch_size=(2, 4)))
    named = [(row.identity, row.parameters["batch_size"]) for row in rows]
    assert named == [(50, 2), (50, 4), (18, 2), (18, 4)]
    peaks = [row.peak_memory["train_peak_memory_bytes"] for row in rows]
    assert peaks == [2 * 10**8, 4 * 10**8] * 2
    assert all(row.ceiling is not None for row in rows)


def test_ratios_are_paired_by_round(make_run: MakeRun) -> None:
    def slow_rounds(cell: SpeedCell, record: Record) -> Record:
        if record["type"] != "speed_samples":
            return record
        seconds = (1 if cell.variant == 18 else 3) * (1 + record["round"] % 2)
        return {**record, "step_seconds": [seconds] * 3}

    first, second = rows_of(make_run(variants=(18, 34), change=slow_rounds))
    ratio = second.ratio_to(first, "step")
    assert ratio is not None
    assert ratio.samples == 8
    assert ratio.low == pytest.approx(3)
    assert ratio.high == pytest.approx(3)


def test_rounds_that_only_one_row_has_do_not_count(make_run: MakeRun) -> None:
    def short(cell: SpeedCell, record: Record) -> Record:
        late = record.get("round", 0) >= 2 and cell.variant == 34
        return {**record, "step_seconds": []} if late else record

    first, second = rows_of(make_run(variants=(18, 34), change=short))
    ratio = second.ratio_to(first, "step")
    assert ratio is not None
    assert ratio.samples == 2


def test_rows_that_leave_out_different_visits_have_as_many_pairs(
    make_run: MakeRun,
) -> None:
    def crowded(cell: SpeedCell, record: Record) -> Record:
        waited = record.get("round") == (2 if cell.variant == 18 else 5)
        return {**record, "waiting_share": 0.5} if waited else record

    first, second = rows_of(make_run(variants=(18, 34), rounds=7, change=crowded))
    ratio = second.ratio_to(first, "step")
    assert ratio is not None
    assert ratio.samples == len(first.visits) == 6
    assert ratio.bounded


def test_few_blocks_of_a_protocol_have_no_bounds(make_run: MakeRun) -> None:
    run = make_run(variants=(18,), protocol="torch-timer", rounds=1)
    step = only_row(run).phase("step")
    assert step is not None
    assert (step.samples, step.bounded) == (5, False)
    more = only_row(make_run(variants=(18,), protocol="torch-timer", rounds=2))
    assert (step := more.phase("step")) is not None
    assert (step.samples, step.bounded) == (10, True)


def test_a_ceiling_that_was_stopped_is_unknown(make_run: MakeRun) -> None:
    def stopped(cell: SpeedCell, record: Record) -> Record:
        of_ceiling = record["type"] == "ceiling_samples"
        return {**record, "flags": ["stopped"]} if of_ceiling else record

    assert only_row(make_run(variants=(18,), change=stopped)).ceiling is None


def test_a_sum_of_phases_far_from_the_step_fails_the_closure(make_run: MakeRun) -> None:
    row = only_row(make_run(variants=(18,), change=changed(step_seconds=[0.3] * 5)))
    assert row.closure is not None
    assert row.closure.high < 0.95
    assert row.verdict == "closure-failed"


def test_a_closure_that_cannot_be_told_does_not_fail(make_run: MakeRun) -> None:
    change = changed(step_seconds=[0.3] * 6)
    row = only_row(make_run(variants=(18,), rounds=1, change=change))
    assert "closure-failed" not in row.flags


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"flags": ["throttled"]}, "throttled"),
        ({"flags": ["oversubscribed"]}, "oversubscribed"),
        ({"device_seconds": {"step": [0.05] * 5}}, "host-bound"),
    ],
)
def test_a_condition_decides_the_verdict(
    make_run: MakeRun, fields: Record, flag: str
) -> None:
    row = only_row(make_run(variants=(18,), change=changed(**fields)))
    assert row.flags == [flag]
    assert row.verdict == flag


def test_a_quiet_row_is_ok(make_run: MakeRun) -> None:
    change = changed(device_seconds={"step": [0.16] * 5})
    row = only_row(make_run(variants=(18,), change=change))
    assert (row.flags, row.verdict) == ([], "ok")


def test_few_samples_make_a_row_noisy(make_run: MakeRun) -> None:
    assert only_row(make_run(variants=(18,), rounds=1)).verdict == "noisy"


def test_the_worst_flag_is_the_verdict_and_comes_first(make_run: MakeRun) -> None:
    change = changed(flags=["oversubscribed", "throttled"])
    row = only_row(make_run(variants=(18,), rounds=1, change=change))
    assert row.flags == ["throttled", "oversubscribed", "noisy"]


@pytest.mark.parametrize(
    ("factors", "flags"),
    [
        ([1.5, 1.4, 1.3, 1.2] + [1.0] * 8, []),
        ([3.0 - 0.15 * number for number in range(12)], ["not-warmed-up"]),
        ([1.0 + 0.15 * number for number in range(12)], ["drifting"]),
        ([1.0, 1.5] * 6, []),
    ],
    ids=["warm after a third", "never warm", "rising", "only noise"],
)
def test_warmth_is_judged_by_the_samples(
    make_run: MakeRun, factors: list[float], flags: list[str]
) -> None:
    def change(cell: SpeedCell, record: Record) -> Record:
        if "step_seconds" not in record:
            return record
        factor = factors[record["round"]]
        slowed = {
            name: [factor * each for each in record[name]]
            for name in record
            if name.endswith("_seconds") and isinstance(record[name], list)
        }
        return {**record, **slowed}

    row = only_row(make_run(variants=(18,), rounds=12, change=change))
    assert [flag for flag in row.flags if flag != "noisy"] == flags


def test_a_failed_cell_has_its_error_and_no_numbers(make_run: MakeRun) -> None:
    _, row = rows_of(make_run(variants=(18, 34), failing={34: "RuntimeError: no"}))
    assert (row.verdict, row.error) == ("failed", "RuntimeError: no")
    assert row.phase("step") is None
    assert (row.closure, row.achieved("forward"), row.efficiency) == (None,) * 3
    assert (row.first_call_seconds, row.device_share) == (None, None)


def test_out_of_memory_is_the_rows_status(make_run: MakeRun) -> None:
    def starved(cell: SpeedCell, record: Record) -> Record:
        if cell.measure != "time":
            return record
        said = {"status": "oom", "message": "no room"}
        return {"type": "out_of_memory", **said}

    row = only_row(make_run(variants=(18,), change=starved))
    assert row.verdict == "oom"
    assert row.error == "out of memory: no room"


def test_a_planned_cell_that_never_ended_is_missing(make_run: MakeRun) -> None:
    run = make_run(variants=(18, 34), keep=lambda line: False)
    assert [row.verdict for row in rows_of(run)] == ["missing", "missing"]


def test_only_the_last_attempt_counts(make_run: MakeRun) -> None:
    run = make_run(variants=(18,))
    again = [
        {**record, "attempt": 2} for record in run.records if record.get("round") == 0
    ]
    run.records.extend(again[:1])
    assert len(only_row(run).visits) == 1


def test_efficiency_is_achieved_over_the_fastest_ceiling(make_run: MakeRun) -> None:
    change = changed(forward_seconds=[0.5] * 6)
    row = only_row(make_run(variants=(18,), batch_size=(2,), change=change))
    achieved = row.achieved("forward")
    assert achieved is not None
    assert achieved.estimate == pytest.approx(2 * 1_814_073_344 * 2 / 0.5)
    assert row.efficiency == pytest.approx(4 * 1_814_073_344 / 0.5 / 2.05e11)


def test_efficiency_is_unknown_without_work_or_ceiling(make_run: MakeRun) -> None:
    row = only_row(make_run(variants=(18,), change=changed(flop=None)))
    assert row.efficiency is None
    unlimited = make_run(
        variants=(18,), keep=lambda line: line.get("type") != "ceiling_samples"
    )
    assert only_row(unlimited).efficiency is None


def test_inference_alone_has_neither_step_nor_closure(make_run: MakeRun) -> None:
    row = only_row(make_run(variants=(18,), mode="infer"))
    assert row.phase("step") is None
    assert row.closure is None
    assert row.achieved("inference") is not None
    assert row.first_call_seconds == 0.2


def test_notes_are_said_once(make_run: MakeRun) -> None:
    row = only_row(make_run(variants=(18,), change=changed(notes=["The CPU is hot."])))
    assert row.notes == ["The CPU is hot."]


def test_a_user_model_is_called_by_its_name(make_run: MakeRun) -> None:
    row = only_row(make_run(model=("package.module:net",)))
    assert (row.name, row.identity) == ("package.module:net", "package.module:net")
