from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import ResNet

from resnet_bench.engine.models.resnets import build_residual
from resnet_bench.engine.seeding import derived_seed
from resnet_bench.engine.weights import brief
from resnet_bench.engine.weights.brief import BriefTraining, briefly_trained
from resnet_bench.errors import ResnetBenchError


@pytest.fixture(autouse=True)
def smaller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let it take a moment: few images, each of 16 px, and few steps."""
    monkeypatch.setenv("RESNET_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(brief, "TRAINING_IMAGES", 20)
    monkeypatch.setattr(brief, "TEST_IMAGES", 10)
    monkeypatch.setattr(brief, "SIDE", 16)
    monkeypatch.setattr(brief, "EPOCHS", 1)
    monkeypatch.setattr(brief, "BATCH_SIZE", 10)


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


def test_training_changes_weights_that_stay_finite() -> None:
    torch.manual_seed(derived_seed(0, "brief training"))
    before = build_residual(18).state_dict()
    after = briefly_trained(BriefTraining(18, 32)).state
    assert not torch.equal(before["conv1.weight"], after["conv1.weight"])
    assert all(tensor.isfinite().all() for tensor in after.values())


def test_weights_that_are_not_finite_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(network: ResNet, *_: object) -> None:
        network.fc.bias.data[0] = torch.nan

    monkeypatch.setattr(brief, "_fit", broken)
    wanted = BriefTraining(18, 32)
    with pytest.raises(ResnetBenchError, match="diverged"):
        briefly_trained(wanted)
    assert not wanted.path.exists()


def test_every_size_has_weights_of_its_own() -> None:
    assert BriefTraining(18, 224).path != BriefTraining(18, 64).path
