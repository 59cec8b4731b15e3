import io
import itertools
import json
import platform
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch

from resnet_bench.engine.machine import describe_libraries
from resnet_bench.gate.worker import (
    CONTROL,
    DROPPED_AT_MOST,
    Worker,
    checksum_of,
    report_error,
    serve,
    tensors_of,
    timed_calls,
)

SUBJECT = """
import torch
from torch import nn

SUBJECT_API = 1
CASES = ("net",)


class Net:
    def __init__(self, further=()):
        layers = [nn.Conv2d(1, 2, 3), nn.ReLU(), *further]
        self.module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * 36, 2))
        self.images = torch.randn(2, 1, 8, 8)

    def forward(self):
        return self.module(self.images)

    def step(self):
        self.forward().sum().backward()

    def evaluate(self, seed):
        return torch.tensor([0, 1, seed]), [0, 1, 2]


class Residual(Net):
    def forward(self):
        hidden = self.module[1](self.module[0](self.images))
        return self.module[2:](hidden + hidden)


def subject(case):
    return {
        "net": Net, "relu": lambda: Net([nn.ReLU()]), "residual": Residual
    }[case]()
"""

NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    (tmp_path / "toy_subject.py").write_text(SUBJECT)
    monkeypatch.syspath_prepend(tmp_path)
    made = Worker(tmp_path.resolve(), "toy_subject:subject", seed=0)
    made.open()
    yield made
    sys.modules.pop("toy_subject")


def test_opening_tells_what_the_subject_offers(worker: Worker) -> None:
    offer = worker.open()
    assert offer["api"] == 1
    assert offer["inside"] is True
    assert offer["cases"] == ["net"]


def test_the_subject_that_the_documentation_shows_is_measured_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "continuous-integration.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    (tmp_path / "gate.py").write_text(code)
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("gate", "net"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    worker = Worker(tmp_path.resolve(), "gate:subject", seed=0)
    offer = worker.open()
    assert (offer["api"], offer["inside"]) == (1, True)
    assert offer["cases"] == ["net:forward", "net:step"]
    assert worker.exact("net")["parameters"] == 3 * 10 + 10
    assert worker.leg("net", "step", 1)["seconds"] > 0


def test_versions_are_those_of_this_process(worker: Worker) -> None:
    versions, known = worker.versions(), describe_libraries()
    assert versions["Python"] == platform.python_version()
    for name in ("CUDA", "cuDNN", "BLAS", "MKL", "oneDNN", "OpenMP"):
        assert versions[name] == known[name.lower()]
    assert versions["PyTorch"] == torch.__version__


def test_a_module_of_another_place_is_told(tmp_path: Path) -> None:
    offer = Worker(tmp_path, "json:loads", seed=0).open()
    assert offer["inside"] is False
    assert offer["api"] is None


def test_exact_metrics_are_the_same_twice(worker: Worker) -> None:
    assert worker.exact("net") == worker.exact("net")


def test_exact_metrics_count_by_hand(worker: Worker) -> None:
    found = worker.exact("net")
    assert found["parameters"] == (2 * 9 + 2) + (72 * 2 + 2)
    # Two images: 36 positions of a 3x3 kernel with 2 filters, then 72 x 2.
    assert found["flops"] == 2 * (2 * 36 * 9 * 2 + 2 * 72 * 2)
    # Convolution, ReLU and what it keeps for its gradient, view, transposed
    # weight, and the product with bias.
    assert found["forward_operations"] == 6


def test_one_more_relu_changes_the_count_only_of_operations(worker: Worker) -> None:
    plain, more = worker.exact("net"), worker.exact("relu")
    assert more["forward_operations"] == plain["forward_operations"] + 2
    assert more["backward_operations"] > plain["backward_operations"]
    assert more["parameters"] == plain["parameters"]


def test_a_shortcut_changes_the_output(worker: Worker) -> None:
    plain, residual = worker.exact("net"), worker.exact("residual")
    assert residual["output_checksum"] != plain["output_checksum"]
    assert residual["state_dict_keys"] == plain["state_dict_keys"]


def test_training_is_told_as_share_and_fingerprint(worker: Worker) -> None:
    two, one = worker.evaluate("net", 2), worker.evaluate("net", 1)
    assert two["accuracy"] == 1.0
    assert one["accuracy"] == pytest.approx(2 / 3)
    assert one["fingerprint"] != two["fingerprint"]


@pytest.mark.parametrize("name", ["net", CONTROL])
def test_a_leg_is_timed_after_warming_up(worker: Worker, name: str) -> None:
    assert worker.prepare(name, "forward")["seconds"] > 0
    assert worker.leg(name, "forward", 3)["seconds"] > 0


@pytest.mark.parametrize(
    ("stopped", "seconds", "told"),
    [([], 0.0, 0), ([0, 1], 2.0, 2), (range(99), float(DROPPED_AT_MOST), 4)],
)
def test_a_leg_in_which_the_process_was_stopped_is_taken_again(
    stopped: Sequence[int],
    seconds: float,
    told: int,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = itertools.count()

    def calls(call: object, synchronize: object, count: int) -> list[float]:
        number = next(tries)
        if number in stopped:
            signal.raise_signal(signal.SIGCONT)
        return [float(number)] * count

    monkeypatch.setattr("resnet_bench.gate.worker.timed_calls", calls)
    before = signal.signal(signal.SIGCONT, worker.count_stop)
    try:
        found = worker.leg("net", "forward", 3)
    finally:
        signal.signal(signal.SIGCONT, before)
    assert found == {"seconds": seconds, "stopped": told}


def test_every_call_is_timed() -> None:
    called = []
    seconds = timed_calls(lambda: called.append(1), lambda: None, 4)
    assert len(seconds) == len(called) == 4


def test_outputs_may_be_nested() -> None:
    a, b, c = torch.zeros(1), torch.ones(1), torch.ones(2)
    assert tensors_of({"x": a, "y": [b, (c,)]}) == [a, b, c]
    assert tensors_of((a, None, 0.5, "name", [b])) == [a, b]
    assert checksum_of([a, b]) != checksum_of([b, a])
    assert checksum_of(b) != checksum_of(b.double())


def test_requests_are_answered_line_by_line(worker: Worker) -> None:
    requests = [
        json.dumps({"do": "open"}),
        json.dumps({"do": "evaluate", "name": "net", "seed": 2}),
    ]
    replies = io.StringIO()
    serve(worker, requests, replies)
    lines = replies.getvalue().splitlines()
    assert [json.loads(line).get("accuracy") for line in lines] == [None, 1.0]


def test_an_error_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    replies = io.StringIO()
    error = KeyError("nowhere")
    report_error(replies)(KeyError, error, None)
    assert json.loads(replies.getvalue()) == {"error": "KeyError: 'nowhere'"}
    assert "KeyError" in capsys.readouterr().err


def test_a_module_of_the_other_tree_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for place in (own, other):
        place.mkdir()
    (own / "uses_library.py").write_text("import borrowed_library\nsubject = print\n")
    (other / "borrowed_library.py").write_text("")
    for place in (other, own):
        monkeypatch.syspath_prepend(place)
    worker = Worker(own.resolve(), "uses_library:subject", seed=0)
    assert worker.open(str(other))["borrowed"] == "borrowed_library"
    assert worker.open(str(tmp_path / "third"))["borrowed"] is None
    for name in ("uses_library", "borrowed_library"):
        sys.modules.pop(name)


def test_one_case_in_brackets_is_one_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one_case.py").write_text("CASES = ('small:step')\nsubject = print\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert Worker(tmp_path, "one_case:subject", 0).open()["cases"] == ["small:step"]
    sys.modules.pop("one_case")


def test_installed_packages_are_named(worker: Worker) -> None:
    found = worker.libraries()["libraries"]
    assert "torch" in found
    assert "toy_subject" not in found


def test_the_program_itself_is_no_module_of_the_other_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ModuleType("program")
    program.__file__ = str(tmp_path / "other" / "worker.py")
    for name in ("__main__", "__mp_main__"):
        monkeypatch.setitem(sys.modules, name, program)
    worker = Worker(tmp_path / "own", "json:loads", seed=0)
    assert worker.open(str(tmp_path / "other"))["borrowed"] is None
