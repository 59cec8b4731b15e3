from __future__ import annotations

import functools
import random

import pytest
import torch
from torch import nn

from resnet_bench.engine.models.blocks import (
    blocks_of,
    head_of,
    layers_of,
    run_blocks,
    stem_of,
    with_identity_layers,
    with_zero_scale_blocks,
)
from resnet_bench.engine.models.cifar import BasicBlock
from resnet_bench.engine.seeding import generator
from resnet_bench.engine.training.evaluation import (
    evaluate,
    in_eval_mode,
    predict,
    recalibrate,
)
from resnet_bench.experiments.degradation.measures import blocks
from resnet_bench.experiments.degradation.measures.network import Subject, finish
from resnet_bench.experiments.degradation.records import IdentityInsertion, Lesion

from .tiny import network_of, subject


def recalibrated(made: Subject) -> Subject:
    recalibrate(made.model, made.train, made.data.normalisation)
    return made


def test_blocks_that_learnt_nothing_do_not_respond() -> None:
    made = subject(treatment="zero-gamma")
    ends = [r for r in blocks.responses(made) if r.relative_response is not None]
    assert [r.relative_response for r in ends] == [0] * 6
    assert [r.response_std for r in ends] == [0] * 6


def test_responses_are_those_of_the_formula() -> None:
    made = recalibrated(subject(depth=8))
    rows = list(blocks.responses(made))
    split = made.sample(blocks.IMAGES)
    network = network_of(made).eval()
    block = network.layer1[0]
    assert isinstance(block, BasicBlock)
    with torch.no_grad():
        hidden = network.stem(made.data.normalisation.apply(split.images))
        answer = block.residual(hidden)
    relative = (answer.flatten(1).norm(dim=1) / hidden.flatten(1).norm(dim=1)).mean()
    row = next(row for row in rows if row.name == "layer1.0.conv2")
    assert row.relative_response == pytest.approx(float(relative), rel=1e-5)
    assert row.response_std == pytest.approx(float(answer.std()), rel=1e-3)
    assert row.images == blocks.IMAGES
    assert [r.changes_shape for r in rows] == [False] * 3 + [True] * 4


def test_stronger_blocks_respond_more() -> None:
    made = recalibrated(subject(depth=8))
    block = network_of(made).layer1[0]
    assert isinstance(block, BasicBlock)
    assert isinstance(block.bn2, nn.BatchNorm2d)
    before = list(blocks.responses(made))[2].relative_response or 0
    nn.init.constant_(block.bn2.weight, 2)
    after = list(blocks.responses(made))[2].relative_response or 0
    assert after == pytest.approx(2 * before, rel=1e-4)


def lesions(made: Subject, kind: str = "delete") -> list[Lesion]:
    return [row for row in blocks.lesions(made) if row.damage == kind]


def test_deleting_blocks_that_do_nothing_costs_nothing() -> None:
    made = recalibrated(subject(treatment="zero-gamma", depth=20))
    rows = list(blocks.lesions(made))
    assert {row.damage for row in rows} == {"delete", "delete-many", "swap"}
    assert all(row.error_rise_percent == 0 for row in rows)


def test_deleting_a_block_that_carries_everything_costs_the_answer() -> None:
    made = recalibrated(subject(steps=40, epochs=2, shortcut="plain", width=8))
    rows = lesions(made)
    assert max(row.error_rise_percent for row in rows) > 20


@pytest.mark.parametrize(("steps", "learned"), [(0, False), (40, True)])
def test_a_network_that_has_not_learned_has_nothing_to_lose(
    steps: int, learned: bool
) -> None:
    made = subject(steps=steps, epochs=2)
    found = finish(made).train_error_recalibrated_percent
    assert made.learned == (found < 45) == learned
    assert bool(list(blocks.lesions(made))) == learned


def test_only_blocks_that_keep_the_shape_are_deleted_and_each_of_them_once() -> None:
    made = subject(depth=20)
    keeping = [p.index for p in blocks_of(made.model) if not p.changes_shape]
    assert [row.blocks for row in lesions(made)] == [(index,) for index in keeping]
    assert [row.stage for row in lesions(made)] == [1, 1, 1, 2, 2, 3, 3]


def test_a_deletion_is_the_network_without_that_block() -> None:
    made = recalibrated(subject(steps=10, depth=14))
    row = lesions(made)[1]
    network = network_of(made)
    network.layer1[1] = nn.Identity()
    sample = made.sample(blocks.IMAGES)
    expected = evaluate(network, sample, made.data.normalisation).error_percent
    assert row.blocks == (1,)
    assert row.error_percent == pytest.approx(expected)


def test_swaps_stay_within_a_stage_and_name_pairs() -> None:
    made = subject(depth=20)
    places = {place.index: place for place in blocks_of(made.model)}
    for row in lesions(made, "swap"):
        assert len(row.blocks) == 2 * row.count
        for first, second in zip(row.blocks[::2], row.blocks[1::2], strict=True):
            assert places[first].stage == places[second].stage


def test_the_same_seed_deletes_the_same_blocks() -> None:
    first = [row.blocks for row in lesions(subject(depth=20), "delete-many")]
    second = [row.blocks for row in lesions(subject(depth=20), "delete-many")]
    assert first == second
    assert all(len(set(blocks)) == len(blocks) for blocks in first)


def test_a_stage_with_one_removable_block_is_never_chosen_for_a_swap() -> None:
    removable = blocks._removable(blocks_of(subject(depth=14).model))
    stages = {blocks._one_stage(removable, random.Random(s))[0].stage for s in range(9)}
    assert stages == {1}


def test_deletions_and_swaps_of_many_are_the_network_in_that_order() -> None:
    made = recalibrated(subject(steps=22, depth=20, shortcut="plain"))
    places = blocks_of(made.model)
    sample = made.sample(blocks.IMAGES)
    images = made.data.normalisation.apply(sample.images)
    rows = [*lesions(made, "delete-many"), *lesions(made, "swap")]
    assert len({row.error_percent for row in rows}) > 1
    for row in rows:
        order = [place.block for place in places]
        if row.damage == "swap":
            for first, second in zip(row.blocks[::2], row.blocks[1::2], strict=True):
                order[first], order[second] = order[second], order[first]
        else:
            order = [p.block for p in places if p.index not in row.blocks]
        with in_eval_mode(made.model):
            logits = head_of(made.model)(run_blocks(order, stem_of(made.model)(images)))
        wrong = (logits.argmax(1) != sample.labels).double().mean()
        assert row.error_percent == pytest.approx(100 * float(wrong))


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
    (record,) = blocks.insertion(trained(shortcut))
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
    list(blocks.insertion(made))
    after = predict(made.model, made.train, made.data.normalisation)
    assert torch.equal(before, after)


def test_a_constructed_network_agrees_with_the_shallow_one() -> None:
    made = trained("plain", (14, 32))
    records = list(blocks.constructions(made))
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
    assert not list(blocks.constructions(trained("residual", (14,))))


def test_an_extended_network_has_the_depth_it_says() -> None:
    network = network_of(subject(depth=8))
    deep = with_zero_scale_blocks(network, 20, generator(0, "blocks"))
    assert len(layers_of(deep)) == 20
    assert deep.design.depth == 20
    assert [place.position for place in blocks_of(deep)] == [0, 1, 2] * 3
    assert len(layers_of(network)) == 8
