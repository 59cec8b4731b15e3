from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resnet_bench.engine.weights import brief
from resnet_bench.engine.weights.brief import BriefTraining, briefly_trained


@pytest.fixture(autouse=True)
def smaller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let it take a moment: few images, each of 16 px, and no steps.

    In one process with all other tests, bfloat16 steps became NaN.
    """
    monkeypatch.setattr(brief, "_fit", lambda *_: None)
    monkeypatch.setenv("RESNET_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(brief, "TRAINING_IMAGES", 20)
    monkeypatch.setattr(brief, "TEST_IMAGES", 10)
    monkeypatch.setattr(brief, "SIDE", 16)


def test_weights_are_trained_once_and_read_from_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = BriefTraining(18, 32)
    first = briefly_trained(wanted)

    def never(*_: object) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr(brief, "_train", never)
    again = briefly_trained(wanted)
    assert torch.equal(first.state["fc.weight"], again.state["fc.weight"])
    assert again.calibration.shape == (20, 3, 32, 32)
    assert again.compared.shape == (10, 3, 32, 32)
    assert "digits" in again.origin


def test_every_size_has_weights_of_its_own() -> None:
    assert BriefTraining(18, 224).path != BriefTraining(18, 64).path
