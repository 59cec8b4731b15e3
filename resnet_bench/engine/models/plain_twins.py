"""torchvision's ResNet without its shortcuts, made of torchvision's own blocks."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from resnet_bench.catalogue import VARIANTS


class PlainBasicBlock(BasicBlock):  # type: ignore[misc] # torchvision has no types
    """torchvision's basic block with y = relu(F(x)): everything but the addition."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x)) for images (N, C, H, W)."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        return torch.relu_(self.bn2(self.conv2(hidden)))


class PlainBottleneck(Bottleneck):  # type: ignore[misc] # torchvision has no types
    """torchvision's bottleneck with y = relu(F(x)): everything but the addition."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x)) for images (N, C, H, W)."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        return torch.relu_(self.bn3(self.conv3(hidden)))


#: The plain block that stands for each of torchvision's.
PLAIN_BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {
    "basic": PlainBasicBlock,
    "bottleneck": PlainBottleneck,
}


def build_plain_twin(depth: int, classes: int = 1000) -> ResNet:
    """Return torchvision's ResNet of a depth (18, 34, 50, 101, 152) without shortcuts.

    Its `state_dict` has the residual network's keys and shapes less the projection
    shortcuts' (`downsample`), which a network without shortcuts has no place for.
    """
    variant = VARIANTS[depth]
    block = PLAIN_BLOCKS[variant.block]
    return ResNet(block, list(variant.blocks), num_classes=classes)


def build_residual(depth: int, classes: int = 1000) -> ResNet:
    """Return torchvision's ResNet of `depth` with fresh weights."""
    return getattr(resnet, VARIANTS[depth].builder)(num_classes=classes)


def copy_shared_weights(source: nn.Module, target: nn.Module) -> None:
    """Give a plain network the weights of its residual twin (or the reverse).

    Keys that only one of them has (projection shortcuts) stay as they are; so both
    arms start from the same weights wherever both have a weight.
    """
    wanted = target.state_dict()
    weights = source.state_dict()
    wanted.update({key: weights[key] for key in wanted if key in weights})
    target.load_state_dict(wanted)
