"""The cells of `finetune`: strategies and controls."""

from dataclasses import dataclass
from typing import Literal

from resnet_bench.catalogue import VARIANTS
from resnet_bench.engine.weights.origins import SourceRecipe
from resnet_bench.experiments.pretrain.spec import IMAGE_COST
from resnet_bench.records import Cell, transient

Part = Literal["strategy", "control"]

#: Controls by name, with what each is.
RAW_PIXELS = "raw-pixels"
RANDOM_PROBE = "random-probe"
CONTROLS = {
    RAW_PIXELS: "logistic regression on the pixels",
    RANDOM_PROBE: "probe on a frozen random backbone",
}

#: A fit on features costs as much as so many epochs of training.
PROBE_EPOCHS = 0.4

#: Smaller shares of the data train up to so many times the epochs: a tenth of the
#: images would otherwise get a tenth of the steps, and the curve over shares would
#: show the steps instead of the images.
MOST_REPEATS = 3.0

#: Random backbones that each seed of the negative control is compared with: they are
#: cheap, and differ more than trained ones.
RANDOM_DRAWS = 4


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
    """One training or fit: a strategy, or a control.

    `strategy` names a row of STRATEGIES or CONTROLS. `permuted` moves the target's
    pixels by one fixed permutation; `draw` counts the random backbones of one seed
    that are compared there. Raw pixels have no variant. `source` is the
    checkpoint that it starts from where the suite trains it, `source_key` the cell
    that does. Paths, and what only says how to read the data, do not identify a cell.
    """

    part: Part
    strategy: str
    variant: int | None
    seed: int
    fraction: float = 1.0
    permuted: bool = False
    draw: int = 0
    weights: str
    source: SourceRecipe | None = None
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
        if self.draw:
            parts.append(f"draw {self.draw}")
        return ", ".join(parts)

    @property
    def epochs(self) -> int:
        """Epochs of a training, more of them on a smaller share of the data."""
        return round(self.training.epochs * min(MOST_REPEATS, 1 / self.fraction))

    @property
    def cost(self) -> float:
        """Relative duration: image passes, weighted by variant."""
        per_epoch = IMAGE_COST[self.variant] if self.variant else 0.05
        if self.part == "control" or self.strategy == "probe":
            return per_epoch * PROBE_EPOCHS
        rates = len(self.training.learning_rates)
        trainings = 1 if rates < 2 else rates + 1
        return per_epoch * (self.epochs * self.fraction * trainings + PROBE_EPOCHS)
