from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from resnet_bench.engine.data.batches import PADDING_SHARE, steps_per_epoch
from resnet_bench.engine.seeding import generator
from resnet_bench.engine.training.replay import Replay
from resnet_bench.engine.training.trainer import (
    MOMENTUM,
    WEIGHT_DECAY,
    Schedule,
    Trainer,
    TrainingPlan,
)
from tests.engine.fake_graphs import FakeGraphs
from tests.engine.training.test_trainer import NEUTRAL, network, split, weights

STEPS = 50
BATCH = 16
#: A rate that float32 holds exactly: a graph reads it from a tensor.
RATE = 0.0625


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def trainer(model: nn.Module, **changes: Any) -> Trainer:
    plan = TrainingPlan(
        schedule=Schedule(shape="constant", steps=STEPS, peak=RATE),
        batch_size=BATCH,
        augmentation="crop-flip",
        seed=5,
        keep_last_batch=True,
    )
    return Trainer(model, split(), NEUTRAL, plan, **changes)


def train_batch_by_batch(model: nn.Module) -> list[float]:
    """Train as a first script would: draw, crop and flip at every step."""
    data = split()
    order, draw = generator(5, "batches"), generator(5, "augmentation")
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=RATE,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )
    losses: list[float] = []
    while len(losses) < STEPS:
        shuffled = torch.randperm(len(data), generator=order)
        for number in range(steps_per_epoch(len(data), BATCH, keep_last=True)):
            chosen = shuffled[number * BATCH :][:BATCH]
            images = changed(NEUTRAL.apply(data.images[chosen]), draw)
            optimizer.zero_grad()
            loss = cross_entropy(model(images), data.labels[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == STEPS:
                break
    return losses


def changed(images: Tensor, draw: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    margin = round(height * PADDING_SHARE)
    shifts = torch.randint(2 * margin + 1, (2, count), generator=draw).T.tolist()
    flips = torch.rand(count, generator=draw) < 0.5
    padded = pad(images, (margin,) * 4)
    cropped = [
        image[:, down : down + height, right : right + width]
        for image, (down, right) in zip(padded, shifts, strict=True)
    ]
    return torch.stack(
        [
            image.flip(2) if flip else image
            for image, flip in zip(cropped, flips.tolist(), strict=True)
        ]
    )


@pytest.mark.parametrize("graphs", [None, FakeGraphs()])
def test_fifty_steps_give_the_bits_of_drawing_batch_by_batch(graphs: Any) -> None:
    learning, plain = trainer(network(), graphs=graphs), network()
    learning.train()
    losses = train_batch_by_batch(plain)
    assert torch.equal(weights(learning.model), weights(plain))
    mean = torch.tensor(losses).view(-1)[-2:].mean()
    assert learning.curve[-1].step == STEPS
    assert learning.curve[-1].loss == float(mean)


def test_a_prepared_training_gives_the_bits_of_one_that_was_not() -> None:
    prepared, plain = trainer(network()), trainer(network())
    prepared.prepare()
    assert prepared.seconds == 0
    prepared.train()
    plain.train()
    assert torch.equal(weights(prepared.model), weights(plain.model))
    assert prepared.curve == plain.curve


def test_a_replayed_step_follows_the_schedule_and_pauses() -> None:
    schedule = Schedule(shape="one-cycle", steps=STEPS, peak=RATE)
    trained = []
    for graphs in (None, FakeGraphs()):
        learning = trainer(network(), graphs=graphs)
        object.__setattr__(learning.plan, "schedule", schedule)
        learning.prepare()
        for _ in learning.pause_at((0, 1, 7)):
            learning.model.eval()
        trained.append(weights(learning.model))
    assert torch.allclose(trained[0], trained[1], rtol=1e-4, atol=1e-6)


def test_a_resumed_training_is_recorded_anew() -> None:
    straight, first = (trainer(network(), graphs=FakeGraphs()) for _ in range(2))
    straight.train()
    first.advance(7)
    state = copy.deepcopy(first.state_dict())
    resumed = trainer(network(seed=3), graphs=FakeGraphs())
    resumed.prepare()
    resumed.load_state_dict(state)
    resumed.train()
    assert torch.equal(weights(resumed.model), weights(straight.model))
    assert resumed.curve == straight.curve


def test_work_that_waits_for_the_device_cannot_be_recorded() -> None:
    def waiting(numbers: Tensor) -> tuple[Tensor, ...]:
        return (numbers * numbers.sum().item(),)

    with pytest.raises(RuntimeError, match="waits for the device"):
        Replay(waiting, list, FakeGraphs())(torch.ones(3))


def test_inputs_of_another_shape_are_worked_on_without_the_graph() -> None:
    calls: list[int] = []

    def doubled(numbers: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(numbers))
        return (numbers * 2,)

    replay = Replay(doubled, list, FakeGraphs())
    answers = [replay(torch.full((count,), 3.0))[0].clone() for count in (2, 2, 1)]
    assert [each.tolist() for each in answers] == [[6, 6], [6, 6], [6]]
    # Three calls to warm up and one to record; then the short one.
    assert calls == [2, 2, 2, 2, 1]
