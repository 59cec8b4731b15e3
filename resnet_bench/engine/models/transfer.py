"""Building a network for transfer: variant, stem, weights, then the new head."""

from dataclasses import dataclass

import torch
from torch import nn
from torchvision.models import ResNet, get_model

from resnet_bench.catalogue import VARIANTS
from resnet_bench.engine.models.stems import STEMS, Stem
from resnet_bench.engine.seeding import derived_seed
from resnet_bench.engine.weights.files import RANDOM, Weights, load_backbone


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


@dataclass(frozen=True, kw_only=True)
class NetworkRequest:
    """Which network is wanted.

    `zero_gamma` starts each block as the identity (Goyal et al. 2017, arXiv
    1706.02677, section 5.1), which lets the deep variants train within few steps. A
    frozen random backbone needs it off: its blocks would compute nothing.
    """

    variant: int
    classes: int
    stem: str
    seed: int
    zero_gamma: bool = True


def build_network(request: NetworkRequest, weights: Weights = RANDOM) -> ResNet:
    """Return the network with `weights` loaded first and a new head put on after.

    The same request gives the same network. Raises UsageError when the weights are of
    another architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(request.seed, "weights"))
        network: ResNet = get_model(
            VARIANTS[request.variant].builder,
            weights=None,
            zero_init_residual=request.zero_gamma,
        )
        replace_stem(network, STEMS[request.stem])
        load_backbone(network, weights)
        replace_head(network, request.classes)
    return network


def replace_stem(network: ResNet, stem: Stem) -> None:
    """Give the network another stem, freshly initialised; `imagenet` changes nothing.

    Call it before weights are loaded. Initialisation as torchvision's: He normal,
    fan out.
    """
    if stem.name == "imagenet":
        return
    old = network.conv1
    network.conv1 = nn.Conv2d(
        old.in_channels,
        old.out_channels,
        stem.kernel_size,
        stem.stride,
        padding=stem.kernel_size // 2,
        bias=False,
    )
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if not stem.pool:
        network.maxpool = nn.Identity()
