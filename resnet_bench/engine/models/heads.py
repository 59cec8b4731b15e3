"""Replacing the last layer, and saying what is trainable before and after."""

from dataclasses import dataclass

from torch import nn
from torchvision.models import ResNet


@dataclass(frozen=True)
class HeadState:
    """The last layer of a network at one moment, and how much of it all trains."""

    in_features: int
    out_features: int
    layer: str
    trainable_parameters: int
    total_parameters: int
    trainable_names: tuple[str, ...]


def replace_head(network: ResNet, classes: int) -> None:
    """Put a new, trainable fc for `classes` outputs in place of the old one.

    Its width is read from the old layer (512 for 18 and 34, 2048 from 50 on). Load
    weights first: a later load would put the old classes back.
    """
    network.fc = nn.Linear(network.fc.in_features, classes)


def freeze_all(network: nn.Module) -> None:
    """Stop every parameter from training."""
    for parameter in network.parameters():
        parameter.requires_grad = False


def trainable_parameters(network: nn.Module) -> int:
    """Count the numbers that training changes."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def head_state(network: ResNet) -> HeadState:
    """Describe the last layer and what is trainable now."""
    names = tuple(name for name, p in network.named_parameters() if p.requires_grad)
    return HeadState(
        in_features=network.fc.in_features,
        out_features=network.fc.out_features,
        layer=repr(network.fc),
        trainable_parameters=trainable_parameters(network),
        total_parameters=sum(p.numel() for p in network.parameters()),
        trainable_names=names,
    )
