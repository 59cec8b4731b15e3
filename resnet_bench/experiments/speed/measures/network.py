"""From a cell's plain parameters to the things that they name."""

from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from resnet_bench.engine import devices
from resnet_bench.engine.devices import Device
from resnet_bench.engine.models import resnets as models
from resnet_bench.engine.models.resnets import Builder
from resnet_bench.engine.runtimes.base import Terms
from resnet_bench.engine.timing.phases import Setting, make_batch
from resnet_bench.engine.weights.brief import (
    CALIBRATION_IMAGES,
    BrieflyTrained,
    BriefTraining,
    briefly_trained,
)
from resnet_bench.experiments.speed.cells import RESIDUAL, TIME, TRAINED, SpeedCell

#: Away from the seeds of images that are timed or compared.
CALIBRATION_SEED = 1_000


def device_of(cell: SpeedCell) -> Device:
    """Return the device that the cell asks for."""
    return Device(cell.device, cell.device_index)


def builder_of(cell: SpeedCell) -> Builder:
    """Return what builds the cell's model, with trained weights where it has them."""
    if cell.variant is None:
        return models.model_builder(cell.model or "")
    build = models.variant_builder(cell.variant, cell.shortcut or RESIDUAL)
    trained = trained_of(cell)
    return build if trained is None else partial(_trained, build, trained)


def _trained(build: Builder, trained: BrieflyTrained) -> nn.Module:
    model = build()
    model.load_state_dict(trained.state)
    return model


def trained_of(cell: SpeedCell) -> BrieflyTrained | None:
    """Return the trained weights that the cell's answers rest on; None for fresh."""
    if cell.weights != TRAINED or cell.variant is None or not cell.infers:
        return None
    return _brief(cell.variant, cell.image_size or 1)


@lru_cache(1)
def _brief(variant: int, image_size: int) -> BrieflyTrained:
    return briefly_trained(BriefTraining(variant, image_size))


def setting_of(cell: SpeedCell) -> Setting:
    """Return how the cell's model is run."""
    return Setting(
        device=device_of(cell),
        batch_size=cell.batch_size or 1,
        image_size=cell.image_size or 1,
        dtype=torch.float32 if cell.runtime else devices.DTYPES[cell.dtype],
        autocast=cell.amp,
        channels_last=cell.channels_last,
        compiled=cell.compiled,
        cuda_graphs=cell.cuda_graphs,
        seed=cell.seed,
        runtime=terms_of(cell),
    )


def terms_of(cell: SpeedCell) -> Terms | None:
    """Return what another runtime than torch is asked for; None for torch."""
    if cell.runtime is None:
        return None
    return Terms(
        cell.runtime,
        cell.dtype,
        cell.threads,
        cell.device,
        cell.device_index,
        streams=(cell.streams or 0) if cell.measure == TIME else 0,
        calibration=partial(calibration_of, cell),
    )


def calibration_of(cell: SpeedCell) -> Tensor:
    """Return images (N, 3, H, W) to take int8's scales from; of fresh weights noise."""
    trained = trained_of(cell)
    if trained is not None:
        return trained.calibration
    plain = Setting(Device("cpu"), CALIBRATION_IMAGES, cell.image_size or 1)
    # Not the images that answers are compared on.
    return make_batch(
        replace(plain, seed=cell.seed + CALIBRATION_SEED), classes=1
    ).images
