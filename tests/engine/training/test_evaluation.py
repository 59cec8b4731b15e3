from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from resnet_bench.engine.data.splits import Normalisation, Split
from resnet_bench.engine.training.evaluation import (
    evaluate,
    judge,
    predict,
    recalibrate,
)

NEUTRAL = Normalisation((0.0,), (1.0,))


def test_errors_loss_and_class_mean_of_known_logits() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    result = judge(logits, torch.tensor([0, 0, 1, 1]))
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    assert (result.images, result.errors) == (4, 1)
    assert result.error_percent == 25
    assert result.accuracy_percent == 75
    assert result.loss == pytest.approx((3 * right + wrong) / 4)
    assert result.class_mean_accuracy_percent == pytest.approx(75)


def test_the_class_mean_weighs_classes_and_not_images() -> None:
    logits = torch.tensor([[1.0, 0.0]] * 5)
    result = judge(logits, torch.tensor([0, 0, 0, 0, 1]))
    assert result.accuracy_percent == 80
    assert result.class_mean_accuracy_percent == pytest.approx(50)


def test_calibration_error_is_confidence_less_accuracy() -> None:
    sure = torch.tensor([[50.0, 0.0]] * 4)
    right = judge(sure, torch.zeros(4).long())
    assert right.calibration_error_percent == pytest.approx(0, abs=1e-6)
    half_right = judge(sure, torch.tensor([0, 0, 1, 1]))
    assert half_right.calibration_error_percent == pytest.approx(50)


def test_what_is_not_a_number_counts_as_wrong_and_has_no_loss_or_calibration() -> None:
    logits = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]])
    result = judge(logits, torch.tensor([0, 0]))
    assert result.errors == 1
    assert result.loss is None
    assert result.calibration_error_percent is None


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.drop = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.drop(self.norm(images)).flatten(1)
        return hidden


def data(images: int = 30) -> Split:
    pixels = torch.rand(images, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    return Split(pixels * 3 + 1, torch.arange(images) % 4)


def test_evaluation_is_in_eval_mode_and_puts_the_mode_back() -> None:
    net = Net().train()
    assert len(predict(net, data(), NEUTRAL)) == 30
    assert net.training
    assert net.norm.num_batches_tracked == 0
    assert evaluate(net.eval(), data(), NEUTRAL).images == 30
    assert not net.training


def test_recalibration_gives_the_exact_statistics_of_all_images() -> None:
    net = Net().train()
    split = data()
    assert recalibrate(net, split, NEUTRAL) == 30
    torch.testing.assert_close(net.norm.running_mean, split.images.mean().view(1))
    torch.testing.assert_close(net.norm.running_var, split.images.var().view(1))
    assert net.norm.momentum == 0.1
    assert net.training


def test_recalibration_changes_no_weight() -> None:
    net = Net()
    before = [p.detach().clone() for p in net.parameters()]
    recalibrate(net, data(), NEUTRAL)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_recalibration_takes_a_subset_where_all_images_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An image of four floats takes 16 bytes.
    monkeypatch.setattr(
        "resnet_bench.engine.training.evaluation.ACTIVATION_BYTES", 16 * 12
    )
    assert recalibrate(Net(), data(), NEUTRAL) == 12


def test_a_network_without_batch_norm_needs_no_recalibration() -> None:
    assert recalibrate(nn.Flatten(), data(), NEUTRAL) == 0
