"""Carries out a cell of `finetune`: a source checkpoint, a training, or a control."""

import base64
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torchvision.models import ResNet
from torchvision.transforms.v2.functional import resize, to_dtype, to_pil_image
from torchvision.utils import make_grid

from resnet_bench.catalogue import DATASETS, VARIANTS
from resnet_bench.engine import devices
from resnet_bench.engine.data import ImageData
from resnet_bench.engine.data.image_files import check_memory
from resnet_bench.engine.data.loading import count_images, outgrows_memory
from resnet_bench.engine.data.transfer import (
    TargetRequest,
    load_target,
    prepared,
)
from resnet_bench.engine.devices import Device
from resnet_bench.engine.models.resnets import NetworkRequest, build_network
from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.engine.seeding import (
    compute_deterministically,
    derived_seed,
    seed_everything,
)
from resnet_bench.engine.timing.workload import check_compiler, peak_of
from resnet_bench.engine.training.evaluation import packed
from resnet_bench.engine.training.finetuning import FitSettings, seconds_per_image
from resnet_bench.engine.training.fits import (
    Fitted,
    fit_features,
    fit_features_out_of_fold,
    fit_pixels,
    train_strategy,
)
from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.engine.weights.files import RANDOM, Weights, sha256_of
from resnet_bench.engine.weights.origins import parse_weights
from resnet_bench.engine.weights.saved import Saved, save_network
from resnet_bench.engine.weights.starting import (
    StartingPoint,
    network_input,
    resolve_auto,
    starting_point,
)
from resnet_bench.errors import UsageError
from resnet_bench.experiments.finetune.cells import (
    RANDOM_PROBE,
    RAW_PIXELS,
    SCRATCH,
    FinetuneCell,
    Samples,
    TransferEpoch,
    TransferResult,
)
from resnet_bench.experiments.finetune.grid import expand
from resnet_bench.experiments.finetune.spec import (
    Config,
    possible_strategies,
)
from resnet_bench.experiments.pretrain import run as pretrain
from resnet_bench.experiments.pretrain.spec import PretrainCell
from resnet_bench.output import check_writable
from resnet_bench.records import Cell, Record

#: Seconds that a child needs before a cell begins: start, data, building a network.
START_SECONDS = 1.5

#: Images of the picture of samples, how many side by side, and the most pixels of each.
SAMPLES, SAMPLE_COLUMNS, LARGEST_SAMPLE = 16, 8, 64

#: Image files of each half that are decoded for an estimate.
SAMPLE_OF_FILES = 128

#: The negative control tests every image of a data set up to this size.
OUT_OF_FOLD_IMAGES = 5000


def prepare(config: Config) -> Config:
    """Resolve device, weights, stem and image size; downloads nothing.

    Raises UsageError or InputOutputError for weights that cannot serve.
    """
    device = devices.choose(config.device)
    if config.compile:
        check_compiler(device.kind)
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
        device=device.name,
        weights=str(source),
        weights_sha256=sha256_of(source.path) if source.path else None,
        stem=chosen.stem.name,
        image_size=chosen.image_size,
        strategy=possible_strategies(config, source),
    )
    own = (cell for cell in expand(resolved) if isinstance(cell, FinetuneCell))
    request = prepared(_whole_target(next(own)))
    if config.loading == "auto":
        large = outgrows_memory(request)
        resolved = replace(resolved, loading="stream" if large else "memory")
    if resolved.loading == "stream":
        # A batch of them is in memory, as numbers of four bytes.
        check_memory(config.batch_size, request.square.side, value_bytes=4)
    return resolved


def rehearse(config: Config) -> None:
    """Load weights and data once, downloading what was asked for.

    Raises UsageError or InputOutputError before anything is trained.
    """
    cells = expand(config)
    sources = [cell for cell in cells if isinstance(cell, PretrainCell)]
    if sources:
        pretrain.try_source(sources[0])
    own = [cell for cell in cells if isinstance(cell, FinetuneCell)]
    data = load_target(replace(_whole_target(own[0]), shots=config.shots[0]))
    kept = {"--save-model": config.save_model, "--checkpoint": config.checkpoint}
    for name, folder in kept.items():
        if folder is not None:
            check_writable(folder, name, ": give another folder")
    if config.needs_weights and not sources:
        _try_weights(config, own, classes=len(data.classes))


def estimate(config: Config, cells: Sequence[Cell]) -> float | None:
    """Return the seconds that the cells will take one by one, from two timed steps.

    Sources that are cached take none. None when data has to be downloaded first.
    """
    try:
        sources = [cell for cell in cells if isinstance(cell, PretrainCell)]
        own = [cell for cell in cells if isinstance(cell, FinetuneCell)]
        training = pretrain.estimate_sources(sources) + _estimate_own(own)
    except UsageError:
        if config.download:
            return None
        raise
    return training + START_SECONDS * len(cells)


def run(cell: FinetuneCell | PretrainCell, ranks: Ranks) -> Iterator[Record]:
    """Carry out one cell and yield what it came to."""
    if isinstance(cell, PretrainCell):
        yield from pretrain.run(cell, ranks)
        return
    device = devices.for_training(cell.place)
    if device.is_cuda:
        # Whatever CUDA's libraries do only once is no part of a training's time.
        devices.check_dtype(device, "float32")
    else:
        compute_deterministically(threads=1)
    seed_everything(cell.seed)
    start = _start(cell)
    data = load_target(_target(cell)).to(device.name)
    fitted = _fit_with_peak(cell, start, data, device, ranks)
    yield from _epochs(fitted)
    if cell.shows_samples:
        yield _samples(data)
    result = _result(cell, start, data, fitted, device)
    yield _with_saved_network(cell, result, data, fitted) if ranks.writes else result


def _fit_with_peak(
    cell: FinetuneCell,
    start: StartingPoint,
    data: ImageData,
    device: Device,
    ranks: Ranks,
) -> Fitted:
    """Fit, and note the most memory: a training's own, without evaluation, on CUDA."""
    if not device.is_cuda:
        outcome: list[Fitted] = []
        peak = peak_of(lambda: outcome.append(_fit(cell, start, data, ranks)))
        return replace(outcome[0], peak_bytes=peak.peak_bytes)
    device.cuda.reset_peak_memory_stats(device.index)
    before = device.cuda.memory_allocated(device.index)
    fitted = _fit(cell, start, data, ranks)
    most = fitted.peak_bytes or device.cuda.max_memory_allocated(device.index)
    return replace(fitted, peak_bytes=(most - before) or None)


def _try_weights(config: Config, cells: list[FinetuneCell], classes: int) -> None:
    """Load every variant's weights into its network."""
    source = parse_weights(config.weights)
    for variant in config.variants:
        start = starting_point(source, variant, verify=config.verify_weights)
        request = _network_request(replace(cells[0], variant=variant), classes)
        build_network(request, start.weights)


def _estimate_own(cells: list[FinetuneCell]) -> float:
    if not cells:
        return 0.0
    cell = cells[0]
    target = replace(_whole_target(cell), download=False, sample=SAMPLE_OF_FILES)
    data = load_target(target)
    counts = count_images(target, data)
    request = replace(_network_request(cell, len(data.classes)), variant=18)
    compute_deterministically(threads=1)
    on_device = data.to(devices.for_training(cell.place).name)
    # Rank 0 estimates while the others wait: it must not wait for them.
    per_image = seconds_per_image(request, on_device, _settings(cell, ALONE))
    return per_image * sum(_passes(cell, counts, len(data.classes)) for cell in cells)


def _passes(cell: FinetuneCell, counts: tuple[int, int], classes: int) -> float:
    """Return the passes of ResNet-18 that a cell comes to on this data."""
    images, test_images = counts
    if cell.shots is not None:
        images = min(images, cell.shots * classes)
    return cell.passes(images, test_images)


def _target(cell: FinetuneCell) -> TargetRequest:
    weights = parse_weights(cell.weights)
    # What a file with the 7x7 stem was trained on is taken to be prepared as V1.
    version = "V1" if weights.kind == "file" else weights.version
    return TargetRequest(
        name=cell.training.dataset,
        image_size=cell.training.image_size,
        classes=cell.training.classes,
        shots=cell.shots,
        seed=cell.seed,
        permuted=cell.permuted,
        imagenet=version if cell.training.stem == "imagenet" else "",
        data_dir=cell.data_dir,
        download=cell.download,
        skip_bad_images=cell.skip_bad_images,
        streamed=cell.training.streamed,
    )


def _whole_target(cell: FinetuneCell) -> TargetRequest:
    return replace(_target(cell), shots=None, permuted=False)


def _start(cell: FinetuneCell) -> StartingPoint:
    row = STRATEGIES.get(cell.strategy)
    if row is None or not row.needs_source:
        nothing = Weights("none") if cell.strategy == RAW_PIXELS else RANDOM
        return StartingPoint(weights=nothing, source_seconds=0.0)
    source = parse_weights(cell.weights)
    start = starting_point(
        source, cell.variant or 0, cell.source, verify=cell.verify_weights
    )
    return start if row.pretrained else replace(start, weights=RANDOM)


def _fit(
    cell: FinetuneCell, start: StartingPoint, data: ImageData, ranks: Ranks
) -> Fitted:
    if cell.strategy == RAW_PIXELS:
        return fit_pixels(data)
    if cell.strategy == RANDOM_PROBE or STRATEGIES[cell.strategy].fits_features:
        # Renderings of one digit in a fold and out of it would be no test.
        small = (
            data.test_origins is None
            and len(data.train) + len(data.test) <= OUT_OF_FOLD_IMAGES
        )
        fit = fit_features_out_of_fold if cell.permuted and small else fit_features
        return fit(_network(cell, start.weights, data), data)
    strategy = STRATEGIES[cell.strategy]
    extra = start.source_steps if strategy.counts_source else 0
    return train_strategy(
        lambda: _network(cell, start.weights, data),
        strategy,
        data,
        _settings(cell, ranks, extra or 0),
        cell.training.learning_rates,
        cell.checkpoint / f"{cell.key}.pt" if cell.checkpoint else None,
    )


def _network_request(cell: FinetuneCell, classes: int) -> NetworkRequest:
    return NetworkRequest(
        variant=cell.variant or 0,
        classes=classes,
        stem=cell.training.stem,
        seed=derived_seed(cell.seed, f"draw {cell.draw}") if cell.draw else cell.seed,
        zero_gamma=cell.strategy != RANDOM_PROBE,
    )


def _network(cell: FinetuneCell, weights: Weights, data: ImageData) -> ResNet:
    network = build_network(_network_request(cell, len(data.classes)), weights)
    return network.to(cell.place)


def _settings(cell: FinetuneCell, ranks: Ranks, source_steps: int = 0) -> FitSettings:
    training = cell.training
    usual = STRATEGIES.get(cell.strategy, STRATEGIES[SCRATCH]).learning_rate
    rates = training.learning_rates or (usual,)
    return FitSettings(
        epochs=training.epochs,
        least_steps=training.least_steps,
        learning_rate=rates[0],
        batch_size=training.batch_size,
        seed=cell.seed,
        extra_steps=source_steps,
        autocast=torch.bfloat16 if training.amp else None,
        channels_last=training.channels_last,
        compiled=training.compiled,
        ranks=ranks,
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


def _samples(data: ImageData) -> Samples:
    """Return the first training images as one picture."""
    few = data.train.first(SAMPLES).to("cpu")
    (shown,) = few.batches(SAMPLES)
    images = [to_dtype(each, torch.uint8, scale=True) for each in shown]
    side = min(LARGEST_SAMPLE, data.image_size[0])
    tiles = torch.stack([resize(each, [side, side]) for each in images])
    picture = io.BytesIO()
    grid = make_grid(tiles, nrow=SAMPLE_COLUMNS, padding=0)
    to_pil_image(grid).save(picture, "PNG")
    return Samples(
        png=base64.b64encode(picture.getvalue()).decode(),
        side=side,
        columns=SAMPLE_COLUMNS,
        class_names=[data.classes[label] for label in few.labels.tolist()],
    )


def _renderings(data: ImageData) -> list[int] | None:
    """Return how many test images in a row show the same original."""
    if data.test_origins is None:
        return None
    runs = itertools.groupby(data.test_origins.tolist())
    return [len(list(same)) for _, same in runs]


def _result(
    cell: FinetuneCell,
    start: StartingPoint,
    data: ImageData,
    fitted: Fitted,
    device: Device,
) -> TransferResult:
    source = start.source_seconds
    calibration = fitted.test.calibration_error_percent
    return TransferResult(
        weights_origin=start.weights.origin,
        weights_sha256=start.weights.sha256,
        stem=cell.training.stem,
        image_size=data.image_size[0],
        train_images=len(data.train),
        test_images=fitted.test.images,
        skipped_images=data.skipped_images,
        twins=data.twins,
        classes=len(data.classes),
        class_names=list(data.classes),
        epochs=fitted.epochs,
        steps=fitted.steps,
        diverged=fitted.diverged,
        learning_rate=fitted.learning_rate,
        learning_rate_validation=fitted.rates,
        threads=torch.get_num_threads(),
        observed_tf32=device.rounds_to_tf32,
        right_answers=packed(fitted.test.right),
        renderings=_renderings(data),
        confusion=[
            [*pair, int(fitted.test.confusion[*pair])]
            for pair in fitted.test.confusion.nonzero().tolist()
        ],
        test_accuracy_percent=fitted.test.accuracy_percent,
        class_mean_accuracy_percent=fitted.test.class_mean_accuracy_percent,
        nll=fitted.test.loss,
        calibration_error=None if calibration is None else calibration / 100,
        trainable_parameters=fitted.trainable_parameters,
        step_seconds=fitted.seconds / fitted.steps if fitted.steps else None,
        images_per_second=fitted.images / fitted.seconds,
        peak_memory_bytes=fitted.peak_bytes,
        seconds_to_target=fitted.seconds_to(cell.training.target_accuracy_percent),
        training_seconds=fitted.seconds,
        total_seconds=None if source is None else fitted.seconds + source,
    )


def _with_saved_network(
    cell: FinetuneCell, result: TransferResult, data: ImageData, fitted: Fitted
) -> TransferResult:
    """Save the network where that was asked for, and tell where."""
    path = cell.model_file
    if path is None or fitted.network is None:
        return result
    saved = Saved(
        builder=VARIANTS[cell.variant or 0].builder,
        stem=result.stem,
        origin=result.weights_origin,
        trained_on=f"{data.name}, {cell.strategy}, {result.train_images} images",
        classes=data.classes,
        transforms=_transforms(cell, data),
        test_accuracy_percent=result.test_accuracy_percent,
    )
    save_network(path, fitted.network, saved)
    return replace(result, saved=str(path), usage=saved.usage(path))


def _transforms(cell: FinetuneCell, data: ImageData) -> dict[str, Any]:
    """Return how an image becomes an input of the network, as it was tested."""
    target, side = prepared(_target(cell)), data.image_size[0]
    fitted = target.imagenet or DATASETS[target.name].image_size is None
    normalisation = data.normalisation
    return {
        "resize": target.square.scaled if fitted else [side, side],
        "center_crop": side,
        "mean": list(normalisation.mean),
        "std": list(normalisation.std),
    }
