"""docs/promises.md names the test of each promise, and the tests exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PROMISES = (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8")
SECTIONS = {
    part.partition("\n")[0]: part.partition("\n")[2]
    for part in PROMISES.split("\n## ")[1:]
}

#: A test, or a file of tests, as the document names it.
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`")


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_test_that_a_promise_names_exists() -> None:
    named = NAMED.findall(PROMISES)
    assert len(named) > 40
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (TESTS / file).is_file()
        or (name and name not in functions_of(TESTS / file))
    ]
    assert not missing


def test_every_promise_names_a_test() -> None:
    kept = {name: text for name, text in SECTIONS.items() if name != "Not promised"}
    items = [
        item
        for text in kept.values()
        for item in re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    ]
    rows = re.findall(r"^\|(?! what|---).*", kept["Retried"], flags=re.MULTILINE)
    assert len(items) > 25
    assert [each for each in [*items, *rows] if not NAMED.search(each)] == []
