"""The loss around trained weights, along random directions (Li et al. 2018).

Directions are normalised filter by filter (arXiv 1712.09913): every filter moves by its
own length, so that networks whose weights differ in size can be compared. Biases and
batch norm's parameters stay, as in the paper's code; batch norm takes the statistics of
the images at each point.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnet_bench.engine.seeding import generator
from resnet_bench.experiments.degradation.measures.network import Subject, finite
from resnet_bench.experiments.degradation.records import LossLine, LossSurface

#: Training images on which the loss is computed: one forward pass for each point.
IMAGES = 256

#: How far each direction leads, in lengths of the filters (as in the paper's figures).
RADIUS = 1.0

#: Points on each axis of the surface, and on each random line; odd numbers, so that the
#: trained weights are one of them.
SURFACE_POINTS = 15
LINE_POINTS = 21

#: Random lines through the trained weights.
LINES = 8

#: Radians for each unit of a logit in the positive control: logits of neighbouring
#: points of a line differ by more than half a turn.
FOLDS = 10.0

Direction = Sequence[Tensor]


def survey(subject: Subject) -> Iterator[LossSurface | LossLine]:
    """Yield the loss over two random directions, then along random lines.

    Plain and residual networks of one seed get the same random numbers.
    """
    sample = subject.sample(IMAGES)
    images = subject.data.normalisation.apply(sample.images)
    around = Surroundings(subject.model, images, sample.labels)
    draw = generator(subject.cell.seed, "landscape")
    yield around.surface(around.direction(draw), around.direction(draw))
    for number in range(LINES):
        yield around.line(number, around.direction(draw))


class Surroundings:
    """Copies a network and computes the copy's loss at weights around its own."""

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.network = copy.deepcopy(network).train().requires_grad_(False)
        self.images = images
        self.labels = labels
        self.weights = [each for each in self.network.parameters() if each.dim() > 1]
        self.centre = [each.clone() for each in self.weights]

    def direction(self, draw: torch.Generator) -> Direction:
        """Return a random direction, each filter as long as the network's own."""
        return [_like_filters(each, draw) for each in self.centre]

    def surface(self, first: Direction, second: Direction) -> LossSurface:
        """Return the loss over a square of the plane that two directions span."""
        positions = _positions(SURFACE_POINTS)
        losses = tuple(
            self._losses([self._logits((x, first), (y, second)) for x in positions])
            for y in positions
        )
        return LossSurface(images=len(self.images), positions=positions, losses=losses)

    def line(self, number: int, direction: Direction) -> LossLine:
        """Return the loss along a line, and that of the answers made rough."""
        positions = _positions(LINE_POINTS)
        logits = [self._logits((x, direction)) for x in positions]
        return LossLine(
            line=number,
            images=len(self.images),
            positions=positions,
            losses=self._losses(logits),
            folded_losses=self._losses([torch.sin(FOLDS * each) for each in logits]),
        )

    def _logits(self, *steps: tuple[float, Direction]) -> Tensor:
        """Return the logits (N, classes) at the weights that the steps lead to."""
        for place, weight in enumerate(self.weights):
            weight.copy_(self.centre[place])
            for length, direction in steps:
                weight.add_(direction[place], alpha=length)
        logits: Tensor = self.network(self.images)
        return logits

    def _losses(self, logits: Sequence[Tensor]) -> tuple[float | None, ...]:
        """Return the loss of each, all read from the device at once."""
        losses = torch.stack([cross_entropy(each, self.labels) for each in logits])
        return tuple(map(finite, losses.tolist()))


def _positions(points: int) -> tuple[float, ...]:
    """Return evenly spaced places from one end of a direction to the other."""
    middle = points // 2
    return tuple(RADIUS * (place - middle) / middle for place in range(points))


def _like_filters(weight: Tensor, draw: torch.Generator) -> Tensor:
    """Return normal numbers with the norms of a weight's filters (its first axis)."""
    random = torch.randn(weight.shape, generator=draw).to(weight.device)
    axes = tuple(range(1, weight.dim()))
    lengths, drawn = (
        torch.linalg.vector_norm(each, dim=axes, keepdim=True)
        for each in (weight, random)
    )
    return random.mul_(lengths / drawn)
