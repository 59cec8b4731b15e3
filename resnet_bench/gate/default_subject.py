"""What the gate measures unless a project names its own subject: our ResNets.

Timed cases use small images, so that a leg holds several calls; the exact metrics
do not depend on that.
"""

from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

from resnet_bench.catalogue import VARIANTS

SUBJECT_API = 1

CASES = (
    "resnet18:forward",
    "resnet18:step",
    "resnet50:forward",
    "resnet34:exact",
    "resnet101:exact",
    "resnet152:exact",
)

BATCH_SIZE = 2
IMAGE_SIZE = 64
CLASSES = 1000


class TrainedNetwork:
    """A network in training mode with fixed inputs and an optimizer."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module.train()
        self.images = torch.randn(BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE)
        self.targets = torch.randint(CLASSES, (BATCH_SIZE,))
        self.optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)

    def forward(self) -> Tensor:
        """Return the logits of the fixed images."""
        logits: Tensor = self.module(self.images)
        return logits

    def step(self) -> None:
        """Take one training step."""
        self.optimizer.zero_grad()
        torch.autograd.backward(
            nn.functional.cross_entropy(self.forward(), self.targets)
        )
        self.optimizer.step()


def _variant(builder: str) -> Callable[[], TrainedNetwork]:
    def build() -> TrainedNetwork:
        return TrainedNetwork(getattr(torchvision.models, builder)(weights=None))

    return build


BUILDERS = {row.builder: _variant(row.builder) for row in VARIANTS.values()}


def subject(case: str) -> TrainedNetwork:
    """Return the object that a case measures; raises KeyError for no case."""
    return BUILDERS[case]()
