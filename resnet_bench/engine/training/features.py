"""What a frozen backbone makes of images: the input of its last layer."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.models import ResNet

from resnet_bench.engine.data.splits import Normalisation, Split
from resnet_bench.engine.training.evaluation import EVALUATION_BATCH, predict


def features(network: ResNet, split: Split, normalisation: Normalisation) -> Tensor:
    """Return the features (N, width) in eval mode; the network stays as it was."""
    head = network.fc
    network.fc = nn.Identity()
    try:
        return predict(network, split, normalisation).float()
    finally:
        network.fc = head


#: Sides of raw pixels above this are averaged down: 224 px would be 150,000 features.
LARGEST_PIXEL_SIDE = 32


def pixels(split: Split, normalisation: Normalisation) -> Tensor:
    """Return the normalised pixels (N, channels x height x width), at most 32 px.

    Of channels that are copies of each other one is kept.
    """
    grey = bool((split.images == split.images[:, :1]).all())
    pieces = []
    for piece in torch.split(split.images, EVALUATION_BATCH):
        images = normalisation.apply(piece)[:, : 1 if grey else None]
        if max(images.shape[2:]) > LARGEST_PIXEL_SIDE:
            images = adaptive_avg_pool2d(images, LARGEST_PIXEL_SIDE)
        pieces.append(torch.flatten(images, 1))
    return torch.cat(pieces)
