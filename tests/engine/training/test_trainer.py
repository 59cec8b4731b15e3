from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import nn

from resnet_bench.engine.data.splits import Normalisation, Split
from resnet_bench.engine.models.cifar import build_cifar_network
from resnet_bench.engine.models.design import NetworkDesign
from resnet_bench.engine.seeding import generator
from resnet_bench.engine.training.trainer import (
    SHAPES,
    ParameterGroup,
    Schedule,
    Trainer,
    TrainingPlan,
    schedule_for,
)

NEUTRAL = Normalisation((0.0,), (1.0,))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def split(images: int = 40) -> Split:
    """Two classes that differ in brightness: anything can learn them."""
    draw = generator(0, "test images")
    labels = torch.arange(images) % 2
    noise = 0.1 * torch.rand(images, 1, 8, 8, generator=draw)
    return Split(noise + 0.8 * labels.view(-1, 1, 1, 1), labels)


def network(seed: int = 0) -> nn.Module:
    design = NetworkDesign(depth=8, width=4, classes=2)
    return build_cifar_network(design, generator(seed, "weights"))


def plan(steps: int = 12, **changes: Any) -> TrainingPlan:
    settings: dict[str, Any] = {
        "schedule": Schedule(shape="constant", steps=steps, peak=0.05),
        "batch_size": 16,
    }
    return TrainingPlan(**{**settings, **changes})


def trainer(model: nn.Module | None = None, **changes: Any) -> Trainer:
    return Trainer(model or network(), split(), NEUTRAL, plan(**changes))


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.state_dict().values()])


def test_training_learns_what_is_easy() -> None:
    learning = trainer(steps=30)
    learning.train()
    assert learning.curve[-1].error_percent == 0
    losses = [point.loss for point in learning.curve]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < losses[0]


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = trainer(seed=3), trainer(seed=3)
    first.train()
    second.train()
    assert torch.equal(weights(first.model), weights(second.model))
    assert first.curve == second.curve


def test_another_seed_sees_the_images_in_another_order() -> None:
    first, second = trainer(seed=3), trainer(seed=4)
    first.train()
    second.train()
    assert not torch.equal(weights(first.model), weights(second.model))


def test_a_training_pauses_where_it_is_asked_to_and_at_its_end() -> None:
    learning = trainer(steps=12)
    assert list(learning.pause_at((0, 1, 10, 100))) == [0, 1, 10, 12]
    assert learning.step == 12


def test_pauses_leave_no_trace() -> None:
    paused, straight = trainer(), trainer()
    for _ in paused.pause_at((0, 1, 5)):
        pass
    straight.train()
    assert torch.equal(weights(paused.model), weights(straight.model))
    assert paused.curve == straight.curve


def test_a_resumed_training_gives_the_bits_of_an_uninterrupted_one() -> None:
    changes: dict[str, Any] = {"augmentation": "crop-flip", "seed": 1}
    straight = trainer(**changes)
    straight.train()
    interrupted = trainer(**changes)
    interrupted.advance(5)
    state = copy.deepcopy(interrupted.state_dict())
    resumed = trainer(network(seed=9), **changes)
    resumed.load_state_dict(state)
    resumed.train()
    assert torch.equal(weights(resumed.model), weights(straight.model))
    assert resumed.curve == straight.curve
    assert resumed.step == straight.step


def test_a_training_that_diverges_stops_and_says_at_which_step() -> None:
    class Failing(nn.Module):
        """Its third answer is not a number."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = network()
            self.calls = 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            logits: torch.Tensor = self.inner(images)
            return logits * float("nan") if self.calls == 3 else logits

    learning = trainer(Failing())
    assert list(learning.pause_at((1,))) == [1]
    assert learning.diverged
    assert learning.diverged_at_step == 3
    assert learning.step == 4
    assert learning.curve[-1].loss is None


def test_the_curve_has_a_point_for_every_epoch_of_full_batches() -> None:
    learning = trainer(steps=5)
    learning.train()
    assert [(p.epoch, p.step) for p in learning.curve] == [(1, 2), (2, 4), (3, 5)]


def test_groups_limit_what_is_trained_and_scale_its_rate() -> None:
    model = network()
    layers = dict(model.named_children())
    groups = [ParameterGroup(list(layers["fc"].parameters()), rate_factor=0.5)]
    before = copy.deepcopy(model.state_dict())
    learning = Trainer(model, split(), NEUTRAL, plan(), groups=groups)
    learning.advance(3)
    assert torch.equal(model.state_dict()["conv1.weight"], before["conv1.weight"])
    assert not torch.equal(model.state_dict()["fc.weight"], before["fc.weight"])
    assert learning.optimizer.param_groups[0]["lr"] == pytest.approx(0.025)


def test_a_frozen_network_keeps_its_statistics_when_its_mode_says_so() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    groups = [ParameterGroup(list(dict(model.named_children())["fc"].parameters()))]

    def keep_still(module: nn.Module) -> None:
        module.eval()

    learning = Trainer(
        model, split(), NEUTRAL, plan(), groups=groups, set_mode=keep_still
    )
    learning.train()
    after = model.state_dict()
    assert torch.equal(after["bn1.running_mean"], before["bn1.running_mean"])
    assert after["bn1.num_batches_tracked"] == before["bn1.num_batches_tracked"]


def test_adam_trains_as_well() -> None:
    schedule = Schedule(shape="constant", steps=30, peak=1e-2)
    learning = trainer(optimizer="adam", schedule=schedule)
    learning.train()
    assert learning.curve[-1].error_percent == 0


def test_seconds_count_training_and_not_what_is_done_in_pauses() -> None:
    ticks = itertools.count()
    learning = Trainer(
        network(), split(), NEUTRAL, plan(steps=4), clock=lambda: float(next(ticks))
    )
    for _ in learning.pause_at((2,)):
        next(ticks)
    # Two stretches of one tick each, whatever happened between them.
    assert learning.seconds == 2


def test_a_warm_up_ends_with_the_first_epoch_below_its_error() -> None:
    schedule = Schedule(shape="paper", steps=320, peak=0.1, waits=True)
    learning = trainer(schedule=schedule)
    learning.advance(2)
    rates = [point.learning_rate for point in learning.curve]
    assert rates == pytest.approx([0.01])
    learning.advance(1)
    assert learning.warm
    assert learning.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_half_precision_is_used_where_it_is_asked_for() -> None:
    seen: list[torch.dtype] = []
    model = network()
    layers = dict(model.named_children())
    layers["fc"].register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    trainer(model, autocast=torch.bfloat16, channels_last=True, steps=1).train()
    assert seen == [torch.bfloat16]


STEPS = 200


def rates(recipe: str, depth: int = 20, warm: bool = True) -> list[float]:
    schedule = schedule_for(recipe, STEPS, 0.1, depth)
    return [schedule.rate(step, warm) for step in range(STEPS)]


@pytest.mark.parametrize("recipe", list(SHAPES))
def test_every_recipe_reaches_its_peak_and_never_passes_it(recipe: str) -> None:
    assert max(rates(recipe)) == pytest.approx(0.1, rel=1e-3)
    assert min(rates(recipe)) > 0


@pytest.mark.parametrize("recipe", ["one-cycle", "cosine"])
def test_a_warm_up_climbs_then_ends_and_the_rate_falls_to_nearly_nothing(
    recipe: str,
) -> None:
    course = rates(recipe)
    peak = course.index(max(course))
    assert 0 < peak <= 0.31 * STEPS
    assert course[: peak + 1] == sorted(course[: peak + 1])
    assert course[peak:] == sorted(course[peak:], reverse=True)
    assert course[-1] < 1e-4


def test_the_one_cycle_rate_is_known_at_its_corners() -> None:
    course = rates("one-cycle")
    assert course[0] == pytest.approx(0.004)
    assert course[30] == pytest.approx((0.004 + 0.1) / 2)
    assert course[60] == pytest.approx(0.1)
    assert course[130] == pytest.approx(0.05, rel=1e-3)


def test_the_cosine_rate_is_known_at_its_corners() -> None:
    course = rates("cosine")
    assert course[0] == pytest.approx(0.001)
    assert course[5] == pytest.approx(0.05)
    assert course[10] == pytest.approx(0.1)
    assert course[105] == pytest.approx(0.05)


def test_the_papers_rate_drops_at_half_and_at_three_quarters() -> None:
    schedule = schedule_for("paper", 64_000, 0.1, depth=56)
    steps = [0, 31_999, 32_000, 47_999, 48_000, 63_999]
    expected = [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    assert [schedule.rate(s, warm=False) for s in steps] == pytest.approx(expected)


def test_deep_networks_of_the_paper_wait_at_a_tenth_until_they_are_warm() -> None:
    schedule = schedule_for("paper", 64_000, 0.1, depth=110)
    assert schedule.rate(400, warm=False) == pytest.approx(0.01)
    assert schedule.rate(400, warm=True) == pytest.approx(0.1)


def test_the_warm_up_of_a_network_that_never_learns_ends_all_the_same() -> None:
    schedule = schedule_for("paper", 64_000, 0.1, depth=110)
    assert schedule.latest_warm_up_end == 4_000
    assert schedule.rate(3_999, warm=False) == pytest.approx(0.01)
    assert schedule.rate(4_000, warm=False) == pytest.approx(0.1)


def test_a_warm_up_ends_even_in_the_shortest_training() -> None:
    schedule = Schedule(shape="paper", steps=3, peak=0.1, waits=True)
    assert [schedule.rate(s, warm=False) for s in range(3)] == pytest.approx(
        [0.01, 0.1, 0.01]
    )


def test_only_the_papers_recipe_waits_and_only_for_deep_networks() -> None:
    assert not schedule_for("paper", 100, 0.1, depth=56).waits
    assert not schedule_for("one-cycle", 100, 0.1, depth=110).waits
