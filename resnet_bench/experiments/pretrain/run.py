"""Trains source checkpoints and keeps them where `finetune` finds them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from resnet_bench.engine import devices
from resnet_bench.engine.cores import usable_cores
from resnet_bench.engine.finetuning import FitSettings, seconds_per_image
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.seeding import compute_deterministically, seed_everything
from resnet_bench.engine.source_recipe import SourceRecipe, cache_folder
from resnet_bench.engine.suite_checkpoints import (
    Checkpoint,
    SourceRun,
    check_folder,
    train_or_reuse,
)
from resnet_bench.engine.transfer_data import TargetRequest, load_target
from resnet_bench.engine.transfer_network import NetworkRequest
from resnet_bench.experiments.finetune.records import SourceResult
from resnet_bench.experiments.pretrain.spec import Config, PretrainCell, expand


def prepare(config: Config) -> Config:
    """Resolve the device, read the data and try the folder.

    Raises UsageError or InputOutputError before anything is trained.
    """
    resolved = replace(config, device=devices.choose(config.device).name)
    check_folder(config.into or cache_folder())
    load_target(_target(expand(resolved)[0]))
    return resolved


def estimate(config: Config, cells: list[PretrainCell]) -> float:
    """Return the seconds that the cells will take, from two timed steps of each."""
    compute_deterministically(threads=1)
    data = load_target(_target(cells[0]))
    total = 0.0
    for cell in cells:
        request = NetworkRequest(
            variant=cell.variant,
            classes=len(data.classes),
            stem=cell.stem,
            seed=cell.seed,
        )
        settings = FitSettings(
            epochs=cell.epochs,
            learning_rate=cell.learning_rate,
            batch_size=cell.batch_size,
            seed=cell.seed,
        )
        per_image = seconds_per_image(request, data, settings)
        total += per_image * len(data.train) * cell.epochs
    return total / (usable_cores() if config.device == "cpu" else 1)


def run(cell: PretrainCell, ranks: Ranks) -> Iterator[SourceResult]:
    """Train one checkpoint, or find it, and yield what is told of it."""
    if cell.device == "cpu":
        compute_deterministically(threads=1)
    seed_everything(cell.seed)
    source = SourceRun(
        recipe=_recipe(cell),
        device=cell.device,
        data_dir=Path(cell.data_dir) if cell.data_dir else None,
        download=cell.download,
    )
    folder = Path(cell.into) if cell.into else cache_folder()
    yield result_of(train_or_reuse(source, folder))


def result_of(checkpoint: Checkpoint) -> SourceResult:
    """Return a checkpoint as a record."""
    training = checkpoint.training
    return SourceResult(
        file=checkpoint.path.name,
        sha256=checkpoint.sha256,
        data_sha256=training.data_sha256,
        reused=checkpoint.reused,
        steps=training.steps,
        source_accuracy_percent=training.source_accuracy_percent,
        training_seconds=training.training_seconds,
    )


def _recipe(cell: PretrainCell) -> SourceRecipe:
    return SourceRecipe(
        variant=cell.variant,
        dataset=cell.dataset,
        stem=cell.stem,
        image_size=cell.image_size,
        epochs=cell.epochs,
        learning_rate=cell.learning_rate,
        batch_size=cell.batch_size,
        seed=cell.seed,
    )


def _target(cell: PretrainCell) -> TargetRequest:
    return TargetRequest(
        name=cell.dataset,
        image_size=cell.image_size,
        data_dir=Path(cell.data_dir) if cell.data_dir else None,
        download=cell.download,
    )
