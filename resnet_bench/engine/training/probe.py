"""Logistic regression on frozen features, and its transfer into a network's fc."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
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


Features = NDArray[np.float32]
Targets = NDArray[np.int64]

_MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Probe:
    """A linear classifier: logits are `features @ weight.T + bias`."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def logits(self, features: Features) -> NDArray[np.float64]:
        """Return the logits of `features` (images x width)."""
        product: NDArray[np.float64] = features @ self.weight.T + self.bias
        return product

    @property
    def parameters(self) -> int:
        """How many numbers were fitted."""
        return self.weight.size + self.bias.size


def fit_probe(features: Features, targets: Targets, classes: int) -> Probe:
    """Fit multinomial logistic regression (L2, C = 1) on centred, scaled features.

    All features share one scale, the root of their mean variance: a scale for each
    would blow up those that hardly vary. Centring and scale are folded into the
    weights, so that the result is one plain linear layer for `features` (images x
    width) as they are. Classes absent from `targets` never win. The BLAS gets torch's
    number of threads: with one per core in each of several processes at once, a fit
    took 30 times as long.
    """
    centre = features.mean(0, dtype=np.float64)
    scale = float(np.sqrt(features.var(0, dtype=np.float64).mean())) or 1.0
    regression = LogisticRegression(max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings(), threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit((features - centre) / scale, targets)
    return _folded(regression, centre, scale, classes)


def put_into_head(head: nn.Linear, probe: Probe) -> None:
    """Copy the probe into a network's last layer."""
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(probe.weight))
        head.bias.copy_(torch.from_numpy(probe.bias))


def _folded(
    regression: LogisticRegression,
    centre: NDArray[np.float64],
    scale: float,
    classes: int,
) -> Probe:
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps one row for two classes
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
    scaled = coefficients / scale
    weight = np.zeros((classes, scaled.shape[1]))
    bias = np.full(classes, -1e9)
    weight[regression.classes_] = scaled
    bias[regression.classes_] = intercepts - scaled @ centre
    return Probe(weight, bias)
