from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnet_bench.engine.seeding import generator
from resnet_bench.engine.training.evaluation import predict
from resnet_bench.experiments.degradation.measures import landscape
from resnet_bench.experiments.degradation.measures.landscape import Surroundings
from resnet_bench.experiments.degradation.measures.network import Subject
from resnet_bench.experiments.degradation.records import LossLine, LossSurface
from resnet_bench.statistics.estimates import geometric_mean, roughness

from .tiny import subject


class Folded(nn.Module):
    """A network whose answers swing as its logits grow: made to be rough."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.sin(landscape.FOLDS * self.network(images))


@functools.cache
def trained(shortcut: str = "residual") -> Subject:
    """Return a trained network, the same for all tests: none may change it."""
    return subject(steps=22, depth=8, width=8, shortcut=shortcut)


def around(network: nn.Module, made: Subject, images: int = 64) -> Surroundings:
    sample = made.sample(images)
    shown = made.data.normalisation.apply(sample.images)
    return Surroundings(network, shown, sample.labels)


def lines(network: nn.Module, made: Subject, count: int = 3) -> list[LossLine]:
    place, draw = around(network, made), generator(0, "lines")
    return [place.line(number, place.direction(draw)) for number in range(count)]


def rough(found: list[LossLine], field: str = "losses") -> float:
    values = [roughness(getattr(line, field)) for line in found]
    return geometric_mean([value for value in values if value is not None])


def test_every_filter_moves_by_its_own_length_and_nothing_else_moves() -> None:
    made = trained()
    place = around(made.model, made)
    direction = place.direction(generator(0, "direction"))
    named = {n: p for n, p in place.network.named_parameters() if p.dim() > 1}
    assert set(named) == {
        name for name, _ in made.model.named_parameters() if ".bn" not in f".{name}"
    } - {"fc.bias"}
    for weight, step in zip(named.values(), direction, strict=True):
        for filter_, change in zip(weight, step, strict=True):
            assert float(change.norm()) == pytest.approx(
                float(filter_.norm()), rel=1e-4
            )


def test_the_middle_of_surface_and_lines_is_the_trained_network() -> None:
    made = trained()
    surface, *along = landscape.survey(made)
    assert isinstance(surface, LossSurface)
    sample = made.sample(landscape.IMAGES)
    with torch.no_grad():
        images = made.data.normalisation.apply(sample.images)
        logits = around(made.model, made).network(images)
        folded = Folded(nn.Identity())(logits)
    expected, expected_folded = (
        float(cross_entropy(each, sample.labels)) for each in (logits, folded)
    )
    middle = landscape.SURFACE_POINTS // 2
    assert surface.positions[middle] == 0
    assert surface.losses[middle][middle] == pytest.approx(expected, rel=1e-6)
    assert len(along) == landscape.LINES
    for line in along:
        assert isinstance(line, LossLine)
        here = line.positions.index(0)
        assert line.losses[here] == pytest.approx(expected, rel=1e-6)
        assert line.folded_losses[here] == pytest.approx(expected_folded, rel=1e-4)


def test_both_axes_of_a_surface_lead_where_their_directions_do() -> None:
    made = trained()
    place = around(made.model, made)
    first, second = (place.direction(generator(0, name)) for name in "ab")
    surface = place.surface(first, second)
    middle, end = landscape.SURFACE_POINTS // 2, -1
    across, up = place.line(0, first), place.line(1, second)
    assert surface.losses[middle][end] == pytest.approx(across.losses[end], rel=1e-5)
    assert surface.losses[end][middle] == pytest.approx(up.losses[end], rel=1e-5)


def test_looking_around_leaves_the_network_as_it_was() -> None:
    made = trained()
    made.model.eval()
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    logits = predict(made.model, made.train, made.data.normalisation)
    list(landscape.survey(made))
    after = made.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not made.model.training
    assert all(each.requires_grad for each in made.model.parameters())
    again = predict(made.model, made.train, made.data.normalisation)
    assert torch.equal(logits, again)


def test_a_network_made_rough_is_seen_to_be_rough() -> None:
    made = trained()
    smooth, folded = lines(made.model, made), lines(Folded(made.model), made)
    assert rough(folded) > 2 * rough(smooth)
    # The study computes the same from the logits of the network itself.
    assert rough(smooth, "folded_losses") == pytest.approx(rough(folded), rel=1e-4)


def test_the_same_network_twice_is_as_rough_as_itself() -> None:
    made = trained()
    assert lines(made.model, made) == lines(made.model, made)
    others = lines(made.model, made, count=6)
    ratio = rough(others[:3]) / rough(others[3:])
    assert 1 / 2 < ratio < 2


def test_plain_and_residual_networks_of_one_seed_get_the_same_directions() -> None:
    made: dict[str, Any] = {
        name: subject(shortcut=name) for name in ("plain", "residual")
    }
    directions = [
        around(each.model, each).direction(generator(0, "direction"))
        for each in made.values()
    ]
    for plain, residual in zip(*directions, strict=True):
        assert torch.equal(plain, residual)


def test_a_loss_that_is_not_finite_is_none() -> None:
    made = trained()
    place = around(made.model, made)
    direction = [torch.full_like(each, torch.inf) for each in place.centre]
    assert place.line(0, direction).losses[0] is None
