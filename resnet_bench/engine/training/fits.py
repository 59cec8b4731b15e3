"""The ways a classifier for the target is made, each to the same kind of outcome."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from torch import Tensor
from torchvision.models import ResNet

from resnet_bench.engine.data import ImageData
from resnet_bench.engine.models.transfer import trainable_parameters
from resnet_bench.engine.training.evaluation import Evaluation, judge
from resnet_bench.engine.training.finetuning import (
    EpochState,
    FitSettings,
    RateChoice,
    choose_rate,
    make_trainer,
    train_epochs,
)
from resnet_bench.engine.training.probe import (
    Probe,
    features,
    fit_probe,
    pixels,
    put_into_head,
)
from resnet_bench.engine.training.strategies import Strategy
from resnet_bench.engine.training.trainer import Trainer

_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit or a training came to on the test half, at its end.

    `seconds` leaves evaluation out; `images` counts images trained on, repeats
    included; `rates` is what each learning rate of a grid did on held out images;
    `right` says of each image that a probe was tested on whether its answer was.
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
    right: Tensor | None = None

    @property
    def right_answers(self) -> str | None:
        """A bit per tested image, the first one highest, in hexadecimal."""
        if self.right is None:
            return None
        return np.packbits(self.right.numpy()).tobytes().hex()

    def seconds_to(self, target_percent: float) -> float | None:
        """Training time at the first evaluation that reached the target."""
        for state in self.curve:
            if state.test.accuracy_percent >= target_percent:
                return state.seconds
        reached = not self.curve and self.test.accuracy_percent >= target_percent
        return self.seconds if reached else None


def fit_pixels(data: ImageData) -> Fitted:
    """Fit logistic regression to the raw pixels: the least a network must beat."""
    begin = time.perf_counter()
    probe = _probe(pixels(data.train, data.normalisation), data)
    seconds = time.perf_counter() - begin
    return _probed(data, probe, pixels(data.test, data.normalisation), seconds)


def fit_features(network: ResNet, data: ImageData) -> Fitted:
    """Fit logistic regression to the frozen network's features, computed once."""
    begin = time.perf_counter()
    probe = _probe(features(network, data.train, data.normalisation), data)
    seconds = time.perf_counter() - begin
    tested = features(network, data.test, data.normalisation)
    return _probed(data, probe, tested, seconds)


def fit_features_out_of_fold(network: ResNet, data: ImageData) -> Fitted:
    """Fit logistic regression five times, each time testing on the fifth left out.

    Training and test half are pooled, so that every image is tested once: of a small
    data set that leaves less than half of the sampling error. Only for a network
    that saw neither half.
    """
    begin = time.perf_counter()
    halves = (data.train, data.test)
    parts = [features(network, half, data.normalisation).cpu() for half in halves]
    inputs = torch.cat(parts).numpy()
    labels = torch.cat([half.labels.cpu() for half in halves])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    logits = torch.zeros(len(labels), len(data.classes), dtype=torch.float64)
    for kept, left_out in folds.split(inputs, labels.numpy()):
        probe = fit_probe(inputs[kept], labels.numpy()[kept], len(data.classes))
        logits[left_out] = torch.from_numpy(probe.logits(inputs[left_out]))
    return Fitted(
        test=judge(logits, labels),
        seconds=time.perf_counter() - begin,
        trainable_parameters=probe.parameters,
        images=len(labels) * (_FOLDS - 1),
        right=logits.argmax(1) == labels,
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
        epochs=len(curve),
        steps=trainer.step,
        diverged=trainer.diverged,
        learning_rate=choice.learning_rate,
        rates=choice.accuracy_percent or None,
        curve=curve,
    )


def _with_logistic_head(
    build: Callable[[], ResNet], data: ImageData
) -> Callable[[], ResNet]:
    def make() -> ResNet:
        network = build()
        probe = _probe(features(network, data.train, data.normalisation), data)
        put_into_head(network.fc, probe)
        return network

    return make


def _probe(inputs: Tensor, data: ImageData) -> Probe:
    labels = data.train.labels.cpu().numpy()
    return fit_probe(inputs.cpu().numpy(), labels, len(data.classes))


def _probed(data: ImageData, probe: Probe, tested: Tensor, seconds: float) -> Fitted:
    logits = torch.from_numpy(probe.logits(tested.cpu().numpy()))
    labels = data.test.labels.cpu()
    return Fitted(
        test=judge(logits, labels),
        seconds=seconds,
        trainable_parameters=probe.parameters,
        images=len(data.train),
        right=logits.argmax(1) == labels,
    )
