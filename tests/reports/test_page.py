import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.commands.report import ReportConfig, make_report
from resnet_bench.errors import ExitCode, InputOutputError, UsageError
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.reports import page as pages
from resnet_bench.reports.page import Page, documents_from, html_page, page_of
from resnet_bench.reports.runs import choose_runs, publish
from resnet_bench.reports.stored import ShownRun, StoredRuns
from resnet_bench.store.format import encode
from resnet_bench.store.reading import read_lines, read_run
from tests.toys.page_runs import FORMAT, store_everything, store_spoiled
from tests.toys.speed_runs import ENVIRONMENT, store_speed_run

OUTPUT = Output(DisplayOptions(quiet=True))
FIRST = "20260102T030405Z_abcdef0_1111"
SECOND = "20260203T040506Z_abcdef0_2222"
THIRD = "20260304T050607Z_abcdef0_3333"
HOSTILE = "<script>alert(1)</script>"


class Outline(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if "id" in found:
            self.ids.append(str(found["id"]))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        for name in ("src", "href", "xlink:href", "action"):
            if name in found:
                self.links.append(str(found[name]))


def rendered(results: Path, *runs: str) -> str:
    config = ReportConfig(results=results, runs=runs)
    assert make_report(config, OUTPUT) == ExitCode.OK
    return (results / "report.html").read_text()


def store_small(results: Path, run: str, **environment: Any) -> Path:
    """Store a run with few figures to draw."""
    known = {**ENVIRONMENT, **environment}
    return store_speed_run(results, run, known, variants=(18,), mode="infer")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two machines, one of them with hostile strings, and a damaged one."""
    results = tmp_path_factory.mktemp("results")
    publish(ShownRun(read_run(store_speed_run(results, FIRST, variants=(18, 50)))))
    cpu = {"model": HOSTILE, "usable_cores": 2}
    hostile = {**ENVIRONMENT, "cpu": cpu, "machine_key": '"><img src=x>'}
    models: dict[str, Any] = {
        "variants": (18,),
        "model": (f"m:{HOSTILE}",),
        "mode": "infer",
    }
    store_speed_run(results, SECOND, hostile, **models)
    damaged = store_small(results, THIRD) / "run.jsonl"
    damaged.write_bytes(damaged.read_bytes()[50:])
    code = make_report(ReportConfig(results=results), OUTPUT)
    assert code == ExitCode.INCOMPLETE
    return results


@pytest.fixture(scope="module")
def page(site: Path) -> str:
    return (site / "report.html").read_text()


def test_the_page_asks_for_nothing_from_outside(page: str) -> None:
    links = Outline(page).links
    assert [link for link in links if not link.startswith(("#", "data:,"))] == []
    assert not re.search(r"url\((?!#)|@import", page)


def test_ids_are_unique_and_headings_skip_no_level(page: str) -> None:
    outline = Outline(page)
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.headings[0] == 1
    steps = zip(outline.headings, outline.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    assert outline.tags.count("svg") == 6


def test_strings_from_run_files_are_shown_as_text(page: str, site: Path) -> None:
    outline = Outline(page)
    assert outline.tags.count("script") == 1
    assert "img" not in outline.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in (site / "README.md").read_text()


def test_a_damaged_run_is_named_and_the_rest_is_rendered(page: str, site: Path) -> None:
    assert f"{THIRD}/run.jsonl: line 1 is damaged" in page
    assert f"{THIRD}/run.jsonl" in (site / "README.md").read_text()
    assert f"<code>{FIRST}</code>" in page


def test_runs_of_two_machines_stand_side_by_side(page: str) -> None:
    assert "from 2 machines" in page
    assert "Speed on AMD EPYC 7B13" in page
    assert "Speed on &lt;script&gt;" in page


def test_series_of_the_figures_can_be_highlighted(page: str) -> None:
    assert re.findall(r'data-highlight="(\w+)"', page) == ["18", "50"]
    assert '<tr data-series="50">' in page


def test_the_page_is_small_enough_to_be_shared(page: str) -> None:
    assert len(page.encode()) < 3_000_000


def test_results_as_markdown_link_to_figures_that_exist(site: Path) -> None:
    text = (site / "README.md").read_text()
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(links) == 3
    assert all((site / link).is_file() for link in links)
    assert "Rendered by `resnet-bench report`" in text


def test_an_empty_folder_says_what_to_run_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run 'resnet-bench speed' first"):
        make_report(ReportConfig(results=tmp_path), OUTPUT)


def test_a_run_that_is_named_is_shown_alone(tmp_path: Path) -> None:
    for run in (FIRST, SECOND):
        store_small(tmp_path, run)
    text = rendered(tmp_path, FIRST)
    assert FIRST in text
    assert SECOND not in text


def test_only_the_newest_run_of_a_machine_and_question_is_shown(
    tmp_path: Path,
) -> None:
    for run in (FIRST, SECOND):
        store_small(tmp_path, run)
    text = rendered(tmp_path)
    assert "1 of 2 runs shown in full" in text
    assert f"<code>{SECOND}</code>" in text
    assert f"<code>{FIRST}</code>" not in text
    assert FIRST in text


def test_a_partial_run_gives_way_to_a_complete_one(tmp_path: Path) -> None:
    store_small(tmp_path, FIRST)
    partial = store_small(tmp_path, SECOND) / "run.jsonl"
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(b"".join(lines[:-1]))
    text = rendered(tmp_path)
    assert f"<code>{FIRST}</code>" in text
    assert f"<code>{SECOND}</code>" not in text


def test_the_same_runs_give_the_same_page_wherever_it_goes(tmp_path: Path) -> None:
    store_small(tmp_path, FIRST)
    target = tmp_path / "new" / "page.html"
    config = ReportConfig(results=tmp_path, html=target)
    assert make_report(config, OUTPUT) == ExitCode.OK
    assert not (tmp_path / "report.html").exists()
    assert rendered(tmp_path) == target.read_text()


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    store_small(tmp_path, FIRST)
    config = ReportConfig(results=tmp_path, html=tmp_path / "speed")
    with pytest.raises(InputOutputError, match="cannot write"):
        make_report(config, OUTPUT)


def test_a_folder_of_damaged_runs_only_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = store_small(tmp_path, FIRST) / "run.jsonl"
    damaged.write_text("broken")
    with pytest.raises(InputOutputError, match=r"no run in .* can be read"):
        make_report(ReportConfig(results=tmp_path), OUTPUT)
    assert str(damaged) in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Every kind of run and figure, on one machine."""
    results = tmp_path_factory.mktemp("everything")
    store_everything(results)
    return page_of(choose_runs(StoredRuns(results), ()))


@pytest.fixture(scope="module")
def text(everything: Page) -> str:
    return html_page(everything)


def test_sections_follow_the_questions_of_a_reader(text: str) -> None:
    assert re.findall(r"<h2[^>]*>([^<]+)", text) == [
        "Summary",
        "Speed",
        "Degradation",
        "Fine-tuning",
        "Accuracy, time and memory",
        "Beside published figures",
        "Environments",
        "How each number was measured",
        "All runs",
    ]
    linked = re.findall(r'<a href="#([^"]+)"', text)
    assert {"r0001-speed", "r0006-finetune", "front"} <= set(linked)
    assert set(linked) <= set(Outline(text).ids)
    assert len(text.encode()) < 3_000_000


def test_the_page_shows_ladder_breakdown_and_sweep_by_themselves(text: str) -> None:
    for shown in ("The ladder", "by part of the network", "batch 32", "Accuracy after"):
        assert shown in text


def test_a_claim_stands_beside_the_tutorials_sentence_and_its_verdict(
    text: str,
) -> None:
    assert '<td lang="zh"' in text
    for shown in ("永远不会变差", "It never gets worse", 'data-verdict="SUPPORTED"'):
        assert shown in text


def test_runs_of_one_machine_share_a_front_and_keep_their_rows(
    everything: Page,
) -> None:
    (front,) = everything.fronts
    (budgets,) = everything.budgets
    assert len({run for row in front.table.rows for run in row["runs"]}) == 3
    assert any(row["worth_it"] for row in front.table.rows)
    assert budgets.rows[-1]["model"] == "ResNet-152"


def test_strings_of_every_field_are_shown_as_text(text: str, tmp_path: Path) -> None:
    """The tags of the page are those of the same runs with harmless strings."""
    store_spoiled(tmp_path, f"\"'>{HOSTILE}<img src=x>`![a](b)`")
    code = make_report(ReportConfig(results=tmp_path), OUTPUT)
    assert code == ExitCode.OK
    spoiled = (tmp_path / "report.html").read_text()
    outline, harmless = Outline(spoiled), Outline(text)
    assert set(outline.tags) <= {*harmless.tags, "h5"}
    assert "img" not in outline.tags
    assert outline.tags.count("script") == 1
    assert "&lt;script&gt;" in spoiled
    page = (tmp_path / "README.md").read_text()
    outside_code = re.sub(r"(`+).*?\1", "", page)
    assert "<script" not in outside_code
    assert "<img" not in outside_code


def string_fields(value: Any, name: str = "") -> set[str]:
    """Return the names of all fields that hold strings."""
    if isinstance(value, dict):
        return {
            name for key, each in value.items() for name in string_fields(each, key)
        }
    if isinstance(value, (list, tuple)):
        return {at for each in value for at in string_fields(each, name)}
    return {name} if isinstance(value, str) else set()


def with_field(value: Any, field: str, text: str, name: str = "") -> Any:
    """Return run content with `text` in every string of one field."""
    if isinstance(value, dict):
        return {key: with_field(each, field, text, key) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_field(each, field, text, name) for each in value]
    return value + text if isinstance(value, str) and name == field else value


def mutated(results: Path, field: str, text: str) -> Path:
    """Store a run with `text` in one field of every line, checksums and all."""
    path = store_small(results, FIRST) / "run.jsonl"
    lines = [with_field(line, field, text) for line in read_lines(path).lines]
    path.write_bytes(b"".join(encode(line, n) for n, line in enumerate(lines)))
    return path


def test_no_word_of_the_format_becomes_an_element(tmp_path: Path, text: str) -> None:
    known = set(Outline(text).tags)
    lines = read_lines(store_small(tmp_path, FIRST) / "run.jsonl").lines
    fields = (string_fields(lines) & FORMAT) - {"kind"}
    assert {"run", "experiment", "type", "device"} <= fields
    for field in sorted(fields):
        results = tmp_path / field
        mutated(results, field, f"\"'></script>{HOSTILE}<img src=x>")
        store_small(results, SECOND)
        make_report(ReportConfig(results=results, runs=(FIRST, SECOND)), OUTPUT)
        outline = Outline((results / "report.html").read_text())
        assert set(outline.tags) <= known, field
        assert outline.tags.count("script") == 1, field


def test_the_policy_allows_the_pages_own_script_only(text: str) -> None:
    policy = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)[0]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = hashlib.sha256(script.encode()).digest()
    source = f"'sha256-{base64.b64encode(digest).decode()}'"
    assert f"script-src {source};" in policy


def test_a_page_inside_of_the_project_links_to_the_tutorial(everything: Page) -> None:
    project = Path(pages.__file__).resolve().parents[2]
    assert documents_from(project / "results" / "report.html") == "../docs"
    assert documents_from(Path("/elsewhere/report.html")) == ""
    assert 'href="../docs/tutorial.md"' in html_page(everything, "../docs")


def test_refreshing_writes_tables_and_figures_beside_the_runs(tmp_path: Path) -> None:
    folder = store_small(tmp_path, FIRST)
    rendered(tmp_path)
    assert not (folder / "table.md").exists()
    assert "![" not in (tmp_path / "README.md").read_text()
    make_report(ReportConfig(results=tmp_path, refresh=True), OUTPUT)
    assert (folder / "table.md").is_file()
    assert list((folder / "figures").glob("*.png"))
    assert "![" in (tmp_path / "README.md").read_text()
