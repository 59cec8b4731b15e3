"""Clean evaluation: fixed weights, eval mode, every image once, no augmentation."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnet_bench.engine.data.splits import Normalisation, Split

#: Images per forward pass.
EVALUATION_BATCH = 512

#: Bins of the expected calibration error (Guo et al. 2017, arXiv 1706.04599).
CALIBRATION_BINS = 15


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a network gets wrong on `images` images.

    `loss` is the mean negative log-likelihood in nats, None where not finite.
    `calibration_error_percent` is the expected calibration error in 15 equal bins,
    None where a logit is not finite.
    """

    images: int
    errors: int
    loss: float | None
    class_mean_accuracy_percent: float
    calibration_error_percent: float | None

    @property
    def error_percent(self) -> float:
        """Wrong answers in percent."""
        return 100 * self.errors / self.images

    @property
    def accuracy_percent(self) -> float:
        """Right answers in percent."""
        return 100 - self.error_percent


@torch.no_grad()
def predict(
    model: nn.Module,
    split: Split,
    normalisation: Normalisation,
    batch_size: int = EVALUATION_BATCH,
) -> Tensor:
    """Return logits (N, classes) in eval mode; the model's mode is put back."""
    was_training = model.training
    model.eval()
    try:
        batches = torch.split(split.images, batch_size)
        return torch.cat([model(normalisation.apply(batch)) for batch in batches])
    finally:
        model.train(was_training)


def judge(logits: Tensor, labels: Tensor) -> Evaluation:
    """Hold logits (N, classes) against labels (N,); NaN counts as wrong."""
    logits = logits.float()
    right = (logits.argmax(1) == labels) & logits.isfinite().all(1)
    loss = float(cross_entropy(logits, labels))
    return Evaluation(
        images=len(labels),
        errors=len(labels) - int(right.sum()),
        loss=loss if torch.isfinite(torch.tensor(loss)) else None,
        class_mean_accuracy_percent=100 * _class_mean(right, labels),
        calibration_error_percent=_calibration_error_percent(logits, right),
    )


def evaluate(
    model: nn.Module, split: Split, normalisation: Normalisation
) -> Evaluation:
    """Return how the model does on a split, in eval mode."""
    return judge(predict(model, split, normalisation), split.labels)


def _class_mean(right: Tensor, labels: Tensor) -> float:
    """Mean over the classes that occur of the share of right answers."""
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
