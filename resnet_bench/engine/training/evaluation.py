"""A network's predictions and errors on a split, with fixed weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnet_bench.engine.data.splits import Normalisation, Split

#: Images per forward pass, and pixels of one channel: larger images go in smaller
#: batches, or ResNet-18 would take 5 GB for 512 of 224 px.
EVALUATION_BATCH = 512
EVALUATION_PIXELS = 512 * 64 * 64

#: Bins of the expected calibration error (Guo et al. 2017, arXiv 1706.04599).
CALIBRATION_BINS = 15

#: Bytes that one activation of the recalibration pass may take.
ACTIVATION_BYTES = 2**30

BatchNorm = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A network's errors on `images` images.

    `loss` is the mean negative log-likelihood in nats, None where not finite.
    `calibration_error_percent` is the expected calibration error in 15 equal bins,
    None where a logit is not finite. `right` (N) says whether each answer was, and
    `confusion` (classes, classes) counts the answers, by the true class in rows.
    """

    images: int
    errors: int
    loss: float | None
    class_mean_accuracy_percent: float
    calibration_error_percent: float | None
    right: Tensor = field(compare=False, repr=False)
    confusion: Tensor = field(compare=False, repr=False)

    @property
    def error_percent(self) -> float:
        """Error in percent."""
        return 100 * self.errors / self.images

    @property
    def accuracy_percent(self) -> float:
        """Accuracy in percent."""
        return 100 - self.error_percent


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode for a while, without gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def predict(model: nn.Module, split: Split, normalisation: Normalisation) -> Tensor:
    """Return logits (N, classes) in eval mode; the model's mode is put back."""
    with in_eval_mode(model):
        fitting = EVALUATION_PIXELS // split.images[0, 0].numel()
        batches = split.batches(max(1, min(EVALUATION_BATCH, fitting)))
        return torch.cat([model(normalisation.apply(batch)) for batch in batches])


def packed(right: Tensor) -> str:
    """Return a bit per image, the first one highest, in hexadecimal."""
    return np.packbits(right.cpu().numpy()).tobytes().hex()


def judge(logits: Tensor, labels: Tensor) -> Evaluation:
    """Compare logits (N, classes) with labels (N,); NaN counts as wrong."""
    logits = logits.float()
    right = (logits.argmax(1) == labels) & logits.isfinite().all(1)
    loss = float(cross_entropy(logits, labels))
    return Evaluation(
        images=len(labels),
        errors=len(labels) - int(right.sum()),
        loss=loss if math.isfinite(loss) else None,
        class_mean_accuracy_percent=100 * _class_mean(right, labels),
        calibration_error_percent=_calibration_error_percent(logits, right),
        right=right.cpu(),
        confusion=_confusion(logits.argmax(1), labels, logits.shape[1]),
    )


def evaluate(
    model: nn.Module, split: Split, normalisation: Normalisation
) -> Evaluation:
    """Return how the model does on a split, in eval mode."""
    return judge(predict(model, split, normalisation), split.labels)


def _confusion(answers: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count the answers (N) by the true class (N): one row per true class."""
    pairs = labels * classes + answers
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()


def _class_mean(right: Tensor, labels: Tensor) -> float:
    """Accuracy per class, averaged over the classes that occur."""
    counts = torch.bincount(labels)
    hits = torch.bincount(labels[right], minlength=len(counts))
    present = counts > 0
    return float((hits[present] / counts[present]).mean())


def _calibration_error_percent(logits: Tensor, right: Tensor) -> float | None:
    """Mean gap between confidence and accuracy over bins, weighted by their size."""
    if not logits.isfinite().all():
        return None
    confidence = logits.softmax(1).amax(1)
    bins = (confidence * CALIBRATION_BINS).long().clamp_max(CALIBRATION_BINS - 1)
    gaps = torch.zeros(CALIBRATION_BINS, dtype=torch.float64)
    gaps.index_add_(0, bins.cpu(), (confidence.double() - right.double()).cpu())
    return 100 * float(gaps.abs().sum() / len(right))


def batch_norms(model: nn.Module) -> list[BatchNorm]:
    """Return the model's batch-norm layers in order."""
    return [module for module in model.modules() if isinstance(module, BatchNorm)]


def recalibrate(model: nn.Module, split: Split, normalisation: Normalisation) -> int:
    """Set every batch norm's statistics to those of the split, as one batch.

    Running averages lag behind the weights; one pass of all images as a single
    batch gives each layer the exact mean and (unbiased) variance of what it sees
    with the weights as they are. Where an activation of all images would exceed
    1 GiB, a stratified subset that fits is used. Returns the images used: 0 for a
    network without batch norm. Only batch-norm buffers change.
    """
    layers = batch_norms(model)
    if not layers:
        return 0
    count = _images_that_fit(model, split, normalisation)
    used = split if len(split) <= count else split.first(count)
    momenta = [layer.momentum for layer in layers]
    with in_eval_mode(model):
        for layer in layers:
            layer.train()
            layer.momentum = 1.0
        try:
            model(normalisation.apply(used.images))
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
    return len(used)


def _images_that_fit(
    model: nn.Module, split: Split, normalisation: Normalisation
) -> int:
    """Return how many images keep the largest activation within its bytes."""
    largest = 1

    def note(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal largest
        largest = max(largest, inputs[0].numel() * inputs[0].element_size())

    hooks = [layer.register_forward_pre_hook(note) for layer in batch_norms(model)]
    try:
        with in_eval_mode(model):
            model(normalisation.apply(split.images[:1]))
    finally:
        for hook in hooks:
            hook.remove()
    return max(2, ACTIVATION_BYTES // largest)
