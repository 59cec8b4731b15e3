"""Stored runs: listed, published beside their files, and chosen for a report."""

import copy
import dataclasses
import io
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from resnet_bench.commands.list import ListConfig, list_runs
from resnet_bench.commands.report import ReportConfig, make_report
from resnet_bench.errors import ExitCode, InputOutputError, ResnetBenchError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.base import OtherRuns
from resnet_bench.gate.compare import named_run
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.present import theme
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.present.terminal import print_table
from resnet_bench.reports import pooling, runs
from resnet_bench.reports.listing import list_of_runs, listing_table, started_at
from resnet_bench.reports.runs import choose_runs, plainest, publish
from resnet_bench.reports.stored import ShownRun, StoredRuns
from resnet_bench.store.format import encode
from resnet_bench.store.reading import Run, read_lines
from resnet_bench.store.writing import create_run
from tests.toys.speed_runs import ENVIRONMENT, speed_run, store, store_speed_run
from tests.toys.toy import Toy

FIRST = "20260102T030405Z_abcdef0_1111"
SECOND = "20260203T040506Z_abcdef0_2222"
THIRD = "20260304T050607Z_abcdef0_3333"
OUTPUT = Output(DisplayOptions())


def store_listed(results: Path, run_id: str, *, complete: bool = True) -> Path:
    folder = results / "speed" / run_id
    header = {
        "run": run_id,
        "experiment": "speed",
        "config": {"device": "cpu"},
        "environment": {"cpu": {"model": "Apple M2", "usable_cores": 8}},
        "cells": {"aaa": {}, "bbb": {}, "ccc": {}},
        "commit": "abcdef0",
    }
    with create_run(folder, header) as writer:
        writer.record("aaa", 1, {"type": "toy"})
        writer.commit("aaa", 1, "ok")
        writer.commit("bbb", 1, "failed", error="no")
        if complete:
            writer.end("complete")
    return folder


def test_runs_are_listed_oldest_first_with_what_they_are(tmp_path: Path) -> None:
    store_listed(tmp_path, SECOND, complete=False)
    store_listed(tmp_path, FIRST)
    first, second = list_of_runs(tmp_path)
    assert (first.when, first.status) == ("2026-01-02 03:04", "complete")
    assert (first.machine, first.cells, first.failed, first.records) == (
        "Apple M2, 8 cores",
        "1/3",
        1,
        1,
    )
    assert second.status == "partial"


def test_a_list_reads_no_values_of_records_and_notices_damage_to_them(
    tmp_path: Path,
) -> None:
    path = store_speed_run(tmp_path, RUN_ID, variants=(18,)) / "run.jsonl"
    lines = read_lines(path).lines
    usual = list_of_runs(tmp_path)
    record = next(line for line in lines if line["kind"] == "record")
    record["own_seconds"] = "x"
    raw = b"".join(encode(line, n) for n, line in enumerate(lines))
    path.write_bytes(raw)
    assert list_of_runs(tmp_path) == usual
    path.write_bytes(raw.replace(b'"own_seconds":"x"', b'"own_seconds":"y"', 1))
    (row,) = list_of_runs(tmp_path)
    assert row.status == "damaged"
    assert f"line {lines.index(record) + 1} is damaged" in str(row.problem)


def test_a_run_id_is_whole_in_80_columns(tmp_path: Path) -> None:
    store_listed(tmp_path, FIRST)
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, no_color=True)
    print_table(listing_table(list_of_runs(tmp_path)), console, wide=False)
    (line,) = (each for each in stream.getvalue().splitlines() if "_1111" in each)
    assert FIRST in line
    assert "1/3" in line


def test_a_damaged_run_is_named_and_the_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = store_listed(tmp_path, FIRST) / "run.jsonl"
    damaged.write_bytes(b"nonsense\n" + damaged.read_bytes())
    store_listed(tmp_path, SECOND)
    assert list_runs(ListConfig(results=tmp_path), OUTPUT) == ExitCode.OK
    said = capsys.readouterr()
    assert "damaged" in said.out
    assert SECOND in said.out
    assert f"warning: {damaged}" in said.err


def test_an_empty_folder_says_how_to_make_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list_runs(ListConfig(results=tmp_path / "none"), OUTPUT) == ExitCode.OK
    said = capsys.readouterr()
    assert said.out == ""
    assert "resnet-bench speed" in said.err


def test_the_list_as_json_is_one_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_listed(tmp_path, FIRST)
    list_runs(ListConfig(results=tmp_path, json=True), OUTPUT)
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert row["run"] == FIRST
    assert row["commit"] == "abcdef0"


def values_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each value of some content stands, of a list the first only."""
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from values_in(each, (*path, key))
    if isinstance(value, list) and value:
        yield from values_in(value[0], (*path, 0))


def put(value: Any, path: tuple[Any, ...], odd: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    if odd is MISSING:
        del value[path[-1]]
    else:
        value[path[-1]] = odd


MISSING = object()
ODD: tuple[Any, ...] = (
    MISSING,
    None,
    math.nan,
    -1,
    0,
    10**400,
    "x",
    "$",
    [],
    [[]],
    {},
    {"a": {}},
    True,
)


def test_odd_content_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    """A value here and there of a run file is what it should not be."""
    folder = store_speed_run(tmp_path, RUN_ID, rounds=3, variants=(18,), mode="infer")
    path = folder / "run.jsonl"
    lines = read_lines(path).lines
    kinds = [line.get("type") or line["kind"] for line in lines]
    firsts = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
    places = [
        (number, place)
        for number in firsts
        for place in list(values_in(lines[number]))[1:]
    ]
    places = random.Random(0).sample(places, 80)
    refused = 0
    for count, (number, place) in enumerate(places):
        changed = copy.deepcopy(lines)
        put(changed[number], place, ODD[count % len(ODD)])
        path.write_bytes(b"".join(encode(line, n) for n, line in enumerate(changed)))
        try:
            _ = StoredRuns(tmp_path).read(folder).shown
        except ResnetBenchError:
            refused += 1
        list_of_runs(tmp_path)
    assert 0 < refused < len(places)


def test_an_odd_run_is_left_out_of_a_report(tmp_path: Path) -> None:
    store_speed_run(tmp_path, RUN_ID, variants=(18,), mode="infer")
    odd = store_speed_run(tmp_path, "20990101T000000Z_a_b", variants=(18,))
    path = odd / "run.jsonl"
    lines = read_lines(path).lines
    del next(line for line in lines if line["kind"] == "record")["own_seconds"]
    path.write_bytes(b"".join(encode(line, n) for n, line in enumerate(lines)))
    chosen = choose_runs(StoredRuns(tmp_path), ())
    assert [view.run.id for view in chosen.listed] == [RUN_ID]
    assert [view.run.id for view in chosen.shown["speed"]] == [RUN_ID]
    assert "lacks own_seconds" in chosen.problems[0]
    with pytest.raises(InputOutputError, match="lacks own_seconds"):
        named_run(tmp_path, odd.name, Output(DisplayOptions()))


def test_a_run_that_fails_only_when_it_is_drawn_is_left_out_of_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever of it fails: its files, the tables of all runs, or a block."""
    kept = store_speed_run(tmp_path / "results", RUN_ID, variants=(18,), mode="infer")
    odd = store_speed_run(tmp_path / "results", SECOND, variants=(18,), mode="infer")
    page = tmp_path / "README.md"
    page.write_text("<!-- rendered begin: speed -->\n<!-- rendered end -->\n")

    def failing(function: Any) -> Any:
        def replacement(*arguments: Any) -> Any:
            if SECOND in str(arguments[0]):
                raise KeyError("odd")
            return function(*arguments)

        return replacement

    for place, name in ((runs, "_texts"), (pooling, "_observed_in")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, failing(getattr(place, name)))
            config = ReportConfig(
                results=tmp_path / "results", refresh=True, readme=(page,)
            )
            assert make_report(config, OUTPUT) == ExitCode.INCOMPLETE
        said = capsys.readouterr().err
        assert f"warning: {odd}: cannot be shown (KeyError: 'odd')" in said
        assert RUN_ID in page.read_text()
        assert SECOND not in page.read_text()
        assert (kept / "table.csv").exists()


def test_a_run_id_tells_when_it_began() -> None:
    assert started_at(FIRST) == "2026-01-02 03:04"
    assert started_at("something-else") is None


RUN_ID = "20260102T030405Z_abcdef0_1234"


def view_in(folder: Path, status: str = "complete") -> ShownRun:
    header = {"run": RUN_ID, "experiment": "toy"}
    return ShownRun(Run(folder, header, [], {}, status))


def small(name: str) -> Table:
    frame = pd.DataFrame({"depth": [18], "step_seconds": [0.1]})
    return Table(name, f"Table {name}", frame, ["depth", "step_seconds"])


class View(Toy):
    """Shows what a test says."""

    def __init__(self) -> None:
        self.shown = Shown(
            json={},
            tables=[small("times"), small("ratios")],
            draw=lambda: {"time": theme.figure("T", width=2, height=2)},
        )

    def show(self, run: Run, others: OtherRuns) -> Shown:
        return self.shown


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> View:
    made = View()
    monkeypatch.setitem(EXPERIMENTS, "toy", made)
    return made


def test_tables_and_figures_are_written_beside_the_run(
    view: View, tmp_path: Path
) -> None:
    paths = publish(view_in(tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "table.md",
        "table.csv",
        "ratios.csv",
        "figures/time.png",
        "figures/time.svg",
    ]
    assert all(path.stat().st_size > 0 for path in paths)
    page = (tmp_path / "table.md").read_text()
    assert page.startswith(f"## toy: `{RUN_ID}`\n")
    assert "### Table times" in page
    assert "### Table ratios" in page


def test_what_must_be_known_of_a_run_stands_above_its_tables(
    view: View, tmp_path: Path
) -> None:
    view.shown = dataclasses.replace(view.shown, notices=["2 trainings diverged"])
    publish(view_in(tmp_path))
    page = (tmp_path / "table.md").read_text()
    assert page.index("- 2 trainings diverged\n\n") < page.index("### Table times")


def test_publishing_again_gives_the_same_files(view: View, tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in publish(view_in(tmp_path))}
    second = {path: path.read_bytes() for path in publish(view_in(tmp_path))}
    assert first == second


def test_a_partial_run_says_so_on_its_page(view: View, tmp_path: Path) -> None:
    publish(view_in(tmp_path, "partial"))
    assert "(partial)" in (tmp_path / "table.md").read_text().splitlines()[0]


def test_a_run_without_rows_writes_nothing(view: View, tmp_path: Path) -> None:
    view.shown = Shown(json={}, tables=[])
    assert publish(view_in(tmp_path)) == []


def test_a_folder_that_cannot_be_written_is_named(view: View, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputOutputError, match=r"cannot write .*table\.md"):
        publish(view_in(tmp_path / "file"))


def test_a_run_of_fewer_options_comes_first(tmp_path: Path) -> None:
    plain = store(tmp_path, speed_run(variants=(18,)), FIRST, ENVIRONMENT)
    ladder = ["speed", "--ladder", "-o", "elsewhere", "--color=never", "--wide", "-q"]
    asked = speed_run(variants=(18,), batch_size=(8,))
    store(tmp_path, asked, SECOND, ENVIRONMENT, argv=["speed", "--variants=18", "-b8"])
    store(tmp_path, asked, THIRD, {"machine_key": "other"}, argv=ladder)
    chosen = choose_runs(StoredRuns(tmp_path), ())
    assert [view.run.id for view in chosen.shown["speed"]] == [THIRD, FIRST, SECOND]
    assert plainest(chosen.complete, "degradation") is None
    found = plainest(chosen.complete, "speed")
    assert found is not None
    assert found.run.id == THIRD
    assert plain.name == FIRST
