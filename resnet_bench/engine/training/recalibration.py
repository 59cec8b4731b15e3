"""Exact batch-norm statistics of fixed weights, in place of running averages."""

import math

import torch
from torch import nn

from resnet_bench.engine.data.splits import Normalisation, Split

#: Bytes that one activation of the recalibration pass may take.
ACTIVATION_BYTES = 2**30

BatchNorm = nn.modules.batchnorm._BatchNorm


def batch_norms(model: nn.Module) -> list[BatchNorm]:
    """Return the model's batch-norm layers in order."""
    return [module for module in model.modules() if isinstance(module, BatchNorm)]


@torch.no_grad()
def recalibrate(
    model: nn.Module,
    split: Split,
    normalisation: Normalisation,
    images_at_most: int | None = None,
) -> int:
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
    used = split if images_at_most is None else _at_most(split, images_at_most)
    used = _at_most(used, _images_that_fit(model, split, normalisation))
    was_training = model.training
    momenta = [layer.momentum for layer in layers]
    model.eval()
    try:
        for layer in layers:
            layer.train()
            layer.momentum = 1.0
        model(normalisation.apply(used.images))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.train(was_training)
    return len(used)


def _at_most(split: Split, count: int) -> Split:
    return split if len(split) <= count else split.first(count)


def _images_that_fit(
    model: nn.Module, split: Split, normalisation: Normalisation
) -> int:
    """Return how many images keep the largest activation within its bytes."""
    largest = 1

    def note(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal largest
        largest = max(largest, inputs[0].numel() * inputs[0].element_size())

    hooks = [layer.register_forward_pre_hook(note) for layer in batch_norms(model)]
    was_training = model.training
    model.eval()
    try:
        model(normalisation.apply(split.images[:1]))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return max(2, math.floor(ACTIVATION_BYTES / largest))
