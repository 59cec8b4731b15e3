"""From a cell's plain parameters to the things that they name."""

from resnet_bench.engine import devices
from resnet_bench.engine.devices import Device
from resnet_bench.engine.models import resnets as models
from resnet_bench.engine.models.resnets import Builder
from resnet_bench.engine.timing.phases import Setting
from resnet_bench.experiments.speed.cells import RESIDUAL, SpeedCell


def device_of(cell: SpeedCell) -> Device:
    """Return the device that the cell asks for."""
    return Device(cell.device, cell.device_index)


def builder_of(cell: SpeedCell) -> Builder:
    """Return what builds the cell's model."""
    if cell.variant is not None:
        return models.variant_builder(cell.variant, cell.shortcut or RESIDUAL)
    return models.model_builder(cell.model or "")


def setting_of(cell: SpeedCell) -> Setting:
    """Return how the cell's model is run."""
    return Setting(
        device=device_of(cell),
        batch_size=cell.batch_size or 1,
        image_size=cell.image_size or 1,
        dtype=devices.DTYPES[cell.dtype],
        autocast=cell.amp,
        channels_last=cell.channels_last,
        compiled=cell.compiled,
        cuda_graphs=cell.cuda_graphs,
        seed=cell.seed,
    )
