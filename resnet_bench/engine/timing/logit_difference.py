"""How far a faster way of computing differs from float32."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from resnet_bench.engine.devices import Device
from resnet_bench.engine.runtimes.base import repeated
from resnet_bench.engine.timing.phases import (
    Inference,
    Setting,
    make_batch,
    set_training,
)

#: Images that the comparison is made on; agreement has steps of one in so many.
IMAGES = 32
#: Batches that batch norm takes its statistics from. Fresh weights with the initial
#: statistics (mean 0, variance 1) would let activations grow from block to block.
CALIBRATION_BATCHES = 2


@dataclass(frozen=True)
class Difference:
    """Relative error of all logits (2-norm), and share of equal top-1 predictions."""

    logit_error: float
    top1_agreement: float


@dataclass(frozen=True)
class Reference:
    """Batches (N, 3, H, W) and the model's logits for them in float32 on the CPU.

    `logits` has a line per image. No batch holds more than IMAGES images.
    """

    batches: tuple[torch.Tensor, ...]
    logits: torch.Tensor


def make_reference(
    model: nn.Module, setting: Setting, images: torch.Tensor | None = None
) -> Reference:
    """Compute the model's logits in plain float32, on `images` (N, 3, H, W) or noise.

    The model is on the CPU and in float32, as it was built; it is left in evaluation
    mode. On noise its batch norm is settled first: it has its new statistics then.
    """
    if images is not None:
        set_training(model, False)
        batches = torch.split(images, min(IMAGES, setting.batch_size))
        with torch.no_grad():
            return Reference(batches, torch.cat([model(each) for each in batches]))
    batch_size = min(IMAGES, setting.batch_size)
    count = -(-IMAGES // batch_size)
    plain = Setting(Device("cpu"), batch_size, setting.image_size)
    batches = tuple(
        make_batch(replace(plain, seed=setting.seed + 1 + number), classes=1).images
        for number in range(count)
    )
    with torch.no_grad():
        _calibrate(model, batches[:CALIBRATION_BATCHES])
        set_training(model, False)
        logits = torch.cat([model(images) for images in batches])
    return Reference(batches, logits)


def _calibrate(model: nn.Module, batches: tuple[torch.Tensor, ...]) -> None:
    """Let each batch norm forget its statistics and average those of the batches."""
    layers = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    set_training(model, True)
    for images in batches:
        model(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def difference(reference: Reference, inference: Inference) -> Difference:
    """Run the same images the faster way and compare.

    Images are repeated to the batch that the faster way is made for: another size
    would be compiled anew.
    """
    size = inference.setting.batch_size
    logits = torch.cat(
        [
            inference.logits(repeated(images, size))[: len(images)]
            for images in reference.batches
        ]
    )
    error = (logits - reference.logits).norm() / reference.logits.norm()
    same = logits.argmax(1) == reference.logits.argmax(1)
    return Difference(error.item(), same.float().mean().item())
