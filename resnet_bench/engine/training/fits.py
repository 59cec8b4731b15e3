"""The ways to train a classifier for the target, all with the same kind of outcome.

Logistic regression on pixels or on a frozen network's features, or a training by one
of the strategies, which may start from such a regression.
"""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.models import ResNet

from resnet_bench.engine.data import ImageData
from resnet_bench.engine.data.splits import Normalisation, Split, is_grey
from resnet_bench.engine.models.resnets import trainable_parameters
from resnet_bench.engine.training.evaluation import (
    EVALUATION_BATCH,
    Evaluation,
    judge,
    predict,
)
from resnet_bench.engine.training.finetuning import (
    EpochState,
    FitSettings,
    RateChoice,
    choose_rate,
    make_trainer,
    train_epochs,
)
from resnet_bench.engine.training.strategies import Strategy
from resnet_bench.engine.training.trainer import Trainer

#: Bytes that the inputs of a fit may take as doubles. More images than that are not
#: fitted but a stratified part of them: 22,000 of 32 px, 131,000 features of ResNet-18.
PROBE_BYTES = 2**29

Features = NDArray[np.float32]
Targets = NDArray[np.int64]

_FOLDS = 5
_MAX_ITERATIONS = 1000

#: Sides of raw pixels above this are averaged down: 224 px would be 150,000 features.
LARGEST_PIXEL_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The result of a fit or a training on the test half, at its end.

    `seconds` leaves evaluation out; `images` counts images trained on, repeats
    included; `rates` is what each learning rate of a grid did on held out images;
    `network` is what was trained, with the probe as its head; raw pixels have none;
    `peak_bytes` is the most memory in use meanwhile, None where nobody knows.
    """

    test: Evaluation
    seconds: float
    trainable_parameters: int
    images: int
    epochs: int = 0
    steps: int = 0
    diverged: bool = False
    learning_rate: float | None = None
    rates: dict[str, float] | None = None
    curve: tuple[EpochState, ...] = ()
    network: ResNet | None = None
    peak_bytes: int | None = None

    def seconds_to(self, target_percent: float) -> float | None:
        """Training time at the first evaluation that reached the target."""
        for state in self.curve:
            if state.test.accuracy_percent >= target_percent:
                return state.seconds
        reached = not self.curve and self.test.accuracy_percent >= target_percent
        return self.seconds if reached else None


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
        scaled = features - centre
        scaled /= scale
        regression.fit(scaled, targets)
    return _folded(regression, centre, scale, classes)


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


def put_into_head(head: nn.Linear, probe: Probe) -> None:
    """Copy the probe into a network's last layer."""
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(probe.weight))
        head.bias.copy_(torch.from_numpy(probe.bias))


def features(network: ResNet, split: Split, normalisation: Normalisation) -> Tensor:
    """Return the features (N, width) in eval mode; the network stays as it was."""
    head = network.fc
    network.fc = nn.Identity()
    try:
        return predict(network, split, normalisation).float()
    finally:
        network.fc = head


def pixels(split: Split, normalisation: Normalisation, channels: int) -> Tensor:
    """Return the normalised pixels (N, channels x height x width), at most 32 px.

    Of the channels the first `channels` are kept.
    """
    pieces = []
    for piece in split.batches(EVALUATION_BATCH):
        images = normalisation.apply(piece)[:, :channels]
        if max(images.shape[2:]) > LARGEST_PIXEL_SIDE:
            images = adaptive_avg_pool2d(images, LARGEST_PIXEL_SIDE)
        pieces.append(torch.flatten(images, 1))
    return torch.cat(pieces)


def _channels(split: Split) -> int:
    """Return how many channels differ: one of grey images."""
    batches = split.batches(EVALUATION_BATCH)
    return 1 if all(map(is_grey, batches)) else int(split.images.shape[1])


def fit_pixels(data: ImageData) -> Fitted:
    """Fit logistic regression to the raw pixels: the least a network must beat."""
    sides = (min(side, LARGEST_PIXEL_SIDE) for side in data.image_size)
    channels = _channels(data.train)
    return _fit_probe_of(
        lambda half: pixels(half, data.normalisation, channels),
        _fitting(data, channels * math.prod(sides)),
    )


def _fitting(data: ImageData, width: int) -> ImageData:
    """Return the data with no more training images than a fit of `width` can take."""
    most = PROBE_BYTES // (8 * width)
    if len(data.train) <= most:
        return data
    return replace(data, train=data.train.first(most))


def fit_features(network: ResNet, data: ImageData) -> Fitted:
    """Fit logistic regression to the frozen network's features, computed once.

    The network gets it as its head.
    """

    def of(half: Split) -> Tensor:
        return features(network, half, data.normalisation)

    fitting = _fitting(data, network.fc.in_features)
    return replace(_fit_probe_of(of, fitting, network.fc), network=network)


def fit_features_out_of_fold(network: ResNet, data: ImageData) -> Fitted:
    """Fit logistic regression five times, each time testing on the fifth left out.

    As many times as the rarest class has images, where these are fewer than five.
    Training and test half are pooled, so that every image is tested once: of a small
    data set that leaves less than half of the sampling error. Only for a network
    that saw neither half.
    """
    begin = time.perf_counter()
    halves = (data.train, data.test)
    parts = [features(network, half, data.normalisation).cpu() for half in halves]
    inputs = torch.cat(parts).numpy()
    labels = torch.cat([half.labels.cpu() for half in halves])
    count = min(_FOLDS, *filter(None, torch.bincount(labels).tolist()))
    folds = StratifiedKFold(count, shuffle=True, random_state=0)
    logits = torch.zeros(len(labels), len(data.classes), dtype=torch.float64)
    for kept, left_out in folds.split(inputs, labels.numpy()):
        probe = fit_probe(inputs[kept], labels.numpy()[kept], len(data.classes))
        logits[left_out] = torch.from_numpy(probe.logits(inputs[left_out]))
    return Fitted(
        test=judge(logits, labels),
        seconds=time.perf_counter() - begin,
        trainable_parameters=probe.parameters,
        images=len(labels) * (count - 1),
    )


def train_strategy(
    build: Callable[[], ResNet],
    strategy: Strategy,
    data: ImageData,
    settings: FitSettings,
    rates: tuple[float, ...] = (),
    state_file: Path | None = None,
) -> Fitted:
    """Train the network that `build` returns; of several `rates` the best is chosen.

    Choosing is not counted as training time, fitting the head first is.
    """
    make = _with_logistic_head(build, data) if strategy.head == "logistic" else build
    choice = RateChoice(learning_rate=settings.learning_rate, accuracy_percent={})
    if len(rates) > 1:
        choice = choose_rate(make, strategy, data, settings, rates)
        settings = replace(settings, learning_rate=choice.learning_rate)
    begin = time.perf_counter()
    network = make()
    head_seconds = time.perf_counter() - begin if strategy.head == "logistic" else 0.0
    trainer = make_trainer(network, strategy, data, settings)
    curve = tuple(
        replace(state, seconds=state.seconds + head_seconds)
        for state in train_epochs(trainer, data, state_file)
    )
    return _trained(network, trainer, curve, choice)


def _trained(
    network: ResNet,
    trainer: Trainer,
    curve: tuple[EpochState, ...],
    choice: RateChoice,
) -> Fitted:
    batches = trainer.order.batches
    per_epoch = min(len(trainer.split), batches * trainer.plan.batch_size)
    return Fitted(
        test=curve[-1].test,
        seconds=curve[-1].seconds,
        trainable_parameters=trainable_parameters(network),
        images=round(per_epoch * trainer.step / batches),
        epochs=curve[-1].epoch,
        steps=trainer.step,
        diverged=trainer.diverged,
        learning_rate=choice.learning_rate,
        rates=choice.accuracy_percent or None,
        curve=curve,
        network=network,
        peak_bytes=trainer.peak_bytes,
    )


def _with_logistic_head(
    build: Callable[[], ResNet], data: ImageData
) -> Callable[[], ResNet]:
    def make() -> ResNet:
        network = build()
        some = _fitting(data, network.fc.in_features)
        probe = _probe(features(network, some.train, some.normalisation), some)
        put_into_head(network.fc, probe)
        return network

    return make


def _probe(inputs: Tensor, data: ImageData) -> Probe:
    labels = data.train.labels.cpu().numpy()
    return fit_probe(inputs.cpu().numpy(), labels, len(data.classes))


def _fit_probe_of(
    inputs: Callable[[Split], Tensor], data: ImageData, head: nn.Linear | None = None
) -> Fitted:
    """Fit a probe to what `inputs` makes of the training half, and test it."""
    begin = time.perf_counter()
    probe = _probe(inputs(data.train), data)
    seconds = time.perf_counter() - begin
    logits = torch.from_numpy(probe.logits(inputs(data.test).cpu().numpy()))
    if head is not None:
        put_into_head(head, probe)
    labels = data.test.labels.cpu()
    return Fitted(
        test=judge(logits, labels),
        seconds=seconds,
        trainable_parameters=probe.parameters,
        images=len(data.train),
    )
