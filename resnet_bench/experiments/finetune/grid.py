"""The cells that a config of `finetune` comes to."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.engine.weights.origins import (
    SourceRecipe,
    parse_weights,
    usual_epochs,
    usual_learning_rate,
)
from resnet_bench.experiments.finetune.cells import (
    PROBE,
    RANDOM_PROBE,
    RAW_PIXELS,
    FinetuneCell,
    Training,
)
from resnet_bench.experiments.finetune.spec import (
    LEAST_STEPS,
    PROFILES,
    USUAL_TARGET_ACCURACY,
    Config,
)
from resnet_bench.experiments.pretrain.spec import PretrainCell
from resnet_bench.records import device_parameters

#: Random backbones that each seed of the negative control is compared with: they are
#: cheap, and differ more than trained ones.
RANDOM_DRAWS = 4


def expand(config: Config) -> list[FinetuneCell | PretrainCell]:
    """Return every cell: source checkpoints first, then the longest first."""
    sources = {(cell.variant, cell.seed): cell for cell in _source_cells(config)}
    cells = [*_strategy_cells(config), *_control_cells(config)]
    started = [_starting_from(cell, sources) for cell in cells]
    return [*sources.values(), *sorted(started, key=lambda cell: -cell.cost)]


def _source_cells(config: Config) -> Iterator[PretrainCell]:
    """A checkpoint per variant that all seeds share, or one for each seed too."""
    source = parse_weights(config.weights)
    if source.kind != "suite" or source.path is not None or not config.needs_weights:
        return
    first_only = config.source_seeds == "first"
    for seed in config.all_seeds[:1] if first_only else config.all_seeds:
        for variant in sorted(config.variants, reverse=True):
            yield PretrainCell.of(_recipe(config, variant, seed), config)


def _recipe(config: Config, variant: int, seed: int) -> SourceRecipe:
    source = config.source or SourceRecipe.dataset
    return SourceRecipe(
        variant=variant,
        dataset=source,
        stem=config.stem,
        image_size=config.image_size or 0,
        epochs=config.source_epochs or usual_epochs(source),
        learning_rate=config.source_lr or usual_learning_rate(source),
        batch_size=config.batch_size,
        seed=seed,
    )


def _starting_from(
    cell: FinetuneCell, sources: Mapping[tuple[int, int], PretrainCell]
) -> FinetuneCell:
    """Name the checkpoint of a cell that starts from one, or counts its cost."""
    row = STRATEGIES.get(cell.strategy)
    shared = min((seed for _, seed in sources), default=0)
    both = ((cell.variant or 0, seed) for seed in (cell.seed, shared))
    source = next((sources[each] for each in both if each in sources), None)
    if row is None or source is None or not row.needs_source:
        return cell
    return replace(cell, source=source.recipe, source_key=source.key)


def _strategy_cells(config: Config) -> Iterator[FinetuneCell]:
    seeds = config.all_seeds if config.save_model_seeds == "all" else [config.seed]
    for strategy in config.strategy:
        for cell in _grid(config):
            folder = config.save_model if cell.seed in seeds else None
            yield replace(cell, strategy=strategy, save_model=folder)


def _control_cells(config: Config) -> Iterator[FinetuneCell]:
    """Logistic regression on raw pixels and on features of random backbones."""
    base = replace(_base(config), part="control")
    shows_samples = True
    for shots in config.shots:
        # All training images are one set, whatever the seed.
        for seed in config.all_seeds if shots else config.all_seeds[:1]:
            pixels = replace(base, strategy=RAW_PIXELS, seed=seed, shots=shots)
            yield replace(pixels, shows_samples=shows_samples)
            shows_samples = False
    for cell in _grid(config):
        control = replace(cell, part="control", strategy=RANDOM_PROBE)
        yield control
        if config.needs_weights and cell.shots == config.shots[-1]:
            yield from _permuted_cells(control)


def _permuted_cells(control: FinetuneCell) -> Iterator[FinetuneCell]:
    """The negative control: a trained and several random backbones' probes."""
    permuted = replace(control, permuted=True)
    yield replace(permuted, strategy=PROBE)
    for draw in range(RANDOM_DRAWS):
        yield replace(permuted, draw=draw)


def _grid(config: Config) -> Iterator[FinetuneCell]:
    base = _base(config)
    for variant in config.variants:
        for seed in config.all_seeds:
            for shots in config.shots:
                yield replace(base, variant=variant, seed=seed, shots=shots)


def _base(config: Config) -> FinetuneCell:
    training = Training(
        dataset=config.dataset,
        classes=config.classes,
        epochs=config.epochs or PROFILES[config.profile].epochs,
        least_steps=LEAST_STEPS if config.epochs is None else 0,
        learning_rates=config.lr,
        batch_size=config.batch_size,
        image_size=config.image_size,
        streamed=config.loading == "stream",
        stem=config.stem,
        target_accuracy_percent=config.target_accuracy or USUAL_TARGET_ACCURACY,
        device=device_parameters(config.device)["device"],
        amp=config.amp,
        channels_last=config.channels_last,
        compiled=config.compile,
    )
    return FinetuneCell(
        part="strategy",
        strategy="",
        variant=None,
        seed=config.seed,
        weights=config.weights,
        weights_kind=parse_weights(config.weights).identity,
        weights_sha256=config.weights_sha256,
        training=training,
        device_index=device_parameters(config.device)["device_index"],
        verify_weights=config.verify_weights,
        data_dir=config.data_dir,
        download=config.download,
        skip_bad_images=config.skip_bad_images,
        checkpoint=config.checkpoint,
    )
