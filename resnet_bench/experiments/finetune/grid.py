"""From the resolved options to the cells that are run."""

import dataclasses
from collections.abc import Iterator

from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.engine.weights.origins import (
    SourceRecipe,
    WeightsSource,
    parse_weights,
)
from resnet_bench.errors import UsageError
from resnet_bench.experiments.finetune.cells import (
    RANDOM_DRAWS,
    RANDOM_PROBE,
    RAW_PIXELS,
    FinetuneCell,
    Training,
)
from resnet_bench.experiments.finetune.spec import Config, needs_weights
from resnet_bench.experiments.pretrain.spec import PretrainCell


def expand(config: "Config") -> list[FinetuneCell | PretrainCell]:
    """Return every cell: source checkpoints first, then the longest first."""
    sources = list(_source_cells(config))
    rest = [
        *_strategy_cells(config, sources),
        *_control_cells(config),
        *_permuted_cells(config, sources),
    ]
    return [*sources, *sorted(rest, key=lambda cell: -cell.cost)]


def trains_sources(config: "Config") -> bool:
    """Whether the run starts from checkpoints that it trains, or finds cached."""
    source = parse_weights(config.weights)
    return source.kind == "suite" and source.path is None and needs_weights(config)


def possible_strategies(config: "Config", source: WeightsSource) -> tuple[str, ...]:
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


def _seeds(config: "Config") -> range:
    return range(config.seed, config.seed + (config.seeds or 1))


def _base(config: "Config") -> FinetuneCell:
    training = Training(
        dataset=config.dataset,
        classes=config.classes,
        epochs=config.epochs or 1,
        learning_rates=config.lr,
        batch_size=config.batch_size,
        image_size=config.image_size,
        stem=config.stem,
        target_accuracy_percent=config.target_accuracy,
        device=config.device,
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
        training=training,
        verify_weights=config.verify_weights,
        data_dir=str(config.data_dir) if config.data_dir else None,
        download=config.download,
        skip_bad_images=config.skip_bad_images,
        checkpoint=str(config.checkpoint) if config.checkpoint else None,
    )


def _source_cells(config: "Config") -> Iterator[PretrainCell]:
    """One checkpoint per variant and seed, so that intervals cover the source too."""
    if not trains_sources(config):
        return
    for seed in _seeds(config):
        for variant in sorted(config.variants, reverse=True):
            yield PretrainCell(
                **dataclasses.asdict(_recipe(config, variant, seed)),
                device=config.device,
                data_dir=str(config.data_dir) if config.data_dir else None,
                download=config.download,
                skip_bad_images=config.skip_bad_images,
            )


def _recipe(config: "Config", variant: int, seed: int) -> SourceRecipe:
    return SourceRecipe(
        variant=variant,
        dataset=config.source,
        stem=config.stem,
        image_size=config.image_size or 0,
        epochs=config.source_epochs,
        learning_rate=config.source_lr,
        batch_size=config.batch_size,
        seed=seed,
    )


def _strategy_cells(
    config: "Config", sources: list[PretrainCell]
) -> Iterator[FinetuneCell]:
    for strategy in config.strategy:
        row = STRATEGIES[strategy]
        for cell in _grid(config):
            made = dataclasses.replace(cell, strategy=strategy)
            needs = row.pretrained or row.counts_source
            yield _starting_from(made, sources) if needs else made


def _control_cells(config: "Config") -> Iterator[FinetuneCell]:
    """Logistic regression on raw pixels, and on features of a random backbone."""
    base = dataclasses.replace(_base(config), part="control")
    for fraction in config.fractions:
        # The whole training half is one set, whatever the seed.
        for seed in _seeds(config) if fraction < 1 else _seeds(config)[:1]:
            yield dataclasses.replace(
                base, strategy=RAW_PIXELS, seed=seed, fraction=fraction
            )
    for cell in _grid(config):
        yield dataclasses.replace(cell, part="control", strategy=RANDOM_PROBE)


def _permuted_cells(
    config: "Config", sources: list[PretrainCell]
) -> Iterator[FinetuneCell]:
    """The negative control: both probes on permuted pixels, whole training half."""
    if not needs_weights(config):
        return
    for cell in _grid(config):
        if cell.fraction == max(config.fractions):
            permuted = dataclasses.replace(cell, part="control", permuted=True)
            trained = dataclasses.replace(permuted, strategy="probe")
            yield _starting_from(trained, sources)
            for draw in range(RANDOM_DRAWS):
                yield dataclasses.replace(permuted, strategy=RANDOM_PROBE, draw=draw)


def _grid(config: "Config") -> Iterator[FinetuneCell]:
    base = _base(config)
    for variant in config.variants:
        for seed in _seeds(config):
            for fraction in config.fractions:
                yield dataclasses.replace(
                    base, variant=variant, seed=seed, fraction=fraction
                )


def _starting_from(cell: FinetuneCell, sources: list[PretrainCell]) -> FinetuneCell:
    for source in sources:
        if (source.variant, source.seed) == (cell.variant, cell.seed):
            return dataclasses.replace(
                cell, source=source.recipe, source_key=source.key
            )
    return cell
