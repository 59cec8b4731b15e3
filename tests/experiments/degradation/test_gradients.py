from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from resnet_bench.engine.models.blocks import blocks_of
from resnet_bench.engine.models.cifar import BasicBlock
from resnet_bench.experiments.degradation.measures import gradients
from resnet_bench.experiments.degradation.measures.network import Subject
from resnet_bench.experiments.degradation.records import (
    GradientSummary,
    LayerGradient,
)

from .tiny import network_of, subject


def summary(made: Subject) -> GradientSummary:
    records = list(gradients.observe(made, "0", 0))
    last = records[-1]
    assert isinstance(last, GradientSummary)
    return last


def layers(made: Subject) -> list[LayerGradient]:
    records = gradients.observe(made, "0", 0)
    return [record for record in records if isinstance(record, LayerGradient)]


def scale_convolutions(made: Subject, factor: float) -> None:
    """Make every block's answer to its input `factor` times as strong."""
    for place in blocks_of(made.model):
        if isinstance(place.block, BasicBlock):
            with torch.no_grad():
                place.block.conv2.weight.mul_(factor)


def test_a_network_built_to_fade_its_gradient_is_seen_to_do_so() -> None:
    made = subject(shortcut="plain", treatment="no-batch-norm")
    healthy = summary(made).bottom_over_top
    scale_convolutions(made, 0.1)
    faded = summary(made).bottom_over_top
    assert healthy is not None
    assert faded is not None
    assert faded < 0.01 * healthy


def test_a_network_built_to_blow_its_gradient_up_is_seen_to_do_so() -> None:
    made = subject(shortcut="plain", treatment="no-batch-norm")
    scale_convolutions(made, 10)
    exploded = summary(made).bottom_over_top
    assert exploded is not None
    assert exploded > 10


def test_a_network_of_identities_hands_its_gradient_on_unchanged() -> None:
    made = subject(shortcut="residual", treatment="zero-gamma")
    assert summary(made).bottom_over_top == pytest.approx(1, rel=1e-5)


def test_every_weighted_layer_has_a_row_with_its_block() -> None:
    rows = layers(subject(depth=8))
    assert [row.layer for row in rows] == list(range(8))
    assert [row.block for row in rows] == [None, 0, 0, 1, 1, 2, 2, None]
    assert [row.stage for row in rows] == [None, 1, 1, 2, 2, 3, 3, None]
    assert all(row.batches == 2 for row in rows)
    assert all(row.input_gradient_norm for row in rows)


def test_the_gradient_of_the_last_layer_is_the_one_of_the_formula() -> None:
    made = subject(depth=8)
    split = made.sample(2 * 32)
    network = copy.deepcopy(network_of(made)).train()
    norms = []
    for start in range(0, 64, 32):
        images = made.data.normalisation.apply(split.images[start : start + 32])
        target = nn.functional.one_hot(split.labels[start : start + 32], 10)
        difference = network(images).softmax(1) - target
        norms.append(
            float((difference @ network.fc.weight).detach().norm(dim=1).pow(2).mean())
        )
    expected = sum(value**0.5 for value in norms) / len(norms)
    assert layers(made)[-1].input_gradient_norm == pytest.approx(expected, rel=1e-4)


def test_looking_leaves_no_trace_in_the_network() -> None:
    made = subject(steps=2)
    before = copy.deepcopy(made.model.state_dict())
    list(gradients.observe(made, "1", 1))
    after = made.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_one_batch_repeated_is_all_signal() -> None:
    gradient = torch.rand(1, 20).repeat(3, 1)
    assert gradients._mean_cosine(gradient) == pytest.approx(1)
    assert (
        gradients._signal_to_noise(gradient) is None
        or (gradients._signal_to_noise(gradient) or 0) > 1e5
    )


def test_opposite_batches_are_all_noise() -> None:
    gradient = torch.rand(1, 20)
    both = torch.cat([gradient, -gradient])
    assert gradients._mean_cosine(both) == pytest.approx(-1)
    assert gradients._signal_to_noise(both) == 0


def test_a_single_batch_has_neither_noise_nor_cosine() -> None:
    one = torch.rand(1, 5)
    assert gradients._mean_cosine(one) is None
    assert gradients._signal_to_noise(one) is None


class Linear(nn.Module):
    """The same gradient everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(images.flatten(1))
        return logits


class Rough(nn.Module):
    """A gradient that turns round, as good as at random, between any two points."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        wave = (1000 * images.flatten(1).sum(1, keepdim=True)).sin()
        return torch.cat([wave, 2 + wave], 1)


def test_a_linear_function_does_not_shatter_and_a_rough_one_does() -> None:
    made = subject(depth=8)
    smooth = gradients.shattering_correlation(Linear(), made)
    rough = gradients.shattering_correlation(Rough(), made)
    assert smooth == pytest.approx(1, abs=1e-4)
    assert rough is not None
    assert abs(rough) < 0.4
    made.train = made.train.first(3)  # a line takes two
    assert gradients.shattering_correlation(Linear(), made) == pytest.approx(1)
