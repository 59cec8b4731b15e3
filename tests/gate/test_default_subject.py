from pathlib import Path

import pytest

from resnet_bench.engine.runtimes.base import missing_packages
from resnet_bench.errors import UsageError
from resnet_bench.gate import default_subject
from resnet_bench.gate.default_subject import BUILDERS, CASES, subject
from resnet_bench.gate.spec import parse_case
from resnet_bench.gate.worker import Worker
from resnet_bench.gate.workers import SUBJECT_API


def test_it_speaks_the_drivers_protocol() -> None:
    assert default_subject.SUBJECT_API == SUBJECT_API


def test_every_case_can_be_built() -> None:
    cases = [parse_case(text) for text in CASES]
    others = {name for name in BUILDERS if "-" in name}
    assert {case.name for case in cases} == set(BUILDERS) - others
    assert {"resnet18-onnxruntime", "resnet152-openvino"} <= others
    assert [case.text for case in cases if case.is_timed] == [
        "resnet18:forward",
        "resnet18:step",
        "resnet50:forward",
    ]


def test_a_network_is_called_and_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_subject, "IMAGE_SIZE", 32)
    network = subject("resnet18")
    assert isinstance(network, default_subject.TrainedNetwork)
    assert network.forward().shape == (2, 1000)
    weight = next(network.module.parameters())
    before = weight.detach().clone()
    network.step()
    assert not weight.equal(before)


def test_a_worker_times_an_exported_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_subject, "IMAGE_SIZE", 32)
    if missing_packages("onnxruntime"):
        with pytest.raises(UsageError, match="pip install"):
            subject("resnet18-onnxruntime")
        return
    worker = Worker(Path(__file__).parents[2], f"{default_subject.__name__}:subject", 0)
    worker.open()
    worker.prepare("resnet18-onnxruntime", "forward")
    assert worker.leg("resnet18-onnxruntime", "forward", 1)["seconds"] > 0
    assert worker.object.forward().shape == (2, 1000)


def test_digits_are_learnt_the_same_way_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_subject, "DIGITS_EPOCHS", 1)
    digits = subject("digits")
    assert isinstance(digits, default_subject.DigitsTraining)
    predictions, targets = digits.evaluate(0)
    assert len(predictions) == len(targets) > 300
    assert digits.evaluate(0) == (predictions, targets)


def test_an_unknown_case_is_an_error() -> None:
    with pytest.raises(KeyError):
        subject("resnet19")
