"""What `pretrain` can be asked, and the cells it comes to."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from resnet_bench.catalogue import DATASETS, VARIANTS, parse_dataset, parse_variants
from resnet_bench.engine.models.design import STEMS
from resnet_bench.engine.weights.origins import SourceRecipe
from resnet_bench.options import check, option
from resnet_bench.records import Cell, Record, measured, transient

#: Epochs of the source's training; `quick` is what `finetune` trains by itself.
PROFILES = {"quick": 5, "standard": 30}

#: Relative cost of one training image in one epoch, ResNet-18 being 1: measured on
#: one core at 32 px with the small stem.
IMAGE_COST = {18: 1.0, 34: 1.8, 50: 3.1, 101: 6.1, 152: 8.9}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The options of `pretrain`; None means: as the profile says."""

    variants: tuple[int, ...] = option(
        (18, 34), help="ResNets, or all.", parse=parse_variants, metavar="18,34,…"
    )
    dataset: str = option(
        "digits-0-4", help=f"Source: {', '.join(DATASETS)}.", parse=parse_dataset
    )
    epochs: int | None = option(None, help="Epochs (default: by profile).")
    lr: float = option(0.03, help="Peak learning rate.")
    batch_size: int = option(32, help="Images per step.", flags=("-b",))
    image_size: int = option(32, help="Height and width of the images, in pixels.")
    stem: str = option("small", help="First layers.", choices=tuple(STEMS))
    seeds: int = option(1, help="Checkpoints of each variant.")
    seed: int = option(0, help="The first seed.")
    data_dir: Path | None = option(None, help="Folder that holds the data set.")
    download: bool = option(False, help="Download the data set when it is not there.")
    skip_bad_images: bool = option(
        False, help="Leave out images that cannot be decoded."
    )
    into: Path | None = option(
        None, help="Folder for the checkpoints (default: the cache, for finetune)."
    )
    device: str = option("auto", help="auto, cpu, cuda or cuda:N.")
    profile: str = option("quick", help="How much to run.", choices=tuple(PROFILES))

    def __post_init__(self) -> None:
        """Fill in the profile's epochs and check every value; raises UsageError."""
        check(self.profile in PROFILES, "--profile", self.profile, ", ".join(PROFILES))
        if self.epochs is None:
            object.__setattr__(self, "epochs", PROFILES[self.profile])
        object.__setattr__(self, "variants", tuple(dict.fromkeys(self.variants)))
        least = {"seeds": 1, "seed": 0, "epochs": 1, "batch_size": 2, "image_size": 8}
        for name, smallest in least.items():
            flag = "--" + name.replace("_", "-")
            value = getattr(self, name)
            check(value >= smallest, flag, value, f"at least {smallest}")
        check(self.lr > 0, "--lr", self.lr, "a rate above 0")


@dataclass(frozen=True, kw_only=True)
class PretrainCell(Cell):
    """One checkpoint to train; where it is written does not identify it."""

    variant: int
    dataset: str
    seed: int
    epochs: int
    learning_rate: float
    batch_size: int
    image_size: int
    stem: str
    device: str
    data_dir: str | None = transient(None)
    download: bool = transient(False)
    skip_bad_images: bool = transient(False)
    into: str | None = transient(None)

    @property
    def recipe(self) -> SourceRecipe:
        """What decides the checkpoint's weights, and its name in the cache."""
        names = [field.name for field in fields(SourceRecipe)]
        return SourceRecipe(**{name: getattr(self, name) for name in names})

    @property
    def label(self) -> str:
        """What progress lines call the cell."""
        return f"{VARIANTS[self.variant].title} on {self.dataset}, seed {self.seed}"

    @property
    def cost(self) -> float:
        """Relative duration: image passes, weighted by variant."""
        return self.epochs * IMAGE_COST[self.variant]


@dataclass(frozen=True, kw_only=True)
class SourceResult(Record):
    """A source checkpoint, trained now (`reused` false) or found in the cache."""

    file: str
    sha256: str
    data_sha256: str
    reused: bool
    steps: int
    source_accuracy_percent: float = measured(unit="%", better="higher")
    training_seconds: float = measured(unit="s", better="lower")


RECORDS = (SourceResult,)


def expand(config: Config) -> list[PretrainCell]:
    """Return a cell per variant and seed, the longest first."""
    cells = [
        PretrainCell(
            **asdict(_recipe(config, variant, seed)),
            device=config.device,
            data_dir=str(config.data_dir) if config.data_dir else None,
            download=config.download,
            skip_bad_images=config.skip_bad_images,
            into=str(config.into) if config.into else None,
        )
        for variant in config.variants
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    return sorted(cells, key=lambda cell: -cell.cost)


def _recipe(config: Config, variant: int, seed: int) -> SourceRecipe:
    return SourceRecipe(
        variant=variant,
        dataset=config.dataset,
        stem=config.stem,
        image_size=config.image_size,
        epochs=config.epochs or 1,
        learning_rate=config.lr,
        batch_size=config.batch_size,
        seed=seed,
    )
