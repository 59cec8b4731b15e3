"""The network under study: built from its cell, trained, and judged at the end."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from resnet_bench.catalogue import DATASETS
from resnet_bench.engine.data import DataRequest, ImageData, load_data
from resnet_bench.engine.data.batches import augmentation_for, steps_per_epoch
from resnet_bench.engine.data.splits import Split
from resnet_bench.engine.devices import choose
from resnet_bench.engine.models.cifar import build_cifar_network
from resnet_bench.engine.models.design import NetworkDesign
from resnet_bench.engine.models.resnets import (
    build_plain_twin,
    build_residual,
    copy_shared_weights,
)
from resnet_bench.engine.models.small_maps import compute_small_maps_densely
from resnet_bench.engine.models.work import parameter_count
from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.engine.seeding import generator, seed_everything
from resnet_bench.engine.training.evaluation import (
    Evaluation,
    evaluate,
    packed,
    recalibrate,
)
from resnet_bench.engine.training.trainer import Trainer, TrainingPlan, schedule_for
from resnet_bench.experiments.degradation.grid import TREATMENTS
from resnet_bench.experiments.degradation.records import (
    DEFAULT_SIDE,
    CurvePoint,
    DegradationCell,
    TrainingResult,
)

#: Points of a training's curve that are kept.
CURVE_POINTS = 200


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
    return NetworkDesign(
        depth=cell.depth,
        shortcut="none" if cell.shortcut == "plain" else changes.shortcut_kind,
        shortcut_scale=changes.shortcut_scale,
        width=cell.width,
        channels=data.channels,
        classes=len(data.classes),
        batch_norm=changes.batch_norm,
        zero_last_scale=changes.zero_last_scale,
        pre_activation=changes.pre_activation,
        initialisation=changes.initialisation,
    )


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
    steps = (
        cell.epochs * cell.budget * steps_per_epoch(len(data.train), cell.batch_size)
    )
    return TrainingPlan(
        schedule=schedule_for(cell.recipe, steps, cell.learning_rate, cell.depth),
        batch_size=cell.batch_size,
        optimizer=TREATMENTS[cell.treatment].optimizer,
        augmentation=augmentation_for(
            cell.augmentation, data.channels, flips=data.flips
        ),
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
    data = load_data(data_request(cell)).to(cell.place)
    model = build_network(cell, data).to(cell.place)
    compute_small_maps_densely(model)
    images = len(data.train) if cell.train_images is None else cell.train_images
    train = data.train if images >= len(data.train) else data.train.first(images)
    plan = training_plan(cell, data)
    on_cuda = data.train.labels.is_cuda
    trainer = Trainer(
        model,
        train,
        data.normalisation,
        plan,
        ranks=ranks,
        # The gradients of several ranks travel between their steps.
        graphs=torch.cuda if on_cuda and ranks.alone else None,
    )
    if on_cuda:
        trainer.prepare()
    return Subject(cell=cell, data=data, model=model, trainer=trainer)


def finite(value: float | torch.Tensor) -> float | None:
    """Return a number, None where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else None


def finish(subject: Subject) -> TrainingResult:
    """Evaluate a trained network, recalibrating its batch norm on the way."""
    if subject.trainer.diverged:
        return _result(subject, None, None)
    normalisation = subject.data.normalisation
    running = evaluate(subject.model, subject.train, normalisation)
    subject.recalibration_images = recalibrate(
        subject.model, subject.train, normalisation
    )
    exact = evaluate(subject.model, subject.train, normalisation)
    subject.learned = exact.error_percent < _chance_percent(subject) / 2
    return _result(subject, running, exact)


def _result(
    subject: Subject, running: Evaluation | None, exact: Evaluation | None
) -> TrainingResult:
    trainer = subject.trainer
    chance = _chance_percent(subject)
    data = subject.data
    test = evaluate(subject.model, data.test, data.normalisation) if exact else None
    return TrainingResult(
        diverged=trainer.diverged,
        diverged_at_step=trainer.diverged_at_step,
        train_images_used=len(subject.train),
        test_images=len(subject.data.test),
        classes=len(subject.data.classes),
        skipped_images=subject.data.skipped_images,
        recalibration_images=subject.recalibration_images,
        data_sha256=subject.data.sha256(),
        steps=trainer.step,
        parameters=parameter_count(subject.model),
        chance_error_percent=chance,
        train_error_percent=running.error_percent if running else chance,
        train_error_recalibrated_percent=exact.error_percent if exact else chance,
        test_error_percent=test.error_percent if test else chance,
        train_loss=exact.loss if exact else None,
        test_loss=test.loss if test else None,
        seconds=trainer.seconds,
        step_seconds=trainer.seconds / max(1, trainer.step),
        observed_tf32=choose(subject.cell.place).rounds_to_tf32,
        right_test_answers=packed(test.right) if test else None,
    )


def _chance_percent(subject: Subject) -> float:
    return 100 * (1 - 1 / len(subject.data.classes))


def curve(subject: Subject) -> Iterator[CurvePoint]:
    """Yield the course of the training, at most 200 points, the last one always."""
    points = subject.trainer.curve
    stride = -(-len(points) // CURVE_POINTS)
    for number, point in enumerate(points, start=1):
        if number % stride == 0 or number == len(points):
            yield CurvePoint(
                step=point.step,
                epoch=point.epoch,
                learning_rate=point.learning_rate,
                running_loss=point.loss,
                running_error_percent=point.error_percent,
            )
