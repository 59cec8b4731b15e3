"""The options of `finetune`."""

import math
from dataclasses import dataclass
from pathlib import Path

from resnet_bench.catalogue import DATASETS, parse_dataset
from resnet_bench.engine.models.design import STEMS
from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.engine.weights.origins import (
    SourceRecipe,
    WeightsSource,
    parse_weights,
)
from resnet_bench.errors import UsageError
from resnet_bench.experiments.options import NetworkOptions, TrainingOptions
from resnet_bench.options import DATA, MEASURED, OUTPUT, check, inherited, kept, option

USUAL_DATASET = "photo-digits-5-9"

#: The source of another target than the usual one.
SOURCES = {"digits-5-9": "digits-0-4", "digits": "digits-0-4"}

#: Test accuracy in percent that time-to-accuracy waits for.
USUAL_TARGET_ACCURACY = 90.0
TARGET_ACCURACIES = {USUAL_DATASET: 50.0}


@dataclass(frozen=True)
class Profile:
    """What is run unless options say otherwise.

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
        help="ResNets, or all (default: 18 in profile quick, else 18,34).",
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
        help="Height and width of the images, in pixels (default: 32, or the size for "
        "ImageNet weights).",
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
        help=f"Epochs (default: by profile, with at least {LEAST_STEPS} steps).",
    )
    strategy: tuple[str, ...] = option(
        (),
        help=f"Fine-tuning strategies, or all: {', '.join(STRATEGIES)} (default: by "
        "profile).",
        parse=parse_strategy,
        suggest=lambda results, command: (*STRATEGIES, "all"),
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
        help="Refuse a weights file whose hash does not match its name.",
    )
    loading: str = option(
        "auto",
        heading=DATA,
        help="Image files: decoded once and kept in memory, or streamed (decoded when "
        "a batch needs them, with random resized crops); auto streams those that "
        "do not fit into memory.",
        choices=("auto", "memory", "stream"),
    )
    weights_sha256: str | None = kept(None)
    classes: int | None = option(
        None, heading=DATA, help="Use only the first N classes.", minimum=2
    )
    shots: tuple[int | None, ...] = option(
        (),
        heading=DATA,
        help="Training images of each class, or all; smaller subsets are part of "
        f"larger ones (default: by profile on {USUAL_DATASET}, else all).",
        parse=parse_shots,
        metavar="N,…",
        minimum=1,
    )
    lr: tuple[float, ...] = option(
        (),
        heading=MEASURED,
        help="Peak learning rate; of several, the best on held-out training images is "
        "used (default: by strategy).",
        above=0,
    )
    target_accuracy: float | None = option(
        None,
        heading=MEASURED,
        help="Test accuracy in percent at which time-to-accuracy ends (default: "
        f"{USUAL_TARGET_ACCURACY:g}, {TARGET_ACCURACIES[USUAL_DATASET]:g} on "
        f"{USUAL_DATASET}).",
        above=0,
        maximum=100,
    )
    source: str | None = option(
        None,
        heading=DATA,
        help="Data set on which the suite's checkpoint is trained (default: "
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
        None,
        heading=DATA,
        help="Peak learning rate of the suite's checkpoint (default: by source).",
        above=0,
    )
    source_seeds: str | None = option(
        None,
        heading=DATA,
        help="first: one checkpoint for all seeds; all: one for each, so that "
        "intervals cover the source's training (default: first in profile quick, "
        "else all).",
        choices=("first", "all"),
    )
    checkpoint: Path | None = option(
        None,
        heading=OUTPUT,
        help="Folder for training states, from which interrupted trainings continue; "
        "a finished training removes its own (--save-model keeps networks).",
    )
    save_model: Path | None = option(
        None,
        heading=OUTPUT,
        help="Folder for the trained networks: a safetensors file for each row of the "
        "table, with what is needed to use it.",
    )
    save_model_seeds: str = option(
        "first",
        heading=OUTPUT,
        help="Seeds whose networks are saved.",
        choices=("first", "all"),
    )
    amp: bool = option(False, heading=MEASURED, help="Train under bfloat16 autocast.")
    channels_last: bool = option(
        False,
        heading=MEASURED,
        help="Keep images and weights in memory as NHWC instead of NCHW.",
    )
    compile: bool = option(
        False, heading=MEASURED, help="Compile the network with torch.compile."
    )
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
                "--weights random, expected scratch"
            )


def all_last(shots: int | None) -> float:
    """Return the shots as a number to sort by: all images are the most."""
    return math.inf if shots is None else shots


#: Said of image files when a backbone trained on digits would be fine-tuned.
PHOTOGRAPHS = (
    "For photographs, --weights imagenet starts from ImageNet weights, downloaded once."
)


def announce(config: Config) -> list[str]:
    """Return what must be known before the first number: the weights' origin."""
    source = parse_weights(config.weights)
    streamed = ["DATA: decoded when a batch needs it, with random resized crops."]
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
            f"--strategy {config.strategy[0]} needs --weights suite: the length of the "
            f"training of {source} is not known"
        )
    return possible
