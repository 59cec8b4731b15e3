"""An experiment, a study, its claim, a place to run and a runtime: one place each.

The steps are those of the table in CONTRIBUTING.md: each is a new file or folder, and a
row in a table that is there. Nothing else of the package is touched.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.errors import ExitCode

PACKAGE = Path(__file__).resolve().parent.parent / "resnet_bench"

EXPERIMENT = {
    "spec.py": """
from dataclasses import dataclass
from resnet_bench.options import Options, option
from resnet_bench.records import Cell, Record, measured

@dataclass(frozen=True, kw_only=True)
class Config(Options):
    tosses: int = option(3, help="Tosses per coin.", minimum=1)

@dataclass(frozen=True, kw_only=True)
class CoinCell(Cell):
    tosses: int

@dataclass(frozen=True, kw_only=True)
class Toss(Record):
    heads: int = measured(unit="1", better="neither")
""",
    "run.py": """
from resnet_bench.experiments.coin.spec import Toss

def run(cell, ranks):
    for toss in range(cell.tosses):
        yield Toss(heads=toss % 2)
""",
    "view.py": """
import pandas as pd
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table

def show(run, others):
    rows = [{"heads": row["heads"]} for row in run.rows("toss")]
    table = Table("table", "Coins tossed", pd.DataFrame(rows), ["heads"])
    return Shown(json={"run": run.id, "rows": rows}, tables=[table])
""",
    "__init__.py": """
from resnet_bench.experiments.base import Experiment
from resnet_bench.experiments.coin.spec import CoinCell, Config, Toss

class Coin(Experiment[Config, CoinCell]):
    name = "coin"
    title = "Coins"
    config = Config
    records = (Toss,)
    examples = ("coin", "coin --tosses 5")

    def expand(self, config):
        return [CoinCell(tosses=config.tosses)]

    def run(self, cell, ranks):
        from resnet_bench.experiments.coin.run import run
        return run(cell, ranks)

    def show(self, run, others):
        from resnet_bench.experiments.coin.view import show
        return show(run, others)
""",
}

STUDY = """
from dataclasses import dataclass, replace
from resnet_bench.experiments.degradation.studies.base import Study
from resnet_bench.records import Record, measured

@dataclass(frozen=True, kw_only=True)
class LayerCount(Record):
    layers: int = measured(unit="1", better="neither", exact=True)

class Layers(Study):
    name = "layers"
    question = "how many layers does a network have?"
    records = (LayerCount,)

    def networks(self, grid):
        yield replace(grid.base, task="layers", depth=grid.reference)

    def examine(self, cell):
        yield LayerCount(layers=cell.depth)
"""

CLAIM = """
    Claim(
        name="layers-counted",
        study="layers",
        title="layers are counted",
        sentence="A network has the layers that its name says.",
        refuted="A network has other layers than its name says.",
        lesson=NOT_OVERFITTING,
        criteria=(Criterion(LAYERS, ABOVE, 0.0),),
        cases=lambda evidence: [Case()],
    ),
"""

STATISTIC = """
def _layers(evidence, case):
    return {row["seed"]: row["layers"] for row in evidence.rows(LayerCount)}

LAYERS = Statistic("number of layers", _layers, rule=Rule.WORST)
"""

EXECUTOR = """
from resnet_bench.execution.inline import InlineExecutor

class LoudExecutor(InlineExecutor):
    def run(self, job):
        print("loudly:", len(job.tasks), "cells")
        return super().run(job)
"""

#: Computes operator by operator in NumPy, with what comes with onnx.
RUNTIME = """
import torch
from onnx.reference import ReferenceEvaluator
from resnet_bench.engine.runtimes.base import Loaded
from resnet_bench.engine.runtimes.onnx_files import INPUT, OUTPUT

def check(terms):
    pass

def load(path, terms):
    network = ReferenceEvaluator(str(path))

    def call(images):
        (logits,) = network.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(logits)

    return Loaded(call, {"threads": str(terms.threads)})
"""

MODEL = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
"""

needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxscript"))), reason="needs the extra runtimes"
)

TIMED = [
    [
        *("speed", "--model", "small:build", "--runtime", "torch,reference"),
        *("--image-size", "8", "--batch-size", "2", "--device", "cpu"),
        *("--threads", "1", "--budget", "60", "--precision", "0.5"),
    ],
    ["show", "latest", "--export-json", "speed.json"],
]

#: Carries out command lines, one after the other, in one process.
DRIVER = """
import json, sys
from resnet_bench.cli import run
codes = [run(line) for line in json.loads(sys.argv[1])]
sys.exit(max(codes))
"""


def insert(path: Path, before: str, text: str) -> None:
    """Put text into a file, in front of what is there once."""
    content = path.read_text(encoding="utf-8")
    assert content.count(before) == 1, f"{path.name}: {before!r}"
    path.write_text(content.replace(before, text + before), encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the additions, in which all of them were run."""
    folder = tmp_path_factory.mktemp("workspace")
    package = folder / "resnet_bench"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    add_an_experiment(package / "experiments")
    add_a_study(package / "experiments" / "degradation")
    add_a_place_to_run(package / "execution")
    add_a_runtime(package, folder)
    study = ["--study", "layers", "--depths", "8,20", "--device", "cpu"]
    lines = [
        ["coin", "--executor", "loud", "--tosses", "4"],
        ["show", "latest", "--export-json", "coin.json"],
        ["degradation", *study, "--executor", "inline", "--profile", "quick"],
        ["show", "latest", "--export-json", "study.json"],
        ["report"],
    ]
    (folder / "said").write_text(carry_out(lines, folder), encoding="utf-8")
    return folder


def carry_out(
    lines: list[list[str]], folder: Path, accepted: Sequence[int] = (ExitCode.OK,)
) -> str:
    """Carry out command lines where the copy of the package is; return the output."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(lines)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in accepted, done.stderr
    return done.stdout


def add_an_experiment(experiments: Path) -> None:
    (experiments / "coin").mkdir()
    for name, text in EXPERIMENT.items():
        (experiments / "coin" / name).write_text(text)
    rows = experiments / "__init__.py"
    row = 'Row("coin", "Toss coins.", f"{HOME}.coin:Coin"),'
    insert(rows, '    Row(\n        "speed"', f"    {row}\n")


def add_a_study(degradation: Path) -> None:
    (degradation / "studies" / "layers.py").write_text(STUDY)
    home = "resnet_bench.experiments.degradation"
    rows = degradation / "studies" / "__init__.py"
    insert(rows, "\nROWS", f"from {home}.studies.layers import Layers\n")
    insert(rows, "    AnySize(),\n", "    Layers(),\n")
    claims = degradation / "claims" / "claims.py"
    names = f"from {home}.claims.evidence import Case\n"
    names += f"from {home}.claims.rules import Rule, Statistic\n"
    names += f"from {home}.studies.layers import LayerCount\n"
    insert(claims, "\nABOVE, BELOW", names)
    insert(claims, "#: In the order in which they are shown.", STATISTIC)
    insert(claims, '    Claim(\n        name="depth-residual-trains"', CLAIM)


def add_a_place_to_run(execution: Path) -> None:
    (execution / "loud.py").write_text(EXECUTOR)
    row = '    "loud": "resnet_bench.execution.loud:LoudExecutor",\n'
    insert(execution / "choice.py", '    "processes": ', row)


def add_a_runtime(package: Path, folder: Path) -> None:
    (package / "engine" / "runtimes" / "reference.py").write_text(RUNTIME)
    needed = 'packages=("onnx", "onnxscript")'
    row = f'Runtime("reference", "ONNX reference", ("float32",), {needed}),'
    before = '        Runtime(\n            "openvino",'
    insert(package / "catalogue.py", before, f"        {row}\n")
    (folder / "small.py").write_text(MODEL)


def shown(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_an_experiment_is_a_folder_and_a_row(workspace: Path) -> None:
    rows = shown(workspace / "coin.json")["rows"]
    assert rows == [{"heads": 0}, {"heads": 1}, {"heads": 0}, {"heads": 1}]


def test_a_place_to_run_is_a_file_and_a_row(workspace: Path) -> None:
    assert "loudly: 1 cells" in (workspace / "said").read_text()


def test_a_study_is_a_file_and_a_row_and_its_claim_a_row(workspace: Path) -> None:
    (claim,) = [
        claim
        for claim in shown(workspace / "study.json")["claims"]
        if claim["name"] == "layers-counted"
    ]
    assert claim["verdict"] == "SUPPORTED"


@needs_onnx
def test_a_runtime_is_a_file_and_a_row(workspace: Path) -> None:
    # Times that other programs disturb are told by the exit code.
    said = carry_out(TIMED, workspace, (ExitCode.OK, ExitCode.INCOMPLETE))
    rows = {row["runtime"]: row for row in shown(workspace / "speed.json")["rows"]}
    row = rows["reference"]
    assert row["told"] == {"threads": "1"}
    assert row["logit_error"] < 1e-5
    assert row["inference"]["estimate"] > 0
    assert "ONNX reference" in said


def test_what_was_added_stands_in_the_report(workspace: Path) -> None:
    page = (workspace / "results" / "report.html").read_text(encoding="utf-8")
    assert "Coins tossed" in page
    assert "A network has the layers that its name says." in page
