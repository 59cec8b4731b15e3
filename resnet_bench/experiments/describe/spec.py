"""The options, cells and records of `describe`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.options import LARGEST_WIDTH, NetworkOptions
from resnet_bench.options import inherited, option
from resnet_bench.records import Cell, Record, measured, transient

LENET = "LeNet-5"

#: Names listed of bad files, of files in both halves, and of small classes.
NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Config(NetworkOptions):
    """The options of `describe`."""

    variants: tuple[int, ...] = inherited(
        NetworkOptions,
        "variants",
        (18, 50),
        metavar="[18 34 50 101 152]",
        argument=True,
    )
    image_size: int = inherited(NetworkOptions, "image_size", 224)
    stem: str = inherited(NetworkOptions, "stem", "imagenet")
    head: int | None = option(
        None,
        help="Replace the last layer for N classes and show what trains.",
        minimum=2,
        maximum=LARGEST_WIDTH,
    )
    data: Path | None = option(
        None,
        help="Report on a folder of images instead, as finetune --data-dir reads it.",
    )
    plain: bool = option(False, help="Show the twin without shortcuts as well.")
    lenet: bool = option(False, help="Show LeNet-5 too.")
    profile: str = option(
        "quick",
        help="Accepted, but without effect.",
        choices=("quick", "standard"),
    )
    seed: int = option(0, help="Accepted, but without effect: nothing here is random.")


@dataclass(frozen=True, kw_only=True)
class DescribeCell(Cell):
    """One network at one image size; without a variant it is LeNet-5."""

    variant: int | None = None
    shortcut: Literal["residual", "plain"] = "plain"
    image_size: int
    stem: str
    head: int | None = None

    @property
    def label(self) -> str:
        """The network's name in progress lines and tables."""
        if self.variant is None:
            return LENET
        title = VARIANTS[self.variant].title
        return title if self.shortcut == "residual" else f"{title}, plain"


@dataclass(frozen=True, kw_only=True)
class FolderCell(Cell):
    """A folder of images, decoded to squares of `image_size` pixels."""

    folder: Path = transient()
    image_size: int

    @property
    def label(self) -> str:
        """What progress lines call the folder."""
        return self.folder.name


@dataclass(frozen=True, kw_only=True)
class StageDescription(Record):
    """One stage of a network, in order; unknown shapes are None."""

    network: str
    stage: str
    layers: str
    blocks: int
    channels: int | None
    height: int | None
    width: int | None
    parameters: int = measured(unit="1", better="lower", exact=True)


@dataclass(frozen=True, kw_only=True)
class Counts(Record):
    """The layers of a network counted in every usual way, and its work per image."""

    network: str
    main_path_convolutions: int
    weighted_layers: int
    projections: int
    convolution_modules: int
    with_projections: int
    blocks: int
    parameters: int = measured(unit="1", better="lower", exact=True)
    gmac: float | None = measured(unit="GMAC", better="lower", exact=True)


@dataclass(frozen=True, kw_only=True)
class HeadDescription(Record):
    """The last layer after one step of replacing it, and what trains then."""

    network: str
    step: str
    layer: str
    in_features: int
    out_features: int
    trainable_names: tuple[str, ...]
    trainable_parameters: int = measured(unit="1", better="lower", exact=True)
    total_parameters: int = measured(unit="1", better="lower", exact=True)


@dataclass(frozen=True, kw_only=True)
class FolderDescription(Record):
    """A folder of images: what a training would see of it, and what it would not.

    `train` and `test` count the images of each class; `held_out` says that the folder
    has no test half of its own. `left_out` counts by kind what is no image of a class,
    `bad` how many images cannot be decoded, `bad_files` names the first of them.
    `twins` counts test images whose pixels a training image has too. Sides are those of
    the files, in pixels; `decoded_bytes` is what all images take at `image_size`.
    """

    folder: str
    train: Mapping[str, int]
    test: Mapping[str, int]
    held_out: bool
    left_out: Mapping[str, int]
    bad: int
    bad_files: tuple[str, ...]
    twins: int
    twin_files: tuple[str, ...]
    smallest_side: int | None
    median_side: float | None
    largest_side: int | None
    decoded_bytes: int
    fits_memory: bool


RECORDS = (StageDescription, Counts, HeadDescription, FolderDescription)


def expand(config: Config) -> list[DescribeCell | FolderCell]:
    """Return a cell per network, LeNet-5 last, or one for a folder of images."""
    if config.data is not None:
        return [FolderCell(folder=config.data, image_size=config.image_size)]
    lenet = DescribeCell(image_size=config.image_size, stem=config.stem)
    cells: list[DescribeCell | FolderCell] = []
    for variant in config.variants:
        residual = replace(lenet, variant=variant, shortcut="residual")
        cells.append(replace(residual, head=config.head))
        if config.plain:
            cells.append(replace(residual, shortcut="plain"))
    return [*cells, lenet] if config.lenet else cells
