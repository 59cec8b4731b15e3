from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from resnet_bench.engine.models.blocks import (
    blocks_of,
    head_of,
    run_blocks,
    stem_of,
)
from resnet_bench.engine.models.cifar import BasicBlock
from resnet_bench.engine.training.evaluation import evaluate, in_eval_mode, recalibrate
from resnet_bench.experiments.degradation.records import Lesion
from resnet_bench.experiments.degradation.studies import errors, lesion, response
from resnet_bench.experiments.degradation.studies.subject import Subject

from .tiny import network_of, subject


def recalibrated(made: Subject) -> Subject:
    recalibrate(made.model, made.train, made.data.normalisation)
    return made


def test_blocks_that_learnt_nothing_do_not_respond() -> None:
    made = subject(treatment="zero-gamma")
    ends = [r for r in response.observe(made) if r.relative_response is not None]
    assert [r.relative_response for r in ends] == [0] * 6
    assert [r.response_std for r in ends] == [0] * 6


def test_responses_are_those_of_the_formula() -> None:
    made = recalibrated(subject(depth=8))
    rows = list(response.observe(made))
    split = made.sample(response.IMAGES)
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
    assert row.images == response.IMAGES
    assert [r.changes_shape for r in rows] == [False] * 3 + [True] * 4


def test_stronger_blocks_respond_more() -> None:
    made = recalibrated(subject(depth=8))
    block = network_of(made).layer1[0]
    assert isinstance(block, BasicBlock)
    assert isinstance(block.bn2, nn.BatchNorm2d)
    before = list(response.observe(made))[2].relative_response or 0
    nn.init.constant_(block.bn2.weight, 2)
    after = list(response.observe(made))[2].relative_response or 0
    assert after == pytest.approx(2 * before, rel=1e-4)


def lesions(made: Subject, kind: str = "delete") -> list[Lesion]:
    return [row for row in lesion.observe(made) if row.damage == kind]


def test_deleting_blocks_that_do_nothing_costs_nothing() -> None:
    made = recalibrated(subject(treatment="zero-gamma", depth=20))
    rows = list(lesion.observe(made))
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
    found = errors.finish(made).train_error_recalibrated_percent
    assert made.learned == (found < 45) == learned
    assert bool(list(lesion.observe(made))) == learned


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
    sample = made.sample(lesion.IMAGES)
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
    blocks = lesion._removable(blocks_of(subject(depth=14).model))
    stages = {lesion._one_stage(blocks, random.Random(s))[0].stage for s in range(9)}
    assert stages == {1}


def test_deletions_and_swaps_of_many_are_the_network_in_that_order() -> None:
    made = recalibrated(subject(steps=22, depth=20, shortcut="plain"))
    places = blocks_of(made.model)
    sample = made.sample(lesion.IMAGES)
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
