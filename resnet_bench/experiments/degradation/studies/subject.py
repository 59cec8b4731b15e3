"""The network under study: built from its cell, with its data and its trainer."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from resnet_bench.catalogue import DATASETS
from resnet_bench.engine.data import DataRequest, ImageData, load_data
from resnet_bench.engine.data.batches import augmentation_for, steps_per_epoch
from resnet_bench.engine.data.splits import Split
from resnet_bench.engine.models.cifar import build_cifar_network
from resnet_bench.engine.models.design import NetworkDesign, Shortcut
from resnet_bench.engine.models.resnets import (
    build_plain_twin,
    build_residual,
    copy_shared_weights,
)
from resnet_bench.engine.models.small_maps import compute_small_maps_densely
from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.engine.seeding import generator, seed_everything
from resnet_bench.engine.training.trainer import Trainer, TrainingPlan, schedule_for
from resnet_bench.experiments.degradation.grid import TREATMENTS
from resnet_bench.experiments.degradation.records import DegradationCell

#: Side in pixels of images that come in all sizes.
DEFAULT_SIDE = 64


def data_request(cell: DegradationCell) -> DataRequest:
    """Return what the cell's data are to look like."""
    varied = DATASETS[cell.dataset].image_size is None
    return DataRequest(
        name=cell.dataset,
        data_dir=Path(cell.data_dir) if cell.data_dir else None,
        download=cell.download,
        image_size=cell.image_size or (DEFAULT_SIDE if varied else None),
        channels=3 if cell.family == "imagenet" else None,
        skip_bad_images=cell.skip_bad_images,
    )


def design_of(cell: DegradationCell, data: ImageData) -> NetworkDesign:
    """Return the design of the cell's network of the CIFAR family."""
    changes = TREATMENTS[cell.treatment]
    design = NetworkDesign(
        depth=cell.depth,
        shortcut=_kind_of_shortcut(cell),
        width=cell.width,
        channels=data.channels,
        classes=len(data.classes),
        batch_norm=changes.batch_norm,
        zero_last_scale=changes.zero_last_scale,
        pre_activation=changes.pre_activation,
        initialisation="dirac" if changes.initialisation == "dirac" else "he",
    )
    if changes.shortcut_scale is None:
        return design
    return replace(design, shortcut_scale=changes.shortcut_scale)


def _kind_of_shortcut(cell: DegradationCell) -> Shortcut:
    if cell.shortcut == "plain":
        return "none"
    wanted = TREATMENTS[cell.treatment].shortcut_kind
    kinds: dict[str | None, Shortcut] = {
        "option-b": "option-b",
        "convolution": "convolution",
    }
    return kinds.get(wanted, "option-a")


def build_network(cell: DegradationCell, data: ImageData) -> nn.Module:
    """Return the cell's network; plain and residual twins get the same weights."""
    if cell.family == "cifar":
        return build_cifar_network(
            design_of(cell, data), generator(cell.seed, "weights")
        )
    seed_everything(cell.seed, "weights")
    residual: nn.Module = build_residual(cell.depth, len(data.classes))
    if cell.shortcut == "residual":
        return residual
    plain: nn.Module = build_plain_twin(cell.depth, len(data.classes))
    copy_shared_weights(residual, plain)
    return plain


def training_plan(cell: DegradationCell, data: ImageData) -> TrainingPlan:
    """Return how the cell's network is trained: equal steps for equal budgets."""
    optimizer: Literal["sgd", "adam"] = (
        "adam" if TREATMENTS[cell.treatment].optimizer == "adam" else "sgd"
    )
    steps = (
        cell.epochs * cell.budget * steps_per_epoch(len(data.train), cell.batch_size)
    )
    return TrainingPlan(
        schedule=schedule_for(cell.recipe, steps, cell.learning_rate, cell.depth),
        batch_size=cell.batch_size,
        optimizer=optimizer,
        augmentation=augmentation_for(cell.augmentation, data.channels),
        seed=cell.seed,
        channels_last=True,
    )


@dataclass
class Subject:
    """A network with its data and trainer; studies look at it and change nothing.

    `learned` says whether the trained network's error is below half of chance.
    """

    cell: DegradationCell
    data: ImageData
    model: nn.Module
    trainer: Trainer
    recalibration_images: int = 0
    learned: bool = True

    @cached_property
    def train(self) -> Split:
        """The images that it is trained on."""
        return self.trainer.split

    def sample(self, images: int) -> Split:
        """Return a fixed stratified subset of the training images."""
        if len(self.train) <= images:
            return self.train
        return self.train.first(images)


def make_subject(cell: DegradationCell, ranks: Ranks = ALONE) -> Subject:
    """Load the data, build the network and its trainer, on the cell's device."""
    data = load_data(data_request(cell)).to(cell.device)
    model = build_network(cell, data).to(cell.device)
    compute_small_maps_densely(model)
    train = data.train if cell.train_images is None else _few(data, cell.train_images)
    plan = training_plan(cell, data)
    trainer = Trainer(model, train, data.normalisation, plan, ranks=ranks)
    return Subject(cell=cell, data=data, model=model, trainer=trainer)


def _few(data: ImageData, images: int) -> Split:
    return data.train.first(min(images, len(data.train)))


def finite(value: float | torch.Tensor) -> float | None:
    """Return a number, None where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else None
