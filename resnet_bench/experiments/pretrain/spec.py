"""The options and cells of `pretrain`."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from resnet_bench.catalogue import DATASETS, VARIANTS
from resnet_bench.engine.weights.origins import (
    SourceRecipe,
    usual_epochs,
    usual_learning_rate,
)
from resnet_bench.experiments.options import NetworkOptions, TrainingOptions
from resnet_bench.options import inherited, option
from resnet_bench.records import (
    Cell,
    Record,
    device_name,
    device_parameters,
    measured,
    transient,
)

#: Epochs of the source's training; in `quick` those that `finetune` trains by itself.
PROFILES = {"quick": None, "standard": 30}

#: Relative cost of one training image in one epoch, ResNet-18 being 1: measured on
#: one core at 32 px with the small stem.
IMAGE_COST = {18: 1.0, 34: 1.8, 50: 3.1, 101: 6.1, 152: 8.9}

#: Images of a folder, which are not counted before it is read, for costs.
USUAL_IMAGES = 1000


@dataclass(frozen=True, kw_only=True)
class Config(TrainingOptions, NetworkOptions):
    """The options of `pretrain`; None means: as the profile says."""

    dataset: str = inherited(
        TrainingOptions,
        "dataset",
        None,
        help=f"Source: {', '.join(DATASETS)} (default: {SourceRecipe.dataset}, or the "
        "images in --data-dir).",
    )
    image_size: int = inherited(NetworkOptions, "image_size", SourceRecipe.image_size)
    seeds: int = inherited(
        TrainingOptions, "seeds", 1, help="Checkpoints of each variant."
    )
    lr: float | None = option(
        None, help="Peak learning rate (default: by data set).", above=0
    )
    into: Path | None = option(
        None,
        help="Folder for the checkpoints (default: the user's cache, where "
        "finetune finds them).",
    )
    profile: str = option("quick", help="How much to run.", choices=tuple(PROFILES))

    def __post_init__(self) -> None:
        """Check every value, fill in the data set, epochs and learning rate."""
        super().__post_init__()
        dataset = self.dataset_or_folder(SourceRecipe.dataset)
        epochs = self.epochs or PROFILES[self.profile] or usual_epochs(dataset)
        rate = self.lr or usual_learning_rate(dataset)
        for name, value in (("dataset", dataset), ("epochs", epochs), ("lr", rate)):
            object.__setattr__(self, name, value)


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
    device_index: int | None = transient(None)
    data_dir: Path | None = transient(None)
    download: bool = transient(False)
    skip_bad_images: bool = transient(False)
    into: Path | None = transient(None)

    @classmethod
    def of(
        cls, recipe: SourceRecipe, options: TrainingOptions, into: Path | None = None
    ) -> "PretrainCell":
        """Return the cell that trains a recipe where the options say."""
        return cls(
            **asdict(recipe),
            **device_parameters(options.device),
            data_dir=options.data_dir,
            download=options.download,
            skip_bad_images=options.skip_bad_images,
            into=into,
        )

    @property
    def recipe(self) -> SourceRecipe:
        """What decides the checkpoint's weights, and its name in the cache."""
        names = [field.name for field in fields(SourceRecipe)]
        return SourceRecipe(**{name: getattr(self, name) for name in names})

    @property
    def place(self) -> str:
        """The device as torch writes it: `cpu`, `cuda:0`."""
        return device_name(self.device, self.device_index)

    @property
    def label(self) -> str:
        """What progress lines call the cell."""
        return f"{VARIANTS[self.variant].title} on {self.dataset}, seed {self.seed}"

    @property
    def cost(self) -> float:
        """Relative duration: image passes, weighted by variant."""
        images = DATASETS[self.dataset].train_images or USUAL_IMAGES
        return self.epochs * images * IMAGE_COST[self.variant]


@dataclass(frozen=True, kw_only=True)
class SourceResult(Record):
    """A source checkpoint, trained now (`reused` false) or found in the cache.

    `observed_tf32` says whether torch let CUDA round float32 products to TF32.
    """

    file: str
    sha256: str
    data_sha256: str
    reused: bool
    steps: int
    source_accuracy_percent: float = measured(unit="%", better="higher")
    training_seconds: float = measured(unit="s", better="lower")
    observed_tf32: bool = False


RECORDS = (SourceResult,)


def expand(config: Config) -> list[PretrainCell]:
    """Return a cell per variant and seed, the longest first."""
    cells = [
        PretrainCell.of(_recipe(config, variant, seed), config, config.into)
        for variant in config.variants
        for seed in config.all_seeds
    ]
    return sorted(cells, key=lambda cell: -cell.cost)


def _recipe(config: Config, variant: int, seed: int) -> SourceRecipe:
    return SourceRecipe(
        variant=variant,
        dataset=config.dataset,
        stem=config.stem,
        image_size=config.image_size,
        epochs=config.epochs or 1,
        learning_rate=config.lr or usual_learning_rate(config.dataset),
        batch_size=config.batch_size,
        seed=seed,
    )
