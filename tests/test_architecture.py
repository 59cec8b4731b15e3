"""Holds the source to the table of allowed imports, the sizes and the banned patterns.

The table: which third-party packages a file may import when it is itself imported
(`at_import`), and which it may import later, inside functions (`deferred`). Imports
under `if TYPE_CHECKING:` never run, so only their direction is checked.
"""

from __future__ import annotations

import ast
import fnmatch
import functools
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "resnet_bench"
MAX_FUNCTION_LINES = 45

MEASURING = frozenset(
    {
        "torch",
        "torchvision",
        "PIL",  # what torchvision decodes images with
        "safetensors",
        "sklearn",
        "threadpoolctl",
        "numpy",
        "psutil",
    }
)
SHOWING = frozenset(
    [
        "numpy",
        "scipy",
        "pandas",
        "seaborn",
        "matplotlib",
        "PIL",
        "rich",
        "jinja2",
        "tabulate",
    ]
)
RUNTIMES = frozenset({"onnx", "onnxruntime", "openvino"})
NOT_FOR_START_UP = MEASURING | SHOWING | RUNTIMES | {"ray"}
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Row:
    """The third-party packages that the files of one pattern may import."""

    pattern: str
    at_import: frozenset[str] = NOTHING
    deferred: frozenset[str] = NOTHING


# The first pattern that fits a file counts.
TABLE = (
    Row("gate/worker.py", at_import=frozenset({"torch"})),
    Row("gate/default_subject.py", at_import=MEASURING),
    Row("execution/ray.py", at_import=frozenset({"ray"})),
    Row("execution/*", deferred=frozenset({"torch"})),
    Row("engine/runtimes/*", at_import=MEASURING | RUNTIMES),
    Row("engine/*", at_import=MEASURING, deferred=frozenset({"pynvml"})),
    Row("experiments/*/run.py", at_import=MEASURING),
    Row("experiments/degradation/studies/*", deferred=MEASURING),
    Row("experiments/*/measures/*", at_import=MEASURING),
    Row("experiments/*/view.py", at_import=SHOWING),
    Row("experiments/*/view/*", at_import=SHOWING),
    Row("experiments/degradation/claims/*", at_import=SHOWING),
    Row("statistics/intervals.py"),
    Row("statistics/levels.py", at_import=SHOWING, deferred=frozenset({"ruptures"})),
    Row("statistics/*", at_import=SHOWING),
    Row("present/*", at_import=SHOWING),
    Row("reports/*", at_import=SHOWING),
    Row("gate/*", at_import=SHOWING, deferred=frozenset({"psutil"})),
    Row("output.py", deferred=frozenset({"rich"})),
    Row("commands/*", deferred=frozenset({"rich", "torch"})),
    Row("cli.py", at_import=frozenset({"click"})),
    Row("options.py", at_import=frozenset({"click"})),
    Row("*"),
)

# From high to low: a place imports its own line and those below it, never one above.
ORDER = (
    ("cli.py", "__main__.py"),
    ("__init__.py",),  # what notebooks import
    ("commands/*",),
    ("reports/*",),
    ("gate/*",),
    ("experiments/*",),
    ("present/*",),
    ("execution/*",),
    ("store/*",),
    ("engine/*",),
    ("statistics/*",),
    ("*",),
)

# Never imported by these files, neither at import nor inside a function.
MEASURES = ("click", "pandas", "resnet_bench.store")
SHOWS = ("torch", "torchvision", "resnet_bench.engine")
NEVER_INSIDE = (
    ("engine/*", MEASURES),
    ("experiments/*/run.py", MEASURES),
    ("*/measures/*", MEASURES),
    ("*/studies/*", MEASURES),
    ("statistics/*", SHOWS),
    ("present/*", SHOWS),
    ("reports/*", SHOWS),
    ("*/view.py", SHOWS),
    ("*/view/*", SHOWS),
    ("gate/worker.py", ("resnet_bench",)),
)


class When(Enum):
    """When an import statement runs."""

    AT_IMPORT = "at import"
    DEFERRED = "inside a function"
    NEVER = "for type checkers only"


@dataclass(frozen=True)
class Import:
    """One imported module name, dotted and absolute."""

    name: str
    when: When
    line: int

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


MODULES = sorted(PACKAGE.rglob("*.py"))


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def dotted(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


BY_NAME = {dotted(path): path for path in MODULES}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def imports_of(path: Path) -> tuple[Import, ...]:
    return tuple(walk_imports(tree_of(path), path, When.AT_IMPORT))


def walk_imports(node: ast.AST, path: Path, when: When) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for name in names_of(child, path):
                yield Import(name, when, child.lineno)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from walk_imports(child, path, max_when(when, When.DEFERRED))
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            body = ast.Module(body=child.body, type_ignores=[])
            yield from walk_imports(body, path, When.NEVER)
            otherwise = ast.Module(body=child.orelse, type_ignores=[])
            yield from walk_imports(otherwise, path, when)
        else:
            yield from walk_imports(child, path, when)


def max_when(first: When, second: When) -> When:
    order = list(When)
    return max(first, second, key=order.index)


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def names_of(node: ast.Import | ast.ImportFrom, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        package = dotted(path.parent / "__init__.py").split(".")
        kept = package[: len(package) - node.level + 1]
        base = ".".join([*kept, base] if base else kept)
    yield base
    for alias in node.names:
        if f"{base}.{alias.name}" in BY_NAME:
            yield f"{base}.{alias.name}"


@functools.cache
def third_party(path: Path) -> tuple[Import, ...]:
    known = sys.stdlib_module_names | {"resnet_bench", "__future__"}
    return tuple(item for item in imports_of(path) if item.top not in known)


@functools.cache
def row_of(path: Path) -> Row:
    return next(row for row in TABLE if fnmatch.fnmatch(inside(path), row.pattern))


@functools.cache
def line_of(path: Path) -> int:
    """Return how far down in ORDER a file stands."""
    return next(
        number
        for number, patterns in enumerate(ORDER)
        if any(fnmatch.fnmatch(inside(path), pattern) for pattern in patterns)
    )


@functools.cache
def loaded_with(path: Path) -> frozenset[Path]:
    """Return every file of the package that importing `path` imports as well."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        names = {i.name for i in imports_of(current) if i.when is When.AT_IMPORT}
        names.add(dotted(current))
        waiting += [BY_NAME[part] for name in names for part in with_parents(name)]
    return frozenset(found)


def with_parents(name: str) -> Iterator[str]:
    while name:
        if name in BY_NAME:
            yield name
        name = name.rpartition(".")[0]


def test_files_import_only_the_packages_their_row_allows() -> None:
    assert not [
        f"{inside(path)}:{item.line} imports {item.name} {item.when.value}"
        for path in MODULES
        for item in third_party(path)
        if item.when is not When.NEVER
        and item.top not in packages_allowed(row_of(path), item.when)
    ]


def packages_allowed(row: Row, when: When) -> frozenset[str]:
    return row.at_import if when is When.AT_IMPORT else row.at_import | row.deferred


def test_files_stay_as_light_as_their_row_with_all_that_they_import() -> None:
    # click comes with the option declarations, which every spec.py needs.
    assert not {
        f"{inside(path)} loads {item.name} through {inside(other)}"
        for path in MODULES
        for other in loaded_with(path)
        for item in third_party(other)
        if item.when is When.AT_IMPORT
        and item.top not in row_of(path).at_import | {"click"}
    }


def neighbours(path: Path) -> set[Path]:
    """Return the package's files that a file imports, at whatever time."""
    return {BY_NAME[item.name] for item in imports_of(path) if item.name in BY_NAME}


def test_no_file_imports_a_line_above_its_own() -> None:
    assert not [
        f"{inside(path)} imports {inside(other)}"
        for path in MODULES
        for other in sorted(neighbours(path))
        if line_of(other) < line_of(path)
    ]


def test_no_files_import_each_other_even_by_way_of_others() -> None:
    graph = {path: neighbours(path) - {path} for path in MODULES}
    sorter = graphlib.TopologicalSorter(graph)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(inside(path) for path in error.args[1]))


def test_no_file_imports_what_its_place_rules_out() -> None:
    assert not [
        f"{inside(path)}:{item.line} imports {item.name}"
        for path in MODULES
        for pattern, names in NEVER_INSIDE
        if fnmatch.fnmatch(inside(path), pattern)
        for item in imports_of(path)
        if any(f"{item.name}.".startswith(f"{name}.") for name in names)
    ]


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function of the package with where it stands."""
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{inside(path)}:{node.lineno} {node.name}", node


def test_functions_are_short() -> None:
    assert not [
        f"{where} has {lines} lines"
        for where, node in functions()
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def test_functions_return_no_tuple_longer_than_two() -> None:
    assert not [
        f"{where} -> {ast.unparse(node.returns)}"
        for where, node in functions()
        if node.returns is not None and is_long_tuple(node.returns)
    ]


def is_long_tuple(returns: ast.expr) -> bool:
    return (
        isinstance(returns, ast.Subscript)
        and ast.unparse(returns.value) == "tuple"
        and isinstance(returns.slice, ast.Tuple)
        and len(returns.slice.elts) > 2
    )


def test_no_file_has_a_banned_pattern() -> None:
    assert not [
        f"{inside(path)}:{line} {reason}"
        for path in MODULES
        for node in ast.walk(tree_of(path))
        for line, reason in banned(node, path)
    ]


def banned(node: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Assert):
        yield node.lineno, "assert: raise an error of resnet_bench.errors"
    # Where a cell runs, whatever it raises is a result: it is kept and reported.
    boundaries = ("execution/inline.py", "execution/processes.py")
    if (
        isinstance(node, ast.ExceptHandler)
        and inside(path) not in boundaries
        and (node.type is None or ast.unparse(node.type) == "Exception")
    ):
        yield node.lineno, "except Exception: name the errors that are expected"
    if isinstance(node, ast.Call):
        reason = banned_call(ast.unparse(node.func), path)
        if reason:
            yield node.lineno, reason


def banned_call(called: str, path: Path) -> str | None:
    reasons = {
        "time.time": "time.time: use time.perf_counter",
        "kwargs.pop": "kwargs.pop: name the parameters",
        "exec": "exec: write the code",
        "eval": "eval: write the code",
    }
    # worker.py is a program of its own, started by its path.
    programs = ("__main__.py", "gate/worker.py")
    if inside(path) not in programs:
        reasons["sys.exit"] = "sys.exit: raise, and let the command line exit"
    return reasons.get(called)


def test_every_file_has_a_name_that_says_what_is_in_it() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "handler", "misc"}
    assert not vague & {path.stem for path in MODULES}


def loaded_packages(statements: str) -> set[str]:
    """Return the packages too heavy for start-up that a fresh process has loaded."""
    report = f"import sys; print(*({set(NOT_FOR_START_UP)!r} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", f"{statements}\n{report}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(answer.stdout.splitlines()[-1].split())


def loaded_by(*arguments: str) -> set[str]:
    return loaded_packages(
        "import contextlib, runpy, sys\n"
        f"sys.argv = {['resnet-bench', *arguments]!r}\n"
        "with contextlib.suppress(SystemExit):\n"
        "    runpy.run_module('resnet_bench', run_name='__main__')\n"
        "print()\n"
    )


def test_help_loads_nothing_heavy() -> None:
    assert loaded_by("--help") == set()


def test_a_list_of_runs_loads_what_a_table_needs() -> None:
    allowed = {"numpy", "pandas", "rich", "tabulate"}
    assert loaded_by("list", "-o", "results") <= allowed
