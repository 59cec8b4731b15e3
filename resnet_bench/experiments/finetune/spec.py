"""What `finetune` can be asked, and the cells and records it comes to."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from resnet_bench.catalogue import DATASETS, VARIANTS, parse_dataset
from resnet_bench.engine.models.design import STEMS
from resnet_bench.engine.training.strategies import EVALUATIONS, STRATEGIES
from resnet_bench.engine.weights.origins import (
    SourceRecipe,
    WeightsSource,
    parse_weights,
    usual_epochs,
    usual_learning_rate,
)
from resnet_bench.errors import UsageError
from resnet_bench.experiments.options import NetworkOptions, TrainingOptions
from resnet_bench.experiments.pretrain.spec import (
    IMAGE_COST,
    USUAL_IMAGES,
    PretrainCell,
    SourceResult,
)
from resnet_bench.options import (
    DATA,
    MEASURED,
    OUTPUT,
    check,
    inherited,
    kept,
    option,
)
from resnet_bench.records import (
    Cell,
    Record,
    device_name,
    device_parameters,
    measured,
    transient,
)

USUAL_DATASET = "photo-digits-5-9"

#: The source of another target than the usual one.
SOURCES = {"digits-5-9": "digits-0-4", "digits": "digits-0-4"}

#: Test accuracy in percent that time-to-accuracy waits for.
USUAL_TARGET_ACCURACY = 90.0
TARGET_ACCURACIES = {USUAL_DATASET: 50.0}


@dataclass(frozen=True)
class Profile:
    """What is run when no option says so.

    `shots` are those of the usual target; of others all images are taken.
    `source_seeds` says whether every seed has its own checkpoint.
    """

    variants: tuple[int, ...]
    strategies: tuple[str, ...]
    seeds: int
    epochs: int
    shots: tuple[int, ...]
    source_seeds: str


PROFILES = {
    "quick": Profile((18,), ("probe", "full", "scratch"), 3, 5, (50, 200), "first"),
    "standard": Profile(
        (18, 34), ("probe", "full", "scratch"), 3, 5, (10, 50, 200), "all"
    ),
    "thorough": Profile((18, 34), tuple(STRATEGIES), 6, 12, (10, 50, 200), "all"),
}

#: A training takes at least so many steps unless --epochs says how many: five epochs of
#: a hundred images would be 20.
LEAST_STEPS = 100


def parse_shots(text: str) -> int | None:
    """Read a number of images per class; None is `all`. Raises ValueError."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{text!r}: expected a whole number from 1, or all")
    return int(text)


def parse_strategy(text: str) -> tuple[str, ...]:
    """Read the name of a strategy, or `all`; raises UsageError."""
    if text == "all":
        return tuple(STRATEGIES)
    check(text in STRATEGIES, "--strategy", text, f"{', '.join(STRATEGIES)} or all")
    return (text,)


def checked_weights(text: str) -> str:
    """Return `text` when it names a source of weights; raises UsageError."""
    parse_weights(text)
    return text


@dataclass(frozen=True, kw_only=True)
class Config(TrainingOptions, NetworkOptions):
    """The options of `finetune`; None means: as the profile or the weights say."""

    variants: tuple[int, ...] = inherited(
        NetworkOptions,
        "variants",
        (),
        help="ResNets, or all (default: by profile, 18 in quick).",
    )
    dataset: str = inherited(
        TrainingOptions,
        "dataset",
        None,
        help=f"Target data set: {', '.join(DATASETS)} (default: {USUAL_DATASET}, or "
        "the images in --data-dir).",
    )
    image_size: int | None = inherited(
        NetworkOptions,
        "image_size",
        None,
        help="Pixels (default: 32, or what ImageNet weights were trained for).",
    )
    stem: str = inherited(
        NetworkOptions,
        "stem",
        "auto",
        help="First layers: 7x7 (imagenet), 3x3 with pool (small), or 3x3 at full "
        "resolution (cifar); auto fits weights and image size.",
        choices=("auto", *STEMS),
    )
    epochs: int | None = inherited(
        TrainingOptions,
        "epochs",
        None,
        help=f"Epochs (default: by profile, and at least {LEAST_STEPS} steps).",
    )
    strategy: tuple[str, ...] = option(
        (),
        help=f"Ways to adapt, or all: {', '.join(STRATEGIES)} (default: by profile).",
        parse=parse_strategy,
        metavar="NAME,…",
    )
    weights: str = option(
        "auto",
        heading=DATA,
        help="Where training starts: imagenet[:V1|:V2], file:PATH, suite[:PATH] "
        "(trained here on the source data set), random; auto is imagenet if it is "
        "cached already, else suite.",
        parse=checked_weights,
        metavar="SOURCE",
    )
    verify_weights: bool = option(
        True,
        heading=DATA,
        help="Refuse a weights file whose hash is not the one in its name.",
    )
    loading: str = option(
        "auto",
        heading=DATA,
        help="Image files: decoded once and kept in memory, or streamed (decoded when "
        "a batch needs them, with random resized crops); auto streams what memory has "
        "no room for.",
        choices=("auto", "memory", "stream"),
    )
    weights_sha256: str | None = kept(None)
    classes: int | None = option(
        None, heading=DATA, help="Use only the first N classes.", minimum=2
    )
    shots: tuple[int | None, ...] = option(
        (),
        heading=DATA,
        help="Training images of each class, nested, or all (default: by profile on "
        f"{USUAL_DATASET}, else all).",
        parse=parse_shots,
        metavar="N,…",
        minimum=1,
    )
    lr: tuple[float, ...] = option(
        (),
        heading=MEASURED,
        help="Peak learning rate; of several the best on held out training images "
        "is taken (default: by strategy).",
        above=0,
    )
    target_accuracy: float | None = option(
        None,
        heading=MEASURED,
        help="Test accuracy in percent that time-to-accuracy waits for (default: "
        f"{USUAL_TARGET_ACCURACY:g}, {TARGET_ACCURACIES[USUAL_DATASET]:g} on "
        f"{USUAL_DATASET}).",
        above=0,
        maximum=100,
    )
    source: str | None = option(
        None,
        heading=DATA,
        help="Data set of the suite's checkpoint (default: "
        f"{SourceRecipe.dataset}, or digits-0-4 for digits).",
        parse=parse_dataset,
    )
    source_epochs: int | None = option(
        None,
        heading=DATA,
        help="Epochs of the suite's checkpoint (default: by source).",
        minimum=1,
    )
    source_lr: float | None = option(
        None, heading=DATA, help="Its peak learning rate (default: by source).", above=0
    )
    source_seeds: str | None = option(
        None,
        heading=DATA,
        help="Seeds with a checkpoint of their own: with all, intervals cover the "
        "source's training (default: by profile, first in quick).",
        choices=("first", "all"),
    )
    checkpoint: Path | None = option(
        None,
        heading=OUTPUT,
        help="Folder for training states, to go on from after an interruption; a "
        "finished training removes its own (--save-model keeps networks).",
    )
    save_model: Path | None = option(
        None,
        heading=OUTPUT,
        help="Folder for the trained networks: a safetensors file for each row of the "
        "table, with what is needed to use it.",
    )
    save_model_seeds: str = option(
        "first", heading=OUTPUT, help="Of which seeds.", choices=("first", "all")
    )
    amp: bool = option(False, heading=MEASURED, help="Train under bfloat16 autocast.")
    channels_last: bool = option(
        False, heading=MEASURED, help="Keep images channels last."
    )
    compile: bool = option(False, heading=MEASURED, help="Train the network compiled.")
    profile: str = option("quick", help="How much to run.", choices=tuple(PROFILES))

    def __post_init__(self) -> None:
        """Check every value and fill in the profile's; raises UsageError."""
        super().__post_init__()
        self._fill_in()
        known = DATASETS[self.dataset].classes
        if self.classes is not None and known is not None:
            accepted = f"2 to {known}, the classes of {self.dataset}"
            check(self.classes <= known, "--classes", self.classes, accepted)
        self._check_weights()

    @property
    def needs_weights(self) -> bool:
        """Whether a strategy starts from trained weights, or counts their cost."""
        return any(STRATEGIES[name].needs_source for name in self.strategy)

    def _fill_in(self) -> None:
        profile = PROFILES[self.profile]
        dataset = self.dataset_or_folder(USUAL_DATASET, *filter(None, [self.source]))
        shots = profile.shots if dataset == USUAL_DATASET else (None,)
        values = {
            "variants": self.variants or profile.variants,
            "dataset": dataset,
            "source": self.source or SOURCES.get(dataset, SourceRecipe.dataset),
            "strategy": tuple(dict.fromkeys(self.strategy or self._usual_strategies())),
            "seeds": profile.seeds if self.seeds is None else self.seeds,
            "shots": tuple(sorted(set(self.shots or shots), key=all_last)),
            "lr": tuple(sorted(set(self.lr))),
            "target_accuracy": self.target_accuracy
            or TARGET_ACCURACIES.get(dataset, USUAL_TARGET_ACCURACY),
            "source_seeds": self.source_seeds or profile.source_seeds,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _usual_strategies(self) -> tuple[str, ...]:
        """Return the profile's strategies that the weights can serve."""
        names = PROFILES[self.profile].strategies
        if parse_weights(self.weights).kind != "random":
            return names
        return tuple(name for name in names if not STRATEGIES[name].needs_source)

    def _check_weights(self) -> None:
        source = parse_weights(self.weights)
        for variant in self.variants:
            source.check_variant(variant)
        pretrained = [n for n in self.strategy if STRATEGIES[n].pretrained]
        if source.kind == "random" and pretrained:
            raise UsageError(
                f"--strategy {pretrained[0]} starts from trained weights: with "
                "--weights random expected scratch"
            )


def all_last(shots: int | None) -> float:
    """Return the shots as a number to sort by: all images are the most."""
    return math.inf if shots is None else shots


#: Said of image files when a backbone trained on digits would be fine-tuned.
PHOTOGRAPHS = (
    "For photographs --weights imagenet starts from ImageNet's weights, which it "
    "downloads once."
)


def announce(config: Config) -> list[str]:
    """Return what must be known before the first number: the weights' origin."""
    source = parse_weights(config.weights)
    streamed = ["DATA: decoded as batches need it, with random resized crops."]
    said = streamed if config.loading == "stream" else []
    if source.kind == "random" or not config.needs_weights:
        return ["WEIGHTS: random; nothing here is pre-trained.", *said]
    if source.kind == "suite":
        on = "" if source.path else f" on {config.source}"
        if DATASETS[config.dataset].image_size is None and source.path is None:
            said = [*said, PHOTOGRAPHS]
        return [
            f"WEIGHTS: {source}, trained by this suite{on}; "
            "nothing here is pre-trained on ImageNet.",
            *said,
        ]
    unverified = "" if config.verify_weights else ", the file's hash not checked"
    return [f"WEIGHTS: {source}{unverified}.", *said]


def possible_strategies(config: Config, source: WeightsSource) -> tuple[str, ...]:
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


Part = Literal["strategy", "control"]

PROBE, SCRATCH = "probe", "scratch"

#: Controls: logistic regression on the pixels, and a probe on a random backbone.
RAW_PIXELS, RANDOM_PROBE = "raw-pixels", "random-probe"
CONTROLS = (RAW_PIXELS, RANDOM_PROBE)

#: Forward passes that cost as much as one pass of training.
FORWARDS_PER_PASS = 3.0

#: Test images for each training image of a data set, for costs.
TEST_SHARE = 0.2

#: Passes of ResNet-18 that cost as much as logistic regression on an image's pixels.
PIXEL_PASSES = 0.2

#: Random backbones that each seed of the negative control is compared with: they are
#: cheap, and differ more than trained ones.
RANDOM_DRAWS = 4


@dataclass(frozen=True, kw_only=True)
class Training:
    """What trainings of one run have in common."""

    dataset: str
    classes: int | None
    epochs: int
    least_steps: int
    learning_rates: tuple[float, ...]
    batch_size: int
    image_size: int | None
    streamed: bool
    stem: str
    target_accuracy_percent: float
    device: str
    amp: bool
    channels_last: bool
    compiled: bool


@dataclass(frozen=True, kw_only=True)
class FinetuneCell(Cell):
    """One training or fit: a strategy, or a control.

    `strategy` names a row of STRATEGIES or CONTROLS. `permuted` moves the target's
    pixels by one fixed permutation; `draw` counts the random backbones of one seed
    that are compared there. `shots` None takes all images. Raw pixels have no variant.
    `source` is the checkpoint that it starts from where the suite trains it,
    `source_key` the cell that does. Paths, and what only says how to read the data, do
    not identify a cell; a file of weights does by its content, `weights_sha256`.
    """

    part: Part
    strategy: str
    variant: int | None
    seed: int
    shots: int | None = None
    permuted: bool = False
    draw: int = 0
    weights: str = transient()
    weights_kind: str
    weights_sha256: str | None = None
    source: SourceRecipe | None = None
    source_key: str | None = transient(None)
    training: Training
    device_index: int | None = transient(None)
    verify_weights: bool = True
    data_dir: Path | None = transient(None)
    download: bool = transient(False)
    skip_bad_images: bool = transient(False)
    checkpoint: Path | None = transient(None)
    save_model: Path | None = transient(None)
    shows_samples: bool = transient(False)

    @property
    def needs(self) -> tuple[str, ...]:
        """The source checkpoint that the cell starts from."""
        return (self.source_key,) if self.source_key else ()

    @property
    def place(self) -> str:
        """The device as torch writes it: `cpu`, `cuda:0`."""
        return device_name(self.training.device, self.device_index)

    @property
    def name(self) -> str:
        """What tables call the network."""
        return VARIANTS[self.variant].title if self.variant else "no network"

    @property
    def model_file(self) -> Path | None:
        """Where the trained network is saved, if it is."""
        if self.save_model is None or self.variant is None:
            return None
        shots = "all" if self.shots is None else f"{self.shots}shots"
        parts = (self.training.dataset, self.strategy, shots, f"seed{self.seed}")
        name = "_".join((VARIANTS[self.variant].builder, *parts))
        return self.save_model / f"{name}.safetensors"

    @property
    def label(self) -> str:
        """What progress lines call the cell."""
        parts = [self.name, self.strategy, f"seed {self.seed}"]
        if self.shots is not None:
            parts.append(f"{self.shots} shots")
        if self.permuted:
            parts.append("permuted pixels")
        if self.draw:
            parts.append(f"draw {self.draw}")
        return ", ".join(parts)

    @property
    def cost(self) -> float:
        """Relative duration: image passes, weighted by variant."""
        data = DATASETS[self.training.dataset]
        every = data.train_images or USUAL_IMAGES
        taken = every if self.shots is None else self.shots * (data.classes or 2)
        return self.passes(min(every, taken), round(TEST_SHARE * every))

    def passes(self, images: int, test_images: int) -> float:
        """Return the passes of ResNet-18 that training and tests come to.

        A pass is one training image, forward and backward.
        """
        if self.variant is None:
            return PIXEL_PASSES * images
        forwards = test_images
        passes = 0.0
        if self.part == "control" or self.strategy == PROBE:
            forwards += images
        else:
            batches = math.ceil(images / self.training.batch_size)
            epochs = max(
                self.training.epochs, math.ceil(self.training.least_steps / batches)
            )
            rates = len(self.training.learning_rates)
            passes = epochs * images * (1 if rates < 2 else rates + 1)
            forwards *= min(EVALUATIONS, epochs)
        return IMAGE_COST[self.variant] * (passes + forwards / FORWARDS_PER_PASS)


@dataclass(frozen=True, kw_only=True)
class TransferResult(Record):
    """A trained or fitted classifier on the target's test half, at the last epoch.

    `weights_sha256` is None for random weights. `twins` counts test images whose pixels
    a training image has too. `learning_rate` is the peak that was
    used; `learning_rate_validation` maps each rate of a grid to its accuracy on held
    out training images. `seconds_to_target` is training time, evaluation excluded,
    and None when the target was not reached. `training_seconds` leaves evaluation
    out; `total_seconds` counts the source's training too and is None where nobody knows
    it (ImageNet). What a fit without steps does not have (a step time) is None.
    `right_answers` holds a bit per tested image, the first one highest, in hexadecimal;
    `renderings` counts how many of them in a row show the same original, None where
    each is its own. `confusion` lists true class, answer and how often, where that is
    not 0. `saved` is the file of the trained network where one was asked for, `usage`
    the Python that uses it. `observed_tf32` says whether torch let CUDA round float32
    products to TF32.
    """

    weights_origin: str
    weights_sha256: str | None
    stem: str
    image_size: int
    train_images: int
    test_images: int
    skipped_images: int
    twins: int = 0
    classes: int
    class_names: list[str]
    epochs: int
    steps: int
    diverged: bool
    learning_rate: float | None
    learning_rate_validation: dict[str, float] | None
    threads: int
    observed_tf32: bool = False
    right_answers: str
    renderings: list[int] | None = None
    confusion: list[list[int]]
    saved: str | None = None
    usage: list[str] | None = None
    test_accuracy_percent: float = measured(unit="%", better="higher")
    class_mean_accuracy_percent: float = measured(unit="%", better="higher")
    nll: float | None = measured(unit="1", better="lower")
    calibration_error: float | None = measured(unit="1", better="lower")
    trainable_parameters: int = measured(unit="1", better="lower", exact=True)
    step_seconds: float | None = measured(unit="s", better="lower")
    images_per_second: float | None = measured(unit="1/s", better="higher")
    peak_memory_bytes: int | None = measured(unit="B", better="lower")
    seconds_to_target: float | None = measured(unit="s", better="lower")
    training_seconds: float = measured(unit="s", better="lower")
    total_seconds: float | None = measured(unit="s", better="lower")


@dataclass(frozen=True, kw_only=True)
class TransferEpoch(Record):
    """How a training stood after some epoch; nothing is chosen by it."""

    epoch: int
    step: int
    training_seconds: float = measured(unit="s", better="lower")
    train_loss: float | None = measured(unit="1", better="lower")
    test_accuracy_percent: float = measured(unit="%", better="higher")


@dataclass(frozen=True, kw_only=True)
class Samples(Record):
    """Some training images with their classes, in rows, for people to see the task.

    `png` is one picture of all of them, `side` pixels each, in base64.
    """

    png: str
    side: int
    columns: int
    class_names: list[str]


RECORDS = (TransferResult, TransferEpoch, Samples, SourceResult)


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
