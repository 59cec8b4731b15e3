"""Every command in the README is one that the command line understands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from resnet_bench import cli
from resnet_bench.catalogue import RUNTIMES
from resnet_bench.engine.machine import collect
from resnet_bench.engine.runtimes.base import missing_packages
from resnet_bench.errors import ExitCode
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.options import given
from resnet_bench.store.reading import RUN_FILE
from tests.toys.speed_runs import ENVIRONMENT, store_speed_run

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = (REPOSITORY / "README.md", REPOSITORY / "docs" / "continuous-integration.md")
SHOWN = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
RUNS = ("20260102T030405Z_abcdef0_1111", "20260203T040506Z_abcdef0_2222")
TEXT = re.sub(r"<!--.*?-->", "", SHOWN)


def command_lines() -> list[str]:
    """Return what follows `resnet-bench` in code blocks and in inline code."""
    in_blocks = re.findall(r"^resnet-bench (.+?)\s*(?:#.*)?$", TEXT, re.MULTILINE)
    inline = re.findall(r"`resnet-bench ([^`]+)`", TEXT)
    return list(dict.fromkeys([*in_blocks, *inline]))


def commands_of_the_tool() -> list[str]:
    return cli.commands.list_commands(click.Context(cli.commands))


@pytest.mark.parametrize("line", command_lines())
def test_readme_shows_only_commands_that_parse(line: str) -> None:
    name, *arguments = shlex.split(line)
    command = cli.commands.get_command(click.Context(cli.commands), name)
    assert command is not None, f"no command {name}"
    context = command.make_context(name, arguments)
    if name in EXPERIMENTS:
        config_class = EXPERIMENTS[name].config
        assert config_class(**given(config_class, context.params))


MODEL = """
from torch import nn

def function():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
"""

#: These measure pairs of processes for minutes; .ci/run tries them for real.
TRIED_ELSEWHERE = frozenset({"check", "noise"})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results: two runs to read, the newest of them cut short."""
    folder = tmp_path_factory.mktemp("workspace")
    here = {**ENVIRONMENT, "machine_key": collect()["machine_key"]}
    for run in RUNS:
        newest = store_speed_run(
            folder / "results", run, here, variants=(18, 50), batch_size=(1,)
        )
    lines = (newest / RUN_FILE).read_bytes().splitlines(keepends=True)
    (newest / RUN_FILE).write_bytes(b"".join(lines[:-3]))
    (folder / "package").mkdir()
    (folder / "package" / "module.py").write_text(MODEL)
    return folder


def carried_out(line: str) -> list[str]:
    """Return the words of a README line, with runs that exist; nothing is measured."""
    kept = [word for word in shlex.split(line) if word != "--measure"]
    words = [RUNS[0] if word == "RUN" else word for word in kept]
    dry = ["--dry-run", "--executor", "inline"] if words[0] in EXPERIMENTS else []
    return [*words, *(word for word in dry if word not in words)]


@pytest.mark.parametrize(
    "line",
    [line for line in command_lines() if line.split()[0] not in TRIED_ELSEWHERE],
)
def test_readme_shows_only_commands_that_run(
    line: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.syspath_prepend(workspace)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    if "--runtime" in line and any(map(missing_packages, RUNTIMES)):
        pytest.skip("needs the extra runtimes")
    assert cli.run(carried_out(line)) == ExitCode.OK


@pytest.mark.parametrize("name", commands_of_the_tool())
def test_readme_shows_every_command(name: str) -> None:
    assert any(line.split()[0] == name for line in command_lines())


@pytest.mark.parametrize("name", commands_of_the_tool())
def test_help_of_every_command_ends_with_two_examples_that_parse(name: str) -> None:
    command = cli.commands.get_command(click.Context(cli.commands), name)
    assert command is not None
    _, _, examples = (command.epilog or "").partition("Examples:\n")
    lines = examples.splitlines()
    assert len(lines) == 2
    for line in lines:
        program, shown, *arguments = shlex.split(line)
        assert (program, shown) == (cli.PROGRAM, name)
        assert command.make_context(name, arguments)


DOCUMENTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]


def anchors_of(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings
    }


def links() -> list[tuple[Path, str, str]]:
    """Return the links between files: the document, the file and the anchor."""
    return [
        (document, *target.partition("#")[::2])
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)\s]+)", document.read_text("utf-8"))
        if "://" not in target
    ]


def test_links_of_the_documents_lead_to_files() -> None:
    broken = [link for link in links() if not (link[0].parent / link[1]).exists()]
    assert not broken


def test_anchors_in_the_documents_lead_to_headings() -> None:
    anchored = [link for link in links() if link[2]]
    assert len(anchored) > 3
    broken = [
        (document.name, file, anchor)
        for document, file, anchor in anchored
        if anchor not in anchors_of(document.parent / file if file else document)
    ]
    assert not broken
