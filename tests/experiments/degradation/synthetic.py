"""Runs of a made-up world, whose networks do what a test says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from resnet_bench.engine.training.evaluation import packed
from resnet_bench.experiments.degradation.records import (
    Construction,
    CurvePoint,
    DegradationCell,
    GradientSummary,
    IdentityInsertion,
    LayerGradient,
    LayerResponse,
    Lesion,
    LossLine,
    LossSurface,
    SizeCheck,
    TrainingResult,
)
from resnet_bench.experiments.degradation.spec import Config, expand
from resnet_bench.records import Record, to_json
from resnet_bench.store.reading import CellEnd, Run

Of = Callable[[DegradationCell], float]

ENVIRONMENT = {
    "cpu": {"model": "Example CPU", "usable_cores": 2},
    "gpus": [],
    "libraries": {"torch": "2.11.0"},
}
TREATMENT_ERRORS = {
    "convolution-shortcut": 6.0,
    "lambda-0.25": 70.0,
    "lambda-0.5": 40.0,
    "lambda-0.75": 12.0,
}


def jitter(cell: DegradationCell, size: float = 0.1) -> float:
    """Return what sets the seeds apart: between -size and size."""
    return size * (cell.seed % 3 - 1)


def textbook_error(cell: DegradationCell) -> float:
    """Plain networks fail with depth, slowly less so with more steps."""
    if cell.train_images is not None:
        return 0.0
    if cell.shortcut == "residual":
        return 1.0 + TREATMENT_ERRORS.get(cell.treatment, 0.0) + jitter(cell)
    by_depth = 2.0 + 86.0 / (1 + math.exp((45 - cell.depth) / 5))
    if cell.depth < 20:
        by_depth = 4.0
    return by_depth * (0.9 ** (cell.budget - 1)) + jitter(cell)


def textbook_gap(cell: DegradationCell) -> float:
    """Only what was learned by heart leaves a gap."""
    return 30.0 + jitter(cell) if cell.train_images else 2.0


def textbook_gradient(cell: DegradationCell) -> float:
    """Gradients grow on their way down through plain networks with batch norm."""
    if cell.treatment == "no-batch-norm":
        return 0.1 + 0.01 * jitter(cell)
    base = 1.13 if cell.shortcut == "plain" else 1.02
    return float(base**cell.depth) * (1 + jitter(cell))


def textbook_response(cell: DegradationCell) -> float:
    """Residual functions are small, and smaller in deeper networks."""
    if cell.shortcut == "plain":
        return 1.0 + jitter(cell)
    return 4.0 / cell.depth + 0.01 * jitter(cell)


@dataclass(frozen=True)
class World:
    """What networks do; by default what the tutorial and the papers say."""

    error: Of = textbook_error
    gap: Of = textbook_gap
    gradient: Of = textbook_gradient
    response: Of = textbook_response
    deletion: Of = lambda cell: (
        (0.3 if cell.shortcut == "residual" else 80.0) + jitter(cell)
    )
    wiggles: Of = lambda cell: (
        (0.4 if cell.shortcut == "plain" else 0.01) * (1 + jitter(cell))
    )
    folded_wiggles: Of = lambda cell: 0.5
    odd_lines: Of = lambda cell: 1.0
    inserted_difference: Of = lambda cell: 0.0 if cell.shortcut == "residual" else 9.0
    inserted_error: Of = lambda cell: 0.0 if cell.shortcut == "residual" else 90.0
    later_loss: Of = lambda cell: 0.01 * jitter(cell)
    constructed_difference: Of = lambda cell: 2e-6
    test_images: int = 10_000
    diverged: Callable[[DegradationCell], bool] = lambda cell: False
    adaptive_accepts: Callable[[int], bool] = lambda size: True
    flatten_accepts: Callable[[int], bool] = lambda size: size == 32


def synthetic_run(world: World | None = None, **options: Any) -> Run:
    """Return a complete run of the world with a config of these options."""
    config = Config(**options)
    cells = expand(config)
    keys = {cell: cell.key for cell in cells}
    records = [
        {"type": record.type_name(), "cell": key, "attempt": 1, **to_json(record)}
        for cell, key in keys.items()
        for record in records_of(cell, world or World())
    ]
    header = {
        "run": "20260102T030405Z_abcdef0_1a2b",
        "experiment": "degradation",
        "config": to_json(config),
        "environment": ENVIRONMENT,
        "cells": {key: cell.parameters for cell, key in keys.items()},
    }
    ends = {key: CellEnd("ok", 1) for key in keys.values()}
    return Run(Path("results"), header, records, ends, "complete")


def records_of(cell: DegradationCell, world: World) -> Iterator[Record]:
    """Yield what a cell of this world records."""
    if cell.task == "anysize":
        yield from sizes(world)
        return
    yield result(cell, world)
    yield from curve(cell, world)
    studies = {
        "gradients": gradients,
        "response": responses,
        "lesion": lesions,
        "landscape": landscapes,
        "identity": insertions,
        "constructed": constructions,
    }
    for name, study in studies.items():
        if name in cell.studies and cell.train_images is None:
            yield from study(cell, world)


def result(cell: DegradationCell, world: World) -> TrainingResult:
    diverged = world.diverged(cell)
    error = 90.0 if diverged else max(0.0, world.error(cell))
    test = 90.0 if diverged else min(100.0, error + world.gap(cell))
    loss = None if diverged else error / 40
    return TrainingResult(
        diverged=diverged,
        diverged_at_step=7 if diverged else None,
        train_images_used=cell.train_images or 1437,
        test_images=world.test_images,
        classes=10,
        skipped_images=0,
        recalibration_images=1437,
        data_sha256="0" * 64,
        steps=11 * cell.epochs * cell.budget,
        parameters=1000 * cell.depth,
        chance_error_percent=90.0,
        train_error_percent=error,
        train_error_recalibrated_percent=error,
        test_error_percent=test,
        train_loss=loss,
        test_loss=loss,
        seconds=1.0,
        step_seconds=0.01,
        right_test_answers=None if diverged else answers(test, world.test_images),
    )


def answers(error_percent: float, images: int) -> str:
    """Return answers of which the last ones are wrong, as records keep them."""
    wrong = round(error_percent / 100 * images)
    right = torch.arange(images) < images - wrong
    return packed(right)


def curve(cell: DegradationCell, world: World) -> Iterator[CurvePoint]:
    end = max(0.0, world.error(cell))
    for epoch in range(1, cell.epochs * cell.budget + 1):
        left = math.exp(-epoch / 2.0)
        error = end + (90 - end) * left
        yield CurvePoint(
            step=11 * epoch,
            epoch=epoch,
            learning_rate=0.1,
            running_loss=None if world.diverged(cell) else error / 40 + 1e-3,
            running_error_percent=error,
        )


def gradients(cell: DegradationCell, world: World) -> Iterator[Record]:
    ratio = world.gradient(cell)
    for step, moment in ((0, "0"), (10, "10"), (11 * cell.epochs, "end")):
        yield GradientSummary(
            moment=moment,
            step=step,
            batches=4,
            loss=2.3,
            bottom_over_top=ratio if moment == "0" else math.sqrt(ratio),
            shattering_correlation=0.5,
        )
        for layer in range(cell.depth):
            share = 1 - layer / (cell.depth - 1)
            yield LayerGradient(
                moment=moment,
                step=step,
                layer=layer,
                name=f"blocks.{(layer - 1) // 2}.conv{2 - layer % 2}",
                block=(layer - 1) // 2 if 0 < layer < cell.depth - 1 else None,
                stage=min(2, 3 * layer // cell.depth),
                batches=4,
                weight_norm=5.0,
                weight_gradient_norm=ratio**share,
                relative_weight_gradient=ratio**share / 5,
                input_gradient_norm=ratio**share,
                signal_to_noise=1.0,
                batch_cosine=0.4,
            )


def responses(cell: DegradationCell, world: World) -> Iterator[LayerResponse]:
    for layer in range(cell.depth - 1):
        last = layer > 0 and layer % 2 == 0
        size = world.response(cell) * (1 - 0.4 * layer / cell.depth)
        yield LayerResponse(
            layer=layer,
            name=f"layer{layer}",
            block=(layer - 1) // 2 if layer else None,
            stage=min(2, 3 * layer // cell.depth),
            changes_shape=False,
            images=256,
            response_std=size,
            relative_response=size / 2 if last else None,
        )


def lesions(cell: DegradationCell, world: World) -> Iterator[Lesion]:
    blocks = (cell.depth - 2) // 2
    for block in range(blocks):
        rise = world.deletion(cell) * (1 + 0.2 * (block % 3 - 1))
        yield lesion("delete", (block,), 0, rise)
    for count in (2, 3):
        for draw in range(2):
            rise = min(88.0, world.deletion(cell) * count)
            yield lesion("delete-many", tuple(range(count)), draw, rise)
            yield lesion("swap", (0, count), draw, rise / 2)


def lesion(damage: Any, blocks: tuple[int, ...], draw: int, rise: float) -> Lesion:
    return Lesion(
        damage=damage,
        blocks=blocks,
        stage=None,
        count=len(blocks),
        draw=draw,
        images=500,
        intact_error_percent=1.0,
        error_percent=1.0 + rise,
        error_rise_percent=rise,
    )


def landscapes(cell: DegradationCell, world: World) -> Iterator[LossSurface | LossLine]:
    """Yield bowls with wiggles; those of odd lines can be others."""
    places = tuple(number / 3 - 1 for number in range(7))

    def losses(wiggles: float, y: float = 0.0) -> tuple[float, ...]:
        signs = (wiggles * (-1) ** number for number in range(len(places)))
        return tuple(x * x + y * y + s for x, s in zip(places, signs, strict=True))

    own = world.wiggles(cell)
    yield LossSurface(
        images=256,
        positions=places,
        losses=tuple(losses(own, y) for y in places),
    )
    for line in range(4):
        factor = world.odd_lines(cell) if line % 2 else 1.0
        yield LossLine(
            line=line,
            images=256,
            positions=places,
            losses=losses(own * factor),
            folded_losses=losses(world.folded_wiggles(cell)),
        )


def insertions(cell: DegradationCell, world: World) -> Iterator[IdentityInsertion]:
    difference = world.inserted_difference(cell)
    yield IdentityInsertion(
        extended_depth=cell.depth + 18,
        further_steps=22,
        logits_identical=difference == 0,
        largest_logit_difference=difference,
        error_before_percent=1.0,
        error_after_percent=1.0 + world.inserted_error(cell),
        loss_before=0.05,
        loss_after=0.05 + difference,
        loss_untouched_later=0.04,
        loss_extended_later=0.04 + world.later_loss(cell),
    )


def constructions(cell: DegradationCell, world: World) -> Iterator[Construction]:
    for depth in cell.deep_depths:
        yield Construction(
            deep_depth=depth,
            images=1437,
            largest_logit_difference=world.constructed_difference(cell),
            shallow_error_percent=world.error(cell),
            constructed_error_percent=world.error(cell),
        )


def sizes(world: World) -> Iterator[SizeCheck]:
    for pooling, accepts in (
        ("adaptive", world.adaptive_accepts),
        ("flatten", world.flatten_accepts),
    ):
        for size in (32, 64, 97, 224):
            accepted = accepts(size)
            yield SizeCheck(
                network="residual-20" if pooling == "adaptive" else "LeNet",
                pooling="adaptive" if pooling == "adaptive" else "flatten",
                height=size,
                width_pixels=131 if size == 97 else size,
                accepted=accepted,
                output_shape=(2, 10) if accepted else None,
                raised=None if accepted else "shapes cannot be multiplied",
            )
