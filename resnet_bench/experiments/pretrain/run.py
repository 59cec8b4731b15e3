"""Trains source checkpoints and keeps them where `finetune` finds them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from resnet_bench.engine import devices
from resnet_bench.engine.cache import CACHE_REMEDY, cache_folder
from resnet_bench.engine.data import ImageData
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.seeding import compute_deterministically, seed_everything
from resnet_bench.engine.training.finetuning import seconds_per_image
from resnet_bench.engine.weights.suite import (
    SourceRun,
    fit_settings,
    network_request,
    source_data,
    train_or_reuse,
)
from resnet_bench.errors import UsageError
from resnet_bench.experiments.pretrain.spec import (
    IMAGE_COST,
    Config,
    PretrainCell,
    SourceResult,
    expand,
)
from resnet_bench.output import check_writable
from resnet_bench.records import Record


def prepare(config: Config) -> Config:
    """Resolve the device; raises UsageError when it is not there."""
    return replace(config, device=devices.choose(config.device).name)


def rehearse(config: Config) -> None:
    """Try the folder and read the data before anything is trained.

    Raises UsageError or InputOutputError.
    """
    try_source(expand(config)[0])


def try_source(cell: PretrainCell) -> None:
    """Try the cell's folder and read its data; raises as `rehearse`."""
    if cell.into is None:
        check_writable(cache_folder(), "the cache", f": {CACHE_REMEDY}")
    else:
        check_writable(cell.into, "--into", ": give another folder")
    source_data(_source_run(cell))


def estimate(config: Config, cells: list[PretrainCell]) -> float | None:
    """Return the seconds that the cells will take one by one.

    None when data has to be downloaded first.
    """
    try:
        return estimate_sources(cells)
    except UsageError:
        if config.download:
            return None
        raise


def estimate_sources(cells: list[PretrainCell]) -> float:
    """Return the seconds of checkpoints not there yet, from two timed steps.

    Downloads nothing; raises UsageError for data that cannot be read.
    """
    new = [cell for cell in cells if not _path(cell).is_file()]
    if not new:
        return 0.0
    compute_deterministically(threads=1)
    devices.for_training(new[0].place)
    data = source_data(replace(_source_run(new[0]), download=False))
    per_pass = _seconds_per_image(new[0], data) / IMAGE_COST[new[0].variant]
    of_epoch = (cell.epochs * IMAGE_COST[cell.variant] for cell in new)
    return per_pass * len(data.train) * sum(of_epoch)


def run(cell: PretrainCell, ranks: Ranks) -> Iterator[Record]:
    """Train one checkpoint, or find it, and yield its record."""
    if cell.device == "cpu":
        compute_deterministically(threads=1)
    device = devices.for_training(cell.place)
    seed_everything(cell.seed)
    checkpoint = train_or_reuse(_source_run(cell), _folder(cell))
    training = checkpoint.training
    yield SourceResult(
        file=checkpoint.path.name,
        sha256=checkpoint.sha256,
        data_sha256=training.data_sha256,
        reused=checkpoint.reused,
        steps=training.steps,
        source_accuracy_percent=training.source_accuracy_percent,
        training_seconds=training.training_seconds,
        observed_tf32=device.rounds_to_tf32,
    )


def _folder(cell: PretrainCell) -> Path:
    return cell.into or cache_folder()


def _path(cell: PretrainCell) -> Path:
    return _folder(cell) / cell.recipe.file_name


def _source_run(cell: PretrainCell) -> SourceRun:
    return SourceRun(
        recipe=cell.recipe,
        device=cell.place,
        data_dir=cell.data_dir,
        download=cell.download,
        skip_bad_images=cell.skip_bad_images,
    )


def _seconds_per_image(cell: PretrainCell, data: ImageData) -> float:
    request = network_request(cell.recipe, data)
    return seconds_per_image(request, data.to(cell.place), fit_settings(cell.recipe))
