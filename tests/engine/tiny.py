"""A network with ResNet's names and a hundredth of its size, and data to match."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from resnet_bench.engine.data import ImageData, Normalisation, Split
from resnet_bench.engine.models import resnets


class TinyNetwork(nn.Module):
    """Stem, two stages and a head, named as torchvision's ResNet names them."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer4 = nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        )
        self.fc: nn.Module = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.bn1(self.conv1(images)))
        pooled = torch.relu(self.layer4(hidden)).mean((2, 3))
        logits: Tensor = self.fc(pooled)
        return logits


def tiny_network(seed: int = 0, classes: int = 2) -> TinyNetwork:
    torch.manual_seed(seed)
    return TinyNetwork(classes)


def tiny_data(images: int = 33, classes: int = 2) -> ImageData:
    """Bright and dark images: one class each, separable by anything."""
    halves = [_split(images, classes, seed) for seed in (0, 1)]
    return ImageData(
        name="tiny",
        classes=tuple(map(str, range(classes))),
        train=halves[0],
        test=halves[1],
        normalisation=Normalisation.of(halves[0].images),
    )


def _split(images: int, classes: int, seed: int) -> Split:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % classes
    noise = 0.05 * torch.rand(images, 3, 8, 8, generator=draw)
    levels = labels.float() / classes
    return Split(noise + levels.view(-1, 1, 1, 1), labels)


#: Width of the features in front of a small ResNet's fc.
SMALL_WIDTH = 32


class SmallResNet(ResNet):  # type: ignore[misc]  # torchvision has no types
    """A ResNet with one block per stage and a sixteenth of the usual channels."""

    def __init__(self, **options: Any) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1], **options)
        self.fc = nn.Linear(SMALL_WIDTH, 1000)

    def _make_layer(
        self, block: Any, planes: int, *arguments: Any, **options: Any
    ) -> nn.Sequential:
        made: nn.Sequential
        made = super()._make_layer(block, planes // 16, *arguments, **options)
        return made


def build_small_resnets(patch: pytest.MonkeyPatch) -> None:
    """Build every variant as a small ResNet, so that tests stay quick."""

    def build(name: str, *, zero_init_residual: bool, **_: Any) -> ResNet:
        return SmallResNet(zero_init_residual=zero_init_residual)

    patch.setattr(resnets, "get_model", build)


@pytest.fixture
def small_resnets(monkeypatch: pytest.MonkeyPatch) -> None:
    build_small_resnets(monkeypatch)
