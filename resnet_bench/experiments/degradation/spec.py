"""Config of the degradation experiment; its cells and records stand beside it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from resnet_bench.catalogue import DATASETS, parse_dataset
from resnet_bench.engine.models.design import is_cifar_depth, nearest_cifar_depths
from resnet_bench.errors import UsageError
from resnet_bench.experiments.degradation.grid import (
    IMAGENET_STUDIES,
    PROFILES,
    STUDIES,
    Profile,
    expand_grid,
)
from resnet_bench.experiments.degradation.records import RECORDS, DegradationCell
from resnet_bench.options import check, option

__all__ = ["RECORDS", "Config", "expand"]

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
class Config:
    """What to train and which studies look at it.

    Options left out follow the profile. Raises UsageError for a value that cannot
    be carried out.
    """

    profile: str = option(
        "quick", help="Size of the experiment.", choices=tuple(PROFILES)
    )
    study: tuple[str, ...] = option(
        (),
        help=f"Studies: {', '.join(STUDIES)} or all (default: by profile).",
        parse=parse_studies,
    )
    depths: tuple[int, ...] = option(
        (), help="Depths, each 6n + 2 (default: by profile)."
    )
    seeds: int | None = option(
        None, help="Trainings of each network (default: by profile)."
    )
    epochs: int | None = option(
        None, help="Epochs of one budget (default: by profile)."
    )
    dataset: str | None = option(
        None,
        help=f"Data set: {', '.join(DATASETS)} (default: by profile).",
        parse=parse_dataset,
    )
    data_dir: Path | None = option(None, help="Folder that holds the data set.")
    download: bool = option(False, help="Download the data set when it is not there.")
    skip_bad_images: bool = option(
        False, help="Leave out images that cannot be decoded, and count them."
    )
    family: str = option(
        "cifar",
        help="Networks: the CIFAR family (6n + 2) or torchvision's 18 and 34.",
        choices=("cifar", "imagenet"),
    )
    width: int = option(16, help="Channels of the CIFAR family's first stage.")
    recipe: str | None = option(
        None,
        help="Learning-rate schedule (default: by profile).",
        choices=("one-cycle", "paper", "constant"),
    )
    lr: float = option(0.1, help="Peak learning rate.")
    batch_size: int = option(128, help="Images per step.", flags=("-b",))
    image_size: int | None = option(
        None, help="Resize images to this many pixels (default: as stored)."
    )
    augmentation: str = option(
        "auto",
        help="Augmentation; auto is crop-flip for colour images, else none.",
        choices=("auto", "none", "crop", "crop-flip"),
    )
    device: str = option("auto", help="auto, cpu, cuda or cuda:N.")
    seed: int = option(0, help="The first seed.")

    def __post_init__(self) -> None:
        """Check every value and fill in the profile's."""
        check(self.profile in PROFILES, "--profile", self.profile, ", ".join(PROFILES))
        self._fill_in()
        self._check_numbers()
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
            "seeds": sizes.seeds if self.seeds is None else self.seeds,
            "epochs": sizes.epochs if self.epochs is None else self.epochs,
            "dataset": self.dataset or sizes.dataset,
            "recipe": self.recipe or sizes.recipe,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check_numbers(self) -> None:
        least = {"seeds": 1, "epochs": 1, "batch_size": 2, "width": 1, "seed": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            flag = "--" + name.replace("_", "-")
            check(value >= smallest, flag, value, f"at least {smallest}")
        check(self.lr > 0, "--lr", self.lr, "a rate above 0")
        if self.image_size is not None:
            check(self.image_size >= 4, "--image-size", self.image_size, "at least 4")

    def _check_depths(self) -> None:
        for depth in self.depths:
            if self.family == "imagenet":
                accepted = ", ".join(map(str, IMAGENET_DEPTHS))
                check(depth in IMAGENET_DEPTHS, "--depths", depth, accepted)
            elif not is_cifar_depth(depth):
                below, above = nearest_cifar_depths(depth)
                nearest = f"6n + 2; the nearest are {below} and {above}"
                raise UsageError.for_option("--depths", depth, nearest)

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
        width=config.width,
        epochs=config.epochs or config.sizes.epochs,
        recipe=config.recipe or config.sizes.recipe,
        learning_rate=config.lr,
        batch_size=config.batch_size,
        image_size=_image_size(config),
        augmentation=config.augmentation,
        device=config.device,
        data_dir=str(config.data_dir) if config.data_dir else None,
        download=config.download,
        skip_bad_images=config.skip_bad_images,
    )
    seeds = range(config.seed, config.seed + (config.seeds or config.sizes.seeds))
    sizes = dataclasses.replace(config.sizes, depths=config.depths)
    return expand_grid(base, sizes, seeds, config.study)


def _image_size(config: Config) -> int | None:
    """Torchvision's stem divides by 4 and its stages by 8: 32 is the least."""
    if config.family == "imagenet" and config.image_size is None:
        return 32
    return config.image_size
