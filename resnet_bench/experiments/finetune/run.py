"""Carries out a cell of `finetune`: a source checkpoint, a training, or a control."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torchvision.models import ResNet

from resnet_bench.engine import devices
from resnet_bench.engine.cores import usable_cores
from resnet_bench.engine.data import ImageData
from resnet_bench.engine.finetuning import FitSettings, seconds_per_image
from resnet_bench.engine.memory import peak_of
from resnet_bench.engine.ranks import Ranks, current
from resnet_bench.engine.seeding import compute_deterministically, seed_everything
from resnet_bench.engine.source_recipe import SourceRecipe, cache_folder
from resnet_bench.engine.starting_weights import (
    StartingPoint,
    network_input,
    resolve_auto,
    starting_point,
)
from resnet_bench.engine.strategies import STRATEGIES
from resnet_bench.engine.suite_checkpoints import (
    SourceRun,
    check_folder,
    train_or_reuse,
)
from resnet_bench.engine.transfer_data import TargetRequest, load_target
from resnet_bench.engine.transfer_fits import (
    Fitted,
    fit_features,
    fit_features_out_of_fold,
    fit_pixels,
    train_strategy,
)
from resnet_bench.engine.transfer_network import NetworkRequest, build_network
from resnet_bench.engine.weights import RANDOM, Weights
from resnet_bench.engine.weights_source import WeightsSource, parse_weights
from resnet_bench.errors import UsageError
from resnet_bench.experiments.finetune.cells import (
    RANDOM_PROBE,
    RAW_PIXELS,
    FinetuneCell,
)
from resnet_bench.experiments.finetune.grid import needs_weights, trains_sources
from resnet_bench.experiments.finetune.records import (
    SourceResult,
    TransferEpoch,
    TransferResult,
)
from resnet_bench.experiments.finetune.spec import Config, expand
from resnet_bench.experiments.pretrain.run import result_of
from resnet_bench.records import Record

#: Seconds that a child needs before a cell begins: start, data, building a network.
START_SECONDS = 1.5

#: The negative control tests every image of a data set up to this size.
OUT_OF_FOLD_IMAGES = 5000


def prepare(config: Config) -> Config:
    """Resolve device, weights, stem and image size, and try everything once.

    Weights are loaded (an explicit `imagenet` downloads here), the data set is read.
    Raises UsageError or InputOutputError before anything is trained.
    """
    device = devices.choose(config.device).name
    source = resolve_auto(parse_weights(config.weights), config.variants)
    chosen = network_input(
        source,
        config.variants,
        config.stem,
        config.image_size,
        verify=config.verify_weights,
    )
    resolved = replace(
        config,
        device=device,
        weights=str(source),
        stem=chosen.stem.name,
        image_size=chosen.image_size,
        strategy=_possible_strategies(config, source),
    )
    _try_everything(resolved)
    return resolved


def estimate(config: Config, cells: list[FinetuneCell]) -> float:
    """Return the seconds that the cells will take, from two timed steps."""
    cell = next(cell for cell in cells if cell.variant is not None)
    data = load_target(replace(_target(cell), fraction=1.0, permuted=False))
    request = replace(_network_request(cell, len(data.classes)), variant=18)
    compute_deterministically(threads=1)
    epoch = len(data.train) * seconds_per_image(request, data, _settings(cell))
    workers = usable_cores() if config.device == "cpu" else 1
    return sum(cell.cost * epoch + START_SECONDS for cell in cells) / workers


def run(cell: FinetuneCell, ranks: Ranks) -> Iterator[Record]:
    """Carry out one cell and yield what it came to."""
    device = devices.choose(cell.training.device)
    if not device.is_cuda:
        compute_deterministically(threads=1)
    seed_everything(cell.seed)
    if cell.part == "source":
        yield _source(cell)
        return
    start = _start(cell)
    data = load_target(_target(cell)).to(device.name)
    outcome: list[Fitted] = []
    peak = peak_of(lambda: outcome.append(_fit(cell, start, data)), device)
    yield from _epochs(outcome[0])
    yield _result(cell, start, data, outcome[0], peak.peak_bytes)


def _possible_strategies(config: Config, source: WeightsSource) -> tuple[str, ...]:
    """Leave out what the weights cannot serve, unless it was all that was asked."""
    possible = tuple(
        name
        for name in config.strategy
        if source.kind == "suite" or not STRATEGIES[name].counts_source
    )
    if not possible:
        raise UsageError(
            f"--strategy {config.strategy[0]} needs --weights suite: the training "
            f"behind {source} is not known"
        )
    return possible


def _try_everything(config: Config) -> None:
    source = parse_weights(config.weights)
    cells = [cell for cell in expand(config) if cell.part == "strategy"]
    load_target(_target(cells[0]))
    if not needs_weights(config):
        return
    if trains_sources(config):
        check_folder(cache_folder())
        load_target(replace(_target(cells[0]), name=config.source, classes=None))
        return
    for variant in config.variants:
        cell = replace(cells[0], variant=variant)
        start = starting_point(source, _recipe(cell), verify=config.verify_weights)
        build_network(_network_request(cell, classes=2), start.weights)


def _recipe(cell: FinetuneCell) -> SourceRecipe:
    return SourceRecipe(
        variant=cell.variant or 0,
        dataset=cell.source_dataset,
        stem=cell.training.stem,
        image_size=cell.training.image_size or 0,
        epochs=cell.source_epochs,
        learning_rate=cell.source_learning_rate,
        batch_size=cell.training.batch_size,
        seed=cell.seed,
    )


def _target(cell: FinetuneCell) -> TargetRequest:
    weights = parse_weights(cell.weights)
    # What a file with the 7x7 stem was trained on is taken to be prepared as V1.
    version = "V1" if weights.kind == "file" else weights.version
    return TargetRequest(
        name=cell.training.dataset,
        image_size=cell.training.image_size,
        classes=cell.training.classes,
        fraction=cell.fraction,
        seed=cell.seed,
        permuted=cell.permuted,
        imagenet=version if cell.training.stem == "imagenet" else "",
        data_dir=Path(cell.data_dir) if cell.data_dir else None,
        download=cell.download,
        skip_bad_images=cell.skip_bad_images,
    )


def _source(cell: FinetuneCell) -> SourceResult:
    source = SourceRun(
        recipe=_recipe(cell),
        device=cell.training.device,
        data_dir=Path(cell.data_dir) if cell.data_dir else None,
        download=cell.download,
    )
    return result_of(train_or_reuse(source, cache_folder()))


def _start(cell: FinetuneCell) -> StartingPoint:
    row = STRATEGIES.get(cell.strategy)
    if row is None or not (row.pretrained or row.counts_source):
        nothing = Weights("none") if cell.strategy == RAW_PIXELS else RANDOM
        return StartingPoint(weights=nothing, source_seconds=0.0)
    source = parse_weights(cell.weights)
    start = starting_point(source, _recipe(cell), verify=cell.verify_weights)
    return start if row.pretrained else replace(start, weights=RANDOM)


def _fit(cell: FinetuneCell, start: StartingPoint, data: ImageData) -> Fitted:
    if cell.strategy == RAW_PIXELS:
        return fit_pixels(data)
    if cell.strategy == RANDOM_PROBE or STRATEGIES[cell.strategy].fits_features:
        small = len(data.train) + len(data.test) <= OUT_OF_FOLD_IMAGES
        fit = fit_features_out_of_fold if cell.permuted and small else fit_features
        return fit(_network(cell, start.weights, data), data)
    strategy = STRATEGIES[cell.strategy]
    extra = start.source_steps if strategy.counts_source else 0
    return train_strategy(
        lambda: _network(cell, start.weights, data),
        strategy,
        data,
        _settings(cell, extra or 0),
        cell.training.learning_rates,
        Path(cell.checkpoint) / f"{cell.key}.pt" if cell.checkpoint else None,
    )


def _network_request(cell: FinetuneCell, classes: int) -> NetworkRequest:
    return NetworkRequest(
        variant=cell.variant or 0,
        classes=classes,
        stem=cell.training.stem,
        seed=cell.seed,
        zero_gamma=cell.strategy != RANDOM_PROBE,
    )


def _network(cell: FinetuneCell, weights: Weights, data: ImageData) -> ResNet:
    network = build_network(_network_request(cell, len(data.classes)), weights)
    return network.to(cell.training.device)


def _settings(cell: FinetuneCell, source_steps: int = 0) -> FitSettings:
    training = cell.training
    usual = STRATEGIES.get(cell.strategy, STRATEGIES["scratch"]).learning_rate
    rates = training.learning_rates or (usual,)
    return FitSettings(
        epochs=cell.epochs,
        learning_rate=rates[0],
        batch_size=training.batch_size,
        seed=cell.seed,
        extra_steps=source_steps,
        autocast=torch.bfloat16 if training.amp else None,
        channels_last=training.channels_last,
        compiled=training.compiled,
        ranks=current(),
    )


def _epochs(fitted: Fitted) -> Iterator[TransferEpoch]:
    for state in fitted.curve:
        yield TransferEpoch(
            epoch=state.epoch,
            step=state.step,
            training_seconds=state.seconds,
            train_loss=state.train_loss,
            test_accuracy_percent=state.test.accuracy_percent,
        )


def _result(
    cell: FinetuneCell,
    start: StartingPoint,
    data: ImageData,
    fitted: Fitted,
    peak_bytes: int | None,
) -> TransferResult:
    source = start.source_seconds
    return TransferResult(
        weights_origin=start.weights.origin,
        weights_sha256=start.weights.sha256,
        stem=cell.training.stem,
        image_size=data.image_size[0],
        train_images=len(data.train),
        test_images=len(data.test),
        skipped_images=data.skipped_images,
        classes=len(data.classes),
        epochs=fitted.epochs,
        steps=fitted.steps,
        diverged=fitted.diverged,
        learning_rate=fitted.learning_rate,
        learning_rate_validation=fitted.rates,
        threads=torch.get_num_threads(),
        test_accuracy_percent=fitted.test.accuracy_percent,
        class_mean_accuracy_percent=fitted.test.class_mean_accuracy_percent,
        nll=fitted.test.loss,
        calibration_error=fitted.test.calibration_error_percent / 100,
        trainable_parameters=fitted.trainable_parameters,
        step_seconds=fitted.seconds / fitted.steps if fitted.steps else None,
        images_per_second=fitted.images / fitted.seconds,
        peak_memory_bytes=peak_bytes,
        seconds_to_target=fitted.seconds_to(cell.training.target_accuracy_percent),
        training_seconds=fitted.seconds,
        total_seconds=None if source is None else fitted.seconds + source,
    )
