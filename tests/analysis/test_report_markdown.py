from pathlib import Path

import pytest

from resnet_bench.analysis.report import make_report
from resnet_bench.analysis.report_markdown import (
    block_of,
    blocks_filled,
    runs_of_block,
)
from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.readers import ReportConfig
from tests.toys.speed_runs import store_speed_run

FIRST = "20260102T030405Z_abcdef0_1111"
SECOND = "20260203T040506Z_abcdef0_2222"
EMPTY = "Before.\n<!-- results begin -->\n<!-- results end -->\nAfter.\n"
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    """A README beside results; figures are only linked, so an empty file will do."""
    folder = store_speed_run(tmp_path / "results", FIRST, variants=(18, 50))
    (folder / "figures").mkdir()
    (folder / "figures" / "phases.png").touch()
    path = tmp_path / "README.md"
    path.write_text(EMPTY)
    return path


def test_a_block_holds_table_figure_and_run_id(readme: Path) -> None:
    text = blocks_filled(readme, readme.parent / "results")
    assert text.startswith("Before.\n<!-- results begin: rendered by")
    assert text.endswith("<!-- results end -->\nAfter.\n")
    assert "| ResNet-50" in text
    assert f"](results/speed/{FIRST}/figures/phases.png)" in text
    assert runs_of_block(text) == [FIRST]


def test_rendering_a_block_again_changes_nothing(readme: Path) -> None:
    results = readme.parent / "results"
    config = ReportConfig(results=results, readme=readme)
    make_report(config, Output(DisplayOptions(quiet=True)))
    first = readme.read_text()
    assert first != EMPTY
    assert blocks_filled(readme, results) == first


def test_a_block_is_checked_against_the_runs_it_names(readme: Path) -> None:
    results = readme.parent / "results"
    readme.write_text(blocks_filled(readme, results))
    store_speed_run(results, SECOND, variants=(18, 50))
    assert block_of(readme, results) in readme.read_text()
    assert SECOND in blocks_filled(readme, results)


def test_a_file_without_marks_is_refused(readme: Path) -> None:
    readme.write_text("no marks")
    with pytest.raises(UsageError, match="results begin"):
        blocks_filled(readme, readme.parent / "results")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="cannot read"):
        blocks_filled(tmp_path / "none.md", tmp_path)


def test_this_projects_readme_shows_what_its_runs_hold() -> None:
    readme = REPOSITORY / "README.md"
    assert block_of(readme, REPOSITORY / "results") in readme.read_text()
