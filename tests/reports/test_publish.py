import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from resnet_bench.errors import InputOutputError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.base import OtherRuns
from resnet_bench.present import theme
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.reports import runs as publishing
from resnet_bench.reports.shown import ShownRun
from resnet_bench.store.reading import Run
from tests.toys.toy import Toy

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
    paths = publishing.publish(view_in(tmp_path))
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
    publishing.publish(view_in(tmp_path))
    page = (tmp_path / "table.md").read_text()
    assert page.index("- 2 trainings diverged\n\n") < page.index("### Table times")


def test_publishing_again_gives_the_same_files(view: View, tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in publishing.publish(view_in(tmp_path))}
    second = {path: path.read_bytes() for path in publishing.publish(view_in(tmp_path))}
    assert first == second


def test_a_partial_run_says_so_on_its_page(view: View, tmp_path: Path) -> None:
    publishing.publish(view_in(tmp_path, "partial"))
    assert "(partial)" in (tmp_path / "table.md").read_text().splitlines()[0]


def test_a_run_without_rows_writes_nothing(view: View, tmp_path: Path) -> None:
    view.shown = Shown(json={}, tables=[])
    assert publishing.publish(view_in(tmp_path)) == []


def test_a_folder_that_is_gone_is_named(view: View, tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match=r"cannot write .*table\.md"):
        publishing.publish(view_in(tmp_path / "gone"))
