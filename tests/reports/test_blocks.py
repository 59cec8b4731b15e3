import os
import re
from pathlib import Path

import pytest

from resnet_bench.commands.report import ReportConfig, make_report
from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.reports.blocks import filled, page_filled
from resnet_bench.reports.runs import choose_runs
from resnet_bench.reports.stored import ShownRun, StoredRuns
from resnet_bench.store.folders import find_run
from resnet_bench.store.reading import read_run
from tests.experiments.degradation.synthetic import synthetic_run
from tests.toys.speed_runs import store_speed_run

FIRST = "20260102T030405Z_abcdef0_1111"
SECOND = "20260203T040506Z_abcdef0_2222"
EMPTY = (
    "Before.\n<!-- rendered begin: speed -->\n<!-- rendered end -->\n"
    "<!-- rendered begin: speed/phases -->\n<!-- rendered end -->\nAfter.\n"
)
REPOSITORY = Path(__file__).resolve().parents[2]


def kept(results: Path) -> list[ShownRun]:
    return choose_runs(StoredRuns(results), ()).complete


def runs_named(text: str) -> list[str]:
    """Return the run ids that the blocks of a page name, each once."""
    return list(dict.fromkeys(re.findall(r"From run \[`([^`]+)`\]", text)))


def page_as_named(page: Path, results: Path) -> str:
    """Return a page with its blocks rendered from the runs that it names."""
    text = page.read_text(encoding="utf-8")
    folders = [find_run(results, name) for name in runs_named(text)]
    return filled(text, [ShownRun(read_run(each)) for each in folders], page.parent)


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
    text = page_filled(readme, kept(readme.parent / "results"))
    assert text.startswith("Before.\n<!-- rendered begin: speed -->\n### Speed")
    assert text.endswith("<!-- rendered end -->\nAfter.\n")
    assert "| ResNet-50" in text
    assert f"](results/speed/{FIRST}/figures/phases.png)" in text
    assert runs_named(text) == [FIRST]


def test_a_pipe_is_no_page_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "README.md")
    with pytest.raises(InputOutputError, match="not a regular file"):
        page_filled(tmp_path / "README.md", [])


def test_rendering_a_block_again_changes_nothing(readme: Path) -> None:
    results = readme.parent / "results"
    config = ReportConfig(results=results, readme=(readme,))
    make_report(config, Output(DisplayOptions(quiet=True)))
    first = readme.read_text()
    assert first != EMPTY
    assert page_filled(readme, kept(results)) == first


def test_a_block_is_checked_against_the_runs_it_names(readme: Path) -> None:
    results = readme.parent / "results"
    readme.write_text(page_filled(readme, kept(results)))
    store_speed_run(results, SECOND, variants=(18, 50))
    assert page_as_named(readme, results) == readme.read_text()
    assert SECOND in page_filled(readme, kept(results))


def test_a_file_without_marks_is_refused(readme: Path) -> None:
    readme.write_text("no marks")
    with pytest.raises(UsageError, match="rendered begin"):
        page_filled(readme, kept(readme.parent / "results"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="cannot read"):
        page_filled(tmp_path / "none.md", [])


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_bytes(b"\xff\xfe")
    with pytest.raises(InputOutputError, match=r"page\.md: it is not UTF-8"):
        page_filled(tmp_path / "page.md", [])


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *("docs/tutorial.md", "docs/tutorial.zh.md"),
        *("docs/claims.md", "docs/degradation.md"),
    ],
)
def test_this_projects_pages_show_what_their_runs_hold(page: str) -> None:
    path = REPOSITORY / page
    text = path.read_text(encoding="utf-8")
    assert page_as_named(path, REPOSITORY / "results") == text
    assert "<!-- rendered begin" in text


def test_a_measured_block_shows_the_table_of_an_experiment(readme: Path) -> None:
    readme.write_text("<!-- rendered begin: speed -->\nold\n<!-- rendered end -->\n")
    text = page_filled(readme, kept(readme.parent / "results"))
    assert "old" not in text
    assert "| ResNet-50" in text
    assert runs_named(text) == [FIRST]
    readme.write_text(text)
    assert page_filled(readme, kept(readme.parent / "results")) == text


@pytest.mark.parametrize(
    ("what", "run"),
    [
        ("speed", SECOND),
        ("speed cpu", SECOND),
        ("speed --variants", SECOND),
        ("speed/phases cpu", SECOND),
        ("speed cuda", None),
        ("speed cpu --ladder", None),
    ],
)
def test_a_block_asks_for_a_device_and_options(
    readme: Path, what: str, run: str | None
) -> None:
    folder = store_speed_run(readme.parent / "results", SECOND, variants=(18,))
    (folder / "figures").mkdir()
    (folder / "figures" / "phases.png").touch()
    readme.write_text(f"<!-- rendered begin: {what} -->\n<!-- rendered end -->\n")
    text = page_filled(readme, kept(readme.parent / "results"))
    assert runs_named(text) == ([] if run is None else [run])
    assert ("Not measured" in text) is (run is None)


def test_a_measured_block_without_a_run_says_so(readme: Path) -> None:
    mark = "<!-- rendered begin: depth-degradation -->\n<!-- rendered end -->\n"
    readme.write_text(mark)
    assert "Not measured" in page_filled(readme, kept(readme.parent / "results"))


def test_a_measured_block_shows_the_verdicts_of_claims(tmp_path: Path) -> None:
    run = synthetic_run()
    text = filled(
        "<!-- rendered begin: depth-degradation, gradients-vanish -->\n"
        "<!-- rendered end -->",
        [ShownRun(run)],
        tmp_path,
    )
    assert "- **SUPPORTED**: After" in text
    assert "&lt; 0.1" in text
    assert f"From run [`{run.id}`]" in text
