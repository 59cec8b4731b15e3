"""What a frozen backbone makes of images: the input of its last layer."""

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from resnet_bench.engine.data.splits import Normalisation, Split
from resnet_bench.engine.evaluation import predict


def features(network: ResNet, split: Split, normalisation: Normalisation) -> Tensor:
    """Return the features (N, width) in eval mode; the network stays as it was."""
    head = network.fc
    network.fc = nn.Identity()
    try:
        return predict(network, split, normalisation).float()
    finally:
        network.fc = head


def pixels(split: Split, normalisation: Normalisation) -> Tensor:
    """Return the normalised pixels (N, channels x height x width).

    Of channels that are copies of each other one is kept.
    """
    images = normalisation.apply(split.images)
    if bool((split.images == split.images[:, :1]).all()):
        images = images[:, :1]
    return torch.flatten(images, 1)
