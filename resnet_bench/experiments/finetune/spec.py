"""What `finetune` can be asked, and the cells and records it comes to."""

from dataclasses import dataclass
from pathlib import Path

from resnet_bench.catalogue import DATASETS, parse_dataset, parse_variants
from resnet_bench.engine.models.design import STEMS
from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.engine.weights.origins import parse_weights
from resnet_bench.errors import UsageError
from resnet_bench.experiments.finetune.cells import (
    TransferEpoch,
    TransferResult,
)
from resnet_bench.experiments.pretrain.spec import SourceResult
from resnet_bench.options import check, option

RECORDS = (TransferResult, TransferEpoch, SourceResult)

STANDARD_FRACTIONS = (0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Profile:
    """What is run when no option says so."""

    strategies: tuple[str, ...]
    seeds: int
    epochs: int
    fractions: tuple[float, ...]


PROFILES = {
    "quick": Profile(("probe", "full", "scratch"), 3, 5, (0.1, 1.0)),
    "standard": Profile(tuple(STRATEGIES), 5, 12, STANDARD_FRACTIONS),
    "thorough": Profile(tuple(STRATEGIES), 10, 30, STANDARD_FRACTIONS),
}


def parse_strategy(text: str) -> tuple[str, ...]:
    """Read the name of a strategy, or `all`; raises UsageError."""
    if text == "all":
        return tuple(STRATEGIES)
    if text in STRATEGIES:
        return (text,)
    accepted = f"{', '.join(STRATEGIES)} or all"
    raise UsageError.for_option("--strategy", text, accepted)


def needs_weights(config: "Config") -> bool:
    """Whether a strategy starts from trained weights, or counts their cost."""
    rows = (STRATEGIES[name] for name in config.strategy)
    return any(row.pretrained or row.counts_source for row in rows)


def announce(config: "Config") -> list[str]:
    """Return what must be known before the first number: the weights' origin."""
    source = parse_weights(config.weights)
    if source.kind == "random" or not needs_weights(config):
        return ["WEIGHTS: random; nothing here is pre-trained."]
    if source.kind == "suite":
        on = "" if source.path else f" on {config.source}"
        return [
            f"WEIGHTS: {source}, trained by this suite{on}; "
            "nothing here is pre-trained on ImageNet."
        ]
    unverified = "" if config.verify_weights else ", the file's hash not checked"
    return [f"WEIGHTS: {source}{unverified}."]


def checked_weights(text: str) -> str:
    """Return `text` when it names a source of weights; raises UsageError."""
    parse_weights(text)
    return text


@dataclass(frozen=True, kw_only=True)
class Config:
    """The options of `finetune`; None means: as the profile or the weights say."""

    variants: tuple[int, ...] = option(
        (18, 34), help="ResNets, or all.", parse=parse_variants, metavar="18,34,…"
    )
    strategy: tuple[str, ...] = option(
        (),
        help=f"Ways to adapt, or all: {', '.join(STRATEGIES)} (default: by profile).",
        parse=parse_strategy,
        metavar="NAME,…",
    )
    dataset: str = option(
        "digits-5-9",
        help=f"Target data set: {', '.join(DATASETS)}.",
        parse=parse_dataset,
    )
    weights: str = option(
        "auto",
        help="Where training starts: imagenet[:V1|:V2], file:PATH, suite[:PATH] "
        "(trained here on the source data set), random; auto is imagenet if it is "
        "cached already, else suite.",
        parse=checked_weights,
        metavar="SOURCE",
    )
    verify_weights: bool = option(
        True, help="Refuse a weights file whose hash is not the one in its name."
    )
    classes: int | None = option(None, help="Use only the first N classes.")
    fractions: tuple[float, ...] = option(
        (), help="Shares of the training images, nested (default: by profile)."
    )
    seeds: int | None = option(None, help="Trainings of each (default: by profile).")
    seed: int = option(0, help="The first seed.")
    epochs: int | None = option(
        None,
        help="Epochs; smaller --fractions get up to three times as many "
        "(default: by profile).",
    )
    lr: tuple[float, ...] = option(
        (),
        help="Peak learning rate; of several the best on held out training images "
        "is taken (default: by strategy).",
    )
    batch_size: int = option(32, help="Images per step.", flags=("-b",))
    image_size: int | None = option(
        None, help="Pixels (default: 32, or what ImageNet weights were trained for)."
    )
    stem: str = option(
        "auto",
        help="First layers: 7x7 (imagenet), 3x3 with pool (small), or 3x3 at full "
        "resolution (cifar); auto fits weights and image size.",
        choices=("auto", *STEMS),
    )
    target_accuracy: float = option(
        90.0, help="Test accuracy in percent that time-to-accuracy waits for."
    )
    source: str = option(
        "digits-0-4", help="Data set of the suite's checkpoint.", parse=parse_dataset
    )
    source_epochs: int = option(5, help="Epochs of the suite's checkpoint.")
    source_lr: float = option(0.03, help="Its peak learning rate.")
    data_dir: Path | None = option(None, help="Folder that holds the data set.")
    download: bool = option(False, help="Download the data set when it is not there.")
    skip_bad_images: bool = option(
        False, help="Leave out images that cannot be decoded, and count them."
    )
    checkpoint: Path | None = option(
        None, help="Folder for training states, to go on from after an interruption."
    )
    device: str = option("auto", help="auto, cpu, cuda or cuda:N.")
    amp: bool = option(False, help="Train under bfloat16 autocast.")
    channels_last: bool = option(False, help="Keep images channels last.")
    compile: bool = option(False, help="Train the network compiled.")
    profile: str = option(
        "quick", help="How much to run.", choices=tuple(PROFILES), metavar=None
    )

    def __post_init__(self) -> None:
        """Fill in the profile's values and check every one; raises UsageError."""
        check(self.profile in PROFILES, "--profile", self.profile, ", ".join(PROFILES))
        self._fill_in()
        self._check_counts()
        self._check_weights()

    def _fill_in(self) -> None:
        profile = PROFILES[self.profile]
        values = {
            "variants": tuple(dict.fromkeys(self.variants)),
            "strategy": tuple(dict.fromkeys(self.strategy or self._usual_strategies())),
            "seeds": profile.seeds if self.seeds is None else self.seeds,
            "epochs": profile.epochs if self.epochs is None else self.epochs,
            "fractions": tuple(sorted(set(self.fractions or profile.fractions))),
            "lr": tuple(sorted(set(self.lr))),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _usual_strategies(self) -> tuple[str, ...]:
        """Return the profile's strategies that the weights can serve."""
        names = PROFILES[self.profile].strategies
        if parse_weights(self.weights).kind != "random":
            return names
        rows = (STRATEGIES[name] for name in names)
        return tuple(r.name for r in rows if not r.pretrained and not r.counts_source)

    def _check_counts(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            flag = "--" + name.replace("_", "-")
            check(value is None or value >= least, flag, value, f"at least {least}")
        for share in self.fractions:
            check(0 < share <= 1, "--fractions", share, "shares above 0, up to 1")
        for rate in self.lr:
            check(rate > 0, "--lr", rate, "a rate above 0")
        check(self.source_lr > 0, "--source-lr", self.source_lr, "a rate above 0")
        target = self.target_accuracy
        check(0 < target <= 100, "--target-accuracy", target, "a percentage")
        known = DATASETS[self.dataset].classes
        if self.classes is not None and known is not None:
            accepted = f"2 to {known}, the classes of {self.dataset}"
            check(self.classes <= known, "--classes", self.classes, accepted)

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


_LEAST = {
    "classes": 2,
    "seeds": 1,
    "seed": 0,
    "epochs": 1,
    "source_epochs": 1,
    "batch_size": 2,
    "image_size": 8,
}
