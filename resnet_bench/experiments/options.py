"""Options that several experiments take, each declared once.

An experiment's config inherits the groups it needs. Where its default differs it
declares the option again with `inherited`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from resnet_bench.catalogue import (
    DATASETS,
    IMAGE_FOLDER,
    VARIANTS,
    parse_dataset,
    parse_variants,
)
from resnet_bench.engine.models.design import STEMS
from resnet_bench.errors import UsageError
from resnet_bench.options import DATA, MEASURED, WHERE, Options, check, option

#: torchvision's stem and stages halve the image five times.
SMALLEST_IMAGE = 8

#: Beyond these no machine could carry it out, and torch cannot count the bytes.
LARGEST_IMAGE = 65_536
LARGEST_BATCH = 10_000_000
LARGEST_WIDTH = 1_000_000


def parse_device(text: str) -> str:
    """Read the name of a device, which may not be there; raises UsageError for none."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", text):
        raise UsageError.for_option("--device", text, "auto, cpu, cuda or cuda:N")
    return text


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(Options):
    """Where an experiment computes, and with which random numbers."""

    heading = WHERE

    device: str = option(
        "auto",
        parse=parse_device,
        metavar="auto|cpu|cuda|cuda:N",
        help="Where to run; auto prefers CUDA.",
    )
    seed: int = option(
        0, help="The first seed.", heading=MEASURED, minimum=0, maximum=2**63 - 1
    )


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """The data set and how it is read."""

    heading = DATA

    dataset: str | None = option(
        None,
        help=f"Data set: {', '.join(DATASETS)} (default: by profile).",
        parse=parse_dataset,
        suggest=lambda results, command: DATASETS,
    )
    data_dir: Path | None = option(
        None,
        help="Folder that holds the data set; without --dataset it is a folder of "
        "images: CLASS/*, or train/CLASS/* and test/CLASS/*.",
    )
    download: bool = option(False, help="Download the data set if it is missing.")
    skip_bad_images: bool = option(
        False, help="Leave out images that cannot be decoded, and count them."
    )

    def dataset_or_folder(self, usual: str, *others: str) -> str:
        """Return the data set's name: without one, a given folder is the data set.

        It is not where `usual`, or one of `others` that the run reads, needs a folder.
        """
        if self.dataset is not None:
            return self.dataset
        folder_is_taken = any(not DATASETS[name].built_in for name in (usual, *others))
        return usual if folder_is_taken or self.data_dir is None else IMAGE_FOLDER

    def announce_folder(self) -> list[str]:
        """Return what a folder of images holds, where there is one on this machine."""
        folder = self.data_dir
        if self.dataset != IMAGE_FOLDER or folder is None or not folder.is_dir():
            return []
        from resnet_bench.engine.image_folders import describe_image_folder

        return describe_image_folder(folder)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(DeviceOptions, DataOptions):
    """On what networks are trained, how often and how long."""

    heading = MEASURED

    seeds: int | None = option(
        None, help="Trainings of each network (default: by profile).", minimum=1
    )
    epochs: int | None = option(None, help="Epochs (default: by profile).", minimum=1)
    batch_size: int = option(
        32, help="Images per step.", flags=("-b",), minimum=2, maximum=LARGEST_BATCH
    )

    @property
    def all_seeds(self) -> range:
        """The seeds of a network's trainings."""
        return range(self.seed, self.seed + (self.seeds or 1))


@dataclass(frozen=True, kw_only=True)
class VariantOptions(Options):
    """Which of torchvision's ResNets."""

    variants: tuple[int, ...] = option(
        (18, 34),
        help="ResNets, or all.",
        parse=parse_variants,
        metavar="18,34,…",
        suggest=lambda results, command: (*map(str, VARIANTS), "all"),
    )

    def __post_init__(self) -> None:
        """Check every value and name each variant once."""
        super().__post_init__()
        for variant in self.variants:
            known = ", ".join(map(str, VARIANTS))
            check(variant in VARIANTS, "--variants", variant, f"{known} or all")
        object.__setattr__(self, "variants", tuple(dict.fromkeys(self.variants)))


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(VariantOptions):
    """Torchvision's ResNets, what they begin with and what they are given."""

    image_size: int | None = option(
        32,
        help="Height and width of the images, in pixels.",
        minimum=SMALLEST_IMAGE,
        maximum=LARGEST_IMAGE,
    )
    stem: str = option("small", help="First layers.", choices=tuple(STEMS))
