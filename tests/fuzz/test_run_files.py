"""Run files that somebody changed: refused by name, or shown; never an internal error.

A change keeps checksums and numbers of lines right, as somebody's program would; others
damage bytes, as a disk would.
"""

import copy
import math
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resnet_bench import cli
from resnet_bench.errors import ExitCode, ResnetBenchError
from resnet_bench.reports.listing import list_of_runs
from resnet_bench.reports.runs import markdown_page
from resnet_bench.reports.stored import StoredRuns
from resnet_bench.store.format import encode
from resnet_bench.store.reading import RUN_FILE, read_lines
from tests.experiments.degradation.synthetic import synthetic_run
from tests.experiments.finetune.stored import resolved, stored_run
from tests.toys.speed_runs import ENVIRONMENT, speed_run, store

#: Numbers such as 1e299 overflow in a variance.
pytestmark = pytest.mark.filterwarnings("ignore")

Lines = list[dict[str, Any]]

REPOSITORY = Path(__file__).resolve().parents[2]
GOOD = "20260102T030405Z_abcdef0_1111"
ODD_RUN = "20260203T040506Z_abcdef0_2222"

ODD: tuple[Any, ...] = (
    *(None, True, math.nan, math.inf, -1, 0, 10**19, 10**299, 10**400, 1e-320),
    *("", "x", "\x1b[31m", "<script>", "=1+1", "$x_{$", "\n", "18", "é" * 300),
    *([], [[]], [None], {}, {"a": {}}, [1.0] * 7, {"_number": "NaN"}),
)


def small_runs(folder: Path) -> dict[str, Path]:
    """Return the file of a small whole run of each kind that is shown."""
    made = {
        "speed": speed_run(variants=(18,), batch_size=(1, 2)),
        "degradation": synthetic_run(
            depths=(8,), seeds=2, study=("depth", "gradients", "response")
        ),
        "finetune": stored_run(resolved(variants=(18,))),
    }
    files = {
        name: store(folder, run, GOOD, ENVIRONMENT) / RUN_FILE
        for name, run in made.items()
    }
    for name in ("check", "noise", "pretrain"):
        kept = (REPOSITORY / "results").glob(f"{name}/*/{RUN_FILE}")
        smallest = min(kept, key=lambda path: path.stat().st_size, default=None)
        if smallest is not None:
            files[name] = smallest
    return files


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container within a value with each key or index of it."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def replace_value(lines: Lines, chance: random.Random) -> None:
    container, key = chance.choice(list(places(chance.choice(lines))))
    container[key] = copy.deepcopy(chance.choice(ODD))


def remove_value(lines: Lines, chance: random.Random) -> None:
    container, key = chance.choice(list(places(chance.choice(lines))))
    del container[key]


def exchange_values(lines: Lines, chance: random.Random) -> None:
    """Put one value of a line where another one stood."""
    line = chance.choice(lines)
    (one, first), (other, second) = chance.choices(list(places(line)), k=2)
    other[second] = copy.deepcopy(one[first])


def change_lines(lines: Lines, chance: random.Random) -> None:
    """Lose, double or exchange whole lines."""
    one, other = (chance.randrange(len(lines)) for _ in range(2))
    lines[one] = copy.deepcopy(lines[other])
    if chance.random() < 0.5:
        del lines[chance.randrange(len(lines))]


CHANGES: tuple[Callable[[Lines, random.Random], None], ...] = (
    *(replace_value, replace_value, replace_value),
    *(remove_value, exchange_values, change_lines),
)


def changed(kept: bytes, chance: random.Random) -> bytes:
    """Return a run file of pickled lines with some changes, or damaged bytes."""
    lines: Lines = pickle.loads(kept)  # many times as fast as to copy them
    for _ in range(chance.choice((1, 1, 2, 3))):
        if lines:
            chance.choice(CHANGES)(lines, chance)
    raw = bytearray(b"".join(encode(line, n) for n, line in enumerate(lines)))
    if raw and chance.random() < 0.05:
        raw[chance.randrange(len(raw))] = chance.randrange(256)
        del raw[chance.randrange(len(raw)) :]
    return bytes(raw)


def examine(folder: Path) -> bool:
    """Read and show a run as `list`, `show` and `table.md` do; say if it was shown."""
    results = folder.parent.parent
    list_of_runs(results)
    try:
        view = StoredRuns(results).read(folder)
        _ = view.shown.json
        markdown_page(view)
    except ResnetBenchError:
        return False
    return True


def report_shows_the_rest(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hold the commands that read all runs to what is promised."""
    for command in (
        ["report", "--refresh", "-o", str(results)],
        ["list", "--wide", "-o", str(results)],
        ["show", ODD_RUN, "-o", str(results)],
        ["recommend", "--latency-ms", "1000", "-o", str(results)],
        ["compare", GOOD, ODD_RUN, "-o", str(results)],
    ):
        capsys.readouterr()
        code = cli.run(command)
        out, err = capsys.readouterr()
        assert code in set(ExitCode), (command, err)
        assert "Traceback" not in out + err
        assert "internal error" not in err
        if command[0] == "report":
            assert code in (ExitCode.OK, ExitCode.INCOMPLETE), err
            assert GOOD in (results / "report.html").read_text()


def fuzz(
    seed: int,
    count: int,
    reports: int,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = small_runs(folder / "good")
    results = folder / "results"
    good = store(results, speed_run(variants=(18,), mode="infer"), GOOD, ENVIRONMENT)
    assert good.exists()
    kept = {name: pickle.dumps(read_lines(path).lines) for name, path in files.items()}
    chance = random.Random(seed)
    shown = 0
    for number in range(count):
        name = chance.choice(list(files))
        raw = changed(kept[name], chance)
        odd = results / name / ODD_RUN
        odd.mkdir(parents=True, exist_ok=True)
        (odd / RUN_FILE).write_bytes(raw)
        try:
            shown += examine(odd)
            if number % (count // reports) == 0:
                report_shows_the_rest(results, capsys)
        except BaseException:
            (folder / f"failed-{seed}-{number}.jsonl").write_bytes(raw)
            raise
        (odd / RUN_FILE).unlink()
    assert count / 20 < shown < count


def test_changed_run_files_are_refused_by_name_or_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fuzz(0, 60, 1, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_any_of_many_changed_run_files_is_refused_by_name_or_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fuzz(1, 2000, 4, tmp_path, capsys)
