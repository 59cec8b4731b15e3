"""Turns a `--weights` value into the weights that a variant's training starts from."""

from dataclasses import dataclass

from resnet_bench.engine.cache import cache_folder
from resnet_bench.engine.models.design import STEMS, Stem, stem_that_fits
from resnet_bench.engine.weights.files import (
    RANDOM,
    Weights,
    file_weights,
    hub_file,
    imagenet_weights,
)
from resnet_bench.engine.weights.origins import (
    SourceRecipe,
    WeightsSource,
)
from resnet_bench.engine.weights.suite import Checkpoint, read_checkpoint
from resnet_bench.errors import UsageError

#: Up to this size the 7x7 stem and its pool leave too little of an image.
SMALL_IMAGE = 64
SMALL_IMAGE_DEFAULT = 32


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """The weights a training starts from, and what the source cost where known."""

    weights: Weights
    source_steps: int | None = None
    source_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """The stem and the image size of all networks of a run.

    `image_size` is None where the weights' own transforms decide.
    """

    stem: Stem
    image_size: int | None


def resolve_auto(source: WeightsSource, variants: tuple[int, ...]) -> WeightsSource:
    """Turn `auto` into ImageNet when every variant's file is cached, else the suite.

    It never downloads.
    """
    if source.kind != "auto":
        return source
    cached = all(hub_file(variant, "V1").is_file() for variant in variants)
    return WeightsSource("imagenet", "V1") if cached else WeightsSource("suite")


def starting_point(
    source: WeightsSource,
    variant: int,
    recipe: SourceRecipe | None = None,
    *,
    verify: bool,
) -> StartingPoint:
    """Load the weights that `source` means for the variant.

    Of the suite without a path it is the recipe's checkpoint in the cache folder.
    Raises UsageError and InputOutputError as the loaders do.
    """
    if source.kind == "imagenet":
        loaded = imagenet_weights(variant, source.version, verify=verify)
        return StartingPoint(weights=loaded)
    if source.kind == "file" and source.path is not None:
        found = file_weights(source.path, variant, verify=verify)
        return StartingPoint(weights=found)
    if source.kind == "suite":
        checkpoint = suite_checkpoint(source, variant, recipe)
        return StartingPoint(
            weights=checkpoint.weights(),
            source_steps=checkpoint.training.steps,
            source_seconds=checkpoint.training.training_seconds,
        )
    return StartingPoint(weights=RANDOM)


def suite_checkpoint(
    source: WeightsSource, variant: int, recipe: SourceRecipe | None
) -> Checkpoint:
    """Return the checkpoint at the given path, or the recipe's in the cache.

    Raises UsageError when there is neither, or it is of another variant.
    """
    own = cache_folder() / recipe.file_name if recipe else None
    path = source.path or own
    if path is None:
        raise UsageError(f"--weights {source}: expected suite:PATH")
    checkpoint = read_checkpoint(path)
    found = checkpoint.training.recipe.variant
    if found != variant:
        raise UsageError(
            f"--weights {source}: the checkpoint is of ResNet-{found}; "
            f"--variants {variant} needs its own"
        )
    return checkpoint


def network_input(
    source: WeightsSource,
    variants: tuple[int, ...],
    stem: str,
    image_size: int | None,
    *,
    verify: bool,
) -> NetworkInput:
    """Choose stem and image size: what the weights need, else what the size allows.

    Raises UsageError when `stem` does not fit the weights.
    """
    if source.kind == "imagenet":
        return NetworkInput(stem=stem_that_fits(7, stem), image_size=image_size)
    if source.kind == "suite" and source.path is not None:
        recipe = read_checkpoint(source.path).training.recipe
        wanted = STEMS[recipe.stem] if stem == "auto" else STEMS[stem]
        fitting = stem_that_fits(STEMS[recipe.stem].kernel_size, wanted.name)
        return NetworkInput(stem=fitting, image_size=image_size or recipe.image_size)
    if source.kind == "file" and source.path is not None:
        weights = file_weights(source.path, variants[0], verify=verify)
        kernel = _kernel_size(weights)
        found = stem_that_fits(kernel, stem)
        usual = None if found.name == "imagenet" else SMALL_IMAGE_DEFAULT
        return NetworkInput(stem=found, image_size=image_size or usual)
    size = image_size or SMALL_IMAGE_DEFAULT
    automatic = "small" if size <= SMALL_IMAGE else "imagenet"
    name = automatic if stem == "auto" else stem
    return NetworkInput(stem=STEMS[name], image_size=size)


def _kernel_size(weights: Weights) -> int:
    convolution = (weights.state or {}).get("conv1.weight")
    if convolution is None or convolution.dim() != 4:
        raise UsageError(
            f"weights {weights.origin} are of another architecture: "
            "conv1.weight is missing"
        )
    return int(convolution.shape[-1])
