from __future__ import annotations

import functools

import torch

from resnet_bench.engine.models.blocks import (
    blocks_of,
    layers_of,
    with_identity_layers,
    with_zero_scale_blocks,
)
from resnet_bench.engine.seeding import generator
from resnet_bench.engine.training.evaluation import predict, recalibrate
from resnet_bench.experiments.degradation.records import IdentityInsertion
from resnet_bench.experiments.degradation.studies import constructed, identity
from resnet_bench.experiments.degradation.studies.subject import Subject

from .tiny import network_of, subject


@functools.cache
def trained(shortcut: str, deep_depths: tuple[int, ...] = ()) -> Subject:
    """Return a trained network, the same for all tests: none may change it."""
    made = subject(
        steps=22, depth=8, width=8, shortcut=shortcut, deep_depths=deep_depths
    )
    recalibrate(made.model, made.train, made.data.normalisation)
    return made


@functools.cache
def insertion(shortcut: str) -> IdentityInsertion:
    (record,) = identity.observe(trained(shortcut))
    return record


def test_zero_scale_blocks_leave_a_residual_networks_logits_bit_for_bit() -> None:
    record = insertion("residual")
    assert record.logits_identical
    assert record.largest_logit_difference == 0
    assert record.extended_depth == 20
    assert record.loss_after == record.loss_before
    assert record.error_after_percent == record.error_before_percent


def test_further_training_does_the_extended_residual_network_no_harm() -> None:
    record = insertion("residual")
    assert record.further_steps == 4
    assert record.loss_extended_later is not None
    assert record.loss_untouched_later is not None
    assert record.loss_before is not None
    assert record.loss_untouched_later < record.loss_before
    assert record.loss_extended_later < record.loss_untouched_later + 0.1


def test_the_same_insertion_destroys_a_plain_network() -> None:
    record = insertion("plain")
    assert not record.logits_identical
    assert record.error_after_percent > 85
    assert record.error_before_percent < 50
    assert record.further_steps == 0
    assert record.loss_untouched_later is record.loss_extended_later is None


def test_an_insertion_leaves_the_trained_network_as_it_was() -> None:
    made = trained("residual")
    before = predict(made.model, made.train, made.data.normalisation)
    list(identity.observe(made))
    after = predict(made.model, made.train, made.data.normalisation)
    assert torch.equal(before, after)


def test_a_constructed_network_agrees_with_the_shallow_one() -> None:
    made = trained("plain", (14, 32))
    records = list(constructed.observe(made))
    assert [record.deep_depth for record in records] == [14, 32]
    for record in records:
        assert record.largest_logit_difference < 1e-4
        assert record.constructed_error_percent == record.shallow_error_percent
        assert record.shallow_error_percent < 50


def test_a_network_extended_by_random_layers_does_not_agree() -> None:
    made = trained("plain")
    network = network_of(made)
    deep = with_identity_layers(network, 14, generator(0, "layers"))
    added = deep.layer2[1]
    torch.nn.init.normal_(dict(added.named_parameters())["conv1.weight"])
    normalisation = made.data.normalisation
    logits = [predict(net, made.train, normalisation) for net in (network, deep)]
    assert (logits[0] - logits[1]).abs().max() > 0.1


def test_a_residual_network_is_not_a_case_for_construction() -> None:
    assert not list(constructed.observe(trained("residual", (14,))))


def test_an_extended_network_has_the_depth_it_says() -> None:
    network = network_of(subject(depth=8))
    deep = with_zero_scale_blocks(network, 20, generator(0, "blocks"))
    assert len(layers_of(deep)) == 20
    assert deep.design.depth == 20
    assert [place.position for place in blocks_of(deep)] == [0, 1, 2] * 3
    assert len(layers_of(network)) == 8
