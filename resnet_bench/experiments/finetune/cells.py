"""The cells of `finetune`: source checkpoints, strategies, and controls."""

from dataclasses import dataclass
from typing import Literal

from resnet_bench.catalogue import VARIANTS
from resnet_bench.records import Cell, transient

Part = Literal["source", "strategy", "control"]

#: Controls by name, with what each is.
RAW_PIXELS = "raw-pixels"
RANDOM_PROBE = "random-probe"
CONTROLS = {
    RAW_PIXELS: "logistic regression on the pixels",
    RANDOM_PROBE: "probe on a frozen random backbone",
}

#: Relative cost of one training image in one epoch, ResNet-18 being 1: measured on
#: one core at 32 px with the small stem.
IMAGE_COST = {18: 1.0, 34: 1.9, 50: 3.0, 101: 5.7, 152: 7.7}
PROBE_EPOCHS = 0.4

#: Smaller shares of the data train up to so many times the epochs: a tenth of the
#: images would otherwise get a tenth of the steps, and the curve over shares would
#: show the steps instead of the images.
MOST_REPEATS = 3.0


@dataclass(frozen=True, kw_only=True)
class Training:
    """What trainings of one run have in common."""

    dataset: str
    classes: int | None
    epochs: int
    learning_rates: tuple[float, ...]
    batch_size: int
    image_size: int | None
    stem: str
    target_accuracy_percent: float
    device: str
    amp: bool
    channels_last: bool
    compiled: bool


@dataclass(frozen=True, kw_only=True)
class FinetuneCell(Cell):
    """One training or fit: a source checkpoint, a strategy, or a control.

    `strategy` names a row of STRATEGIES or CONTROLS, or is `source`. `permuted` moves
    the target's pixels by one fixed permutation. Raw pixels have no variant. Paths,
    and what only says how to read the data, do not identify a cell.
    """

    part: Part
    strategy: str
    variant: int | None
    seed: int
    fraction: float = 1.0
    permuted: bool = False
    weights: str
    source_dataset: str
    source_epochs: int
    source_learning_rate: float
    source_key: str | None = transient(None)
    training: Training
    verify_weights: bool = True
    data_dir: str | None = transient(None)
    download: bool = transient(False)
    skip_bad_images: bool = transient(False)
    checkpoint: str | None = transient(None)

    @property
    def needs(self) -> tuple[str, ...]:
        """The source checkpoint that the cell starts from."""
        return (self.source_key,) if self.source_key else ()

    @property
    def name(self) -> str:
        """What tables call the network."""
        return VARIANTS[self.variant].title if self.variant else "no network"

    @property
    def label(self) -> str:
        """What progress lines call the cell."""
        parts = [self.name, self.strategy, f"seed {self.seed}"]
        if self.fraction < 1:
            parts.append(f"{100 * self.fraction:g} % of the data")
        if self.permuted:
            parts.append("permuted pixels")
        return ", ".join(parts)

    @property
    def epochs(self) -> int:
        """Epochs of a training, more of them on a smaller share of the data."""
        return round(self.training.epochs * min(MOST_REPEATS, 1 / self.fraction))

    @property
    def cost(self) -> float:
        """Relative duration: image passes, weighted by variant."""
        per_epoch = IMAGE_COST[self.variant] if self.variant else 0.05
        if self.part == "source":
            return per_epoch * self.source_epochs
        if self.part == "control" or self.strategy == "probe":
            return per_epoch * PROBE_EPOCHS
        rates = len(self.training.learning_rates)
        trainings = 1 if rates < 2 else rates + 1
        return per_epoch * (self.epochs * self.fraction * trainings + PROBE_EPOCHS)
