"""What `describe` can be asked, and the cells and records it comes to."""

from dataclasses import dataclass, replace
from typing import Literal

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.options import LARGEST_WIDTH, NetworkOptions
from resnet_bench.options import inherited, option
from resnet_bench.records import Cell, Record, measured

LENET = "LeNet-5"


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
    plain: bool = option(False, help="Show the twin without shortcuts as well.")
    lenet: bool = option(False, help="Show LeNet-5 beside them.")
    profile: str = option(
        "quick",
        help="Both show the same: nothing here takes time.",
        choices=("quick", "standard"),
    )
    seed: int = option(0, help="Has no effect: nothing here is random.")


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
        """What progress lines and tables call the network."""
        if self.variant is None:
            return LENET
        title = VARIANTS[self.variant].title
        return title if self.shortcut == "residual" else f"{title}, plain"


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


RECORDS = (StageDescription, Counts, HeadDescription)


def expand(config: Config) -> list[DescribeCell]:
    """Return a cell per network, LeNet-5 last."""
    lenet = DescribeCell(image_size=config.image_size, stem=config.stem)
    cells = []
    for variant in config.variants:
        residual = replace(lenet, variant=variant, shortcut="residual")
        cells.append(replace(residual, head=config.head))
        if config.plain:
            cells.append(replace(residual, shortcut="plain"))
    return [*cells, lenet] if config.lenet else cells
