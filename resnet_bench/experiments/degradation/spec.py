"""Config of the degradation experiment; its cells and records stand beside it."""

import dataclasses
from dataclasses import dataclass

from resnet_bench.engine.models.design import is_cifar_depth, nearest_cifar_depths
from resnet_bench.errors import UsageError
from resnet_bench.experiments.degradation.grid import BUDGET_DEPTHS, Grid, Profile
from resnet_bench.experiments.degradation.records import DegradationCell
from resnet_bench.experiments.degradation.studies import STUDIES, planned
from resnet_bench.experiments.options import (
    LARGEST_IMAGE,
    LARGEST_WIDTH,
    TrainingOptions,
)
from resnet_bench.options import check, inherited, option
from resnet_bench.records import device_parameters

PROFILES = {
    "quick": Profile(
        depths=(8, 20, 56),
        seeds=5,
        other_seeds=3,
        epochs=10,
        studies=(
            "depth",
            "overfitting",
            "gradients",
            "identity",
            "lesion",
            "response",
            "landscape",
        ),
        landscape_seeds=1,
        # Here even those without batch norm train, in a third of depth 20's time.
        gradient_depths=(8,),
    ),
    "standard": Profile(
        depths=(8, 20, 32, 44, 56, 110),
        seeds=8,
        other_seeds=5,
        # Some of their seeds train and some do not.
        seeds_of={("plain", 32): 11, ("residual", 110): 11},
        epochs=40,
        studies=tuple(name for name in STUDIES if name != "thousand"),
        budgets=(4,),
        gradient_depths=(20, 56),
        harder=("photo-digits", 5),
    ),
    "real": Profile(
        depths=(20, 56),
        seeds=5,
        other_seeds=5,
        epochs=1,
        studies=("depth", "gradients", "lesion", "landscape"),
        dataset="fashionmnist",
    ),
    # 330 steps: in a pilot each network of 1202 layers took seven minutes.
    "thousand": Profile(
        depths=(110,), seeds=5, other_seeds=5, epochs=30, studies=("thousand",)
    ),
    # 164 epochs of 390 full batches are 64k iterations (He et al. 2015, section 4.2).
    "paper": Profile(
        depths=(20, 32, 44, 56, 110),
        seeds=5,
        other_seeds=5,
        epochs=164,
        studies=("depth", "overfitting", "gradients", "lesion"),
        dataset="cifar10",
        recipe="paper",
        extreme_width=16,
    ),
}

#: Studies that torchvision's networks (family "imagenet") can take part in.
IMAGENET_STUDIES = tuple(
    name for name, study in STUDIES.items() if study.takes_imagenet
)

#: Depths of torchvision's networks that have a plain twin in the paper's Table 2.
IMAGENET_DEPTHS = (18, 34)


def parse_studies(text: str) -> tuple[str, ...]:
    """Read the name of a study, or `all`; raises UsageError for another name."""
    if text == "all":
        return tuple(STUDIES)
    if text not in STUDIES:
        names = ", ".join(STUDIES)
        raise UsageError(f"unknown study {text!r}: expected {names} or all")
    return (text,)


@dataclass(frozen=True, kw_only=True)
class Config(TrainingOptions):
    """What to train and which studies look at it.

    Options left out follow the profile. Raises UsageError for a value that cannot
    be carried out.
    """

    profile: str = option(
        "quick", help="Size of the experiment.", choices=tuple(PROFILES)
    )
    study: tuple[str, ...] = option(
        (),
        suggest=lambda results, command: (*STUDIES, "all"),
        help=f"Studies: {', '.join(STUDIES)} or all (default: by profile).",
        parse=parse_studies,
    )
    depths: tuple[int, ...] = option(
        (), help="Depths, each 6n + 2 (default: by profile)."
    )
    epochs: int | None = inherited(
        TrainingOptions,
        "epochs",
        None,
        help="Epochs of one budget (default: by profile).",
    )
    budgets: tuple[int, ...] = option(
        (),
        help="Also train depths 20 and 56 for these multiples of the epochs, such as "
        "4,16 (default: by profile).",
        minimum=2,
    )
    family: str = option(
        "cifar",
        help="Networks: the CIFAR family (6n + 2 layers), or torchvision's ResNet-18 "
        "and 34.",
        choices=("cifar", "imagenet"),
    )
    width: int = option(
        16,
        help="Channels of the CIFAR family's first stage.",
        minimum=1,
        maximum=LARGEST_WIDTH,
    )
    recipe: str | None = option(
        None,
        help="Learning-rate schedule (default: by profile).",
        choices=("one-cycle", "paper", "constant"),
    )
    lr: float = option(0.1, help="Peak learning rate.", above=0)
    batch_size: int = inherited(TrainingOptions, "batch_size", 128)
    image_size: int | None = option(
        None,
        help="Resize images to this many pixels (default: as stored).",
        minimum=4,
        maximum=LARGEST_IMAGE,
    )
    augmentation: str = option(
        "auto",
        help="Augmentation; auto is crop-flip for colour images except digits, "
        "otherwise none.",
        choices=("auto", "none", "crop", "crop-flip"),
    )

    def __post_init__(self) -> None:
        """Check every value and fill in the profile's."""
        super().__post_init__()
        self._fill_in()
        self._check_depths()
        self._check_studies()

    @property
    def sizes(self) -> Profile:
        """The profile's row."""
        return PROFILES[self.profile]

    def _fill_in(self) -> None:
        sizes = self.sizes
        imagenet = self.family == "imagenet"
        studies = self.study or sizes.studies
        if imagenet and studies in (sizes.studies, tuple(STUDIES)):
            studies = tuple(name for name in studies if name in IMAGENET_STUDIES)
        depths = self.depths or (IMAGENET_DEPTHS if imagenet else sizes.depths)
        values = {
            "study": tuple(dict.fromkeys(studies)),
            "depths": tuple(sorted(set(depths))),
            "epochs": sizes.epochs if self.epochs is None else self.epochs,
            "dataset": self.dataset_or_folder(sizes.dataset),
            "recipe": self.recipe or sizes.recipe,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check_depths(self) -> None:
        for depth in self.depths:
            if self.family == "imagenet":
                accepted = ", ".join(map(str, IMAGENET_DEPTHS))
                check(depth in IMAGENET_DEPTHS, "--depths", depth, accepted)
            elif not is_cifar_depth(depth):
                below, above = nearest_cifar_depths(depth)
                nearest = f"6n + 2; the nearest are {below} and {above}"
                raise UsageError.for_option("--depths", depth, nearest)
        if self.budgets and not set(self.depths) & set(BUDGET_DEPTHS):
            given = ",".join(map(str, self.depths))
            trained = " or ".join(map(str, BUDGET_DEPTHS))
            accepted = f"{trained} among them, which --budgets trains for longer"
            raise UsageError.for_option("--depths", given, accepted)

    def _check_studies(self) -> None:
        allowed = IMAGENET_STUDIES if self.family == "imagenet" else tuple(STUDIES)
        for name in self.study:
            accepted = f"{', '.join(allowed)} with --family {self.family}"
            check(name in allowed, "--study", name, accepted)


def expand(config: Config) -> list[DegradationCell]:
    """Return the networks that the studies need, each once, the longest first."""
    base = DegradationCell(
        dataset=config.dataset or config.sizes.dataset,
        family="imagenet" if config.family == "imagenet" else "cifar",
        seed=config.seed,
        width=config.width,
        epochs=config.epochs or config.sizes.epochs,
        recipe=config.recipe or config.sizes.recipe,
        learning_rate=config.lr,
        batch_size=config.batch_size,
        image_size=_image_size(config),
        augmentation=_augmentation(config),
        **device_parameters(config.device),
        data_dir=str(config.data_dir) if config.data_dir else None,
        download=config.download,
        skip_bad_images=config.skip_bad_images,
    )
    return planned(Grid(base, _sizes(config)), config.study)


def _sizes(config: Config) -> Profile:
    """Return the profile as options change it; every network has `--seeds` seeds."""
    sizes = dataclasses.replace(
        config.sizes,
        depths=config.depths,
        budgets=config.budgets or config.sizes.budgets,
        harder=config.sizes.harder if config.dataset == config.sizes.dataset else None,
    )
    if config.seeds is None:
        return sizes
    seeds = config.seeds
    return dataclasses.replace(
        sizes, seeds=seeds, seeds_of={}, other_seeds=seeds, landscape_seeds=seeds
    )


def _augmentation(config: Config) -> str:
    """Digits have a right way round, on photographs, too: auto must not flip them."""
    digits = str(config.dataset).startswith("photo-digits")
    return "none" if digits and config.augmentation == "auto" else config.augmentation


def _image_size(config: Config) -> int | None:
    """Torchvision's stem divides by 4 and its stages by 8: 32 is the least."""
    if config.family == "imagenet" and config.image_size is None:
        return 32
    return config.image_size
