"""Cells and subjects small enough to train in a blink."""

from __future__ import annotations

from typing import Any

import torch

from resnet_bench.engine.models.cifar import CifarNetwork
from resnet_bench.experiments.degradation.measures.network import (
    Subject,
    make_subject,
)
from resnet_bench.experiments.degradation.records import DegradationCell

SMALL: dict[str, Any] = {
    "width": 4,
    "epochs": 1,
    "batch_size": 64,
    "depth": 14,
    "train_images": 256,
}


def small_cell(**changes: Any) -> DegradationCell:
    """Return a narrow, shallow cell: 22 steps over a few images."""
    return DegradationCell(**{**SMALL, **changes})


def subject(steps: int = 0, **changes: Any) -> Subject:
    """Return a subject that was trained for a few steps."""
    torch.set_num_threads(1)
    made = make_subject(small_cell(**changes))
    made.trainer.advance(steps)
    return made


def network_of(made: Subject) -> CifarNetwork:
    """Return the subject's network, known to be of the CIFAR family."""
    if not isinstance(made.model, CifarNetwork):
        raise TypeError("the subject's network is not of the CIFAR family")
    return made.model
