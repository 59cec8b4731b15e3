"""What the cells of `finetune` yield."""

from dataclasses import dataclass
from typing import Literal

from resnet_bench.catalogue import VARIANTS
from resnet_bench.engine.weights.origins import SourceRecipe
from resnet_bench.experiments.pretrain.spec import IMAGE_COST
from resnet_bench.records import Cell, Record, measured, transient

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


@dataclass(frozen=True, kw_only=True)
class TransferResult(Record):
    """A trained or fitted classifier on the target's test half, at the last epoch.

    `weights_sha256` is None for random weights. `learning_rate` is the peak that was
    used; `learning_rate_validation` maps each rate of a grid to its accuracy on held
    out training images. `seconds_to_target` is training time, evaluation excluded,
    and None when the target was not reached. `training_seconds` leaves evaluation
    out; `total_seconds` counts the source's training too and is None where nobody knows
    it (ImageNet). What a fit without steps
    does not have (a step time) is None. `right_answers` is kept on permuted pixels
    only: a bit per tested image, the first one highest, in hexadecimal.
    """

    weights_origin: str
    weights_sha256: str | None
    stem: str
    image_size: int
    train_images: int
    test_images: int
    skipped_images: int
    classes: int
    epochs: int
    steps: int
    diverged: bool
    learning_rate: float | None
    learning_rate_validation: dict[str, float] | None
    threads: int
    right_answers: str | None = None
    test_accuracy_percent: float = measured(unit="%", better="higher")
    class_mean_accuracy_percent: float = measured(unit="%", better="higher")
    nll: float | None = measured(unit="1", better="lower")
    calibration_error: float | None = measured(unit="1", better="lower")
    trainable_parameters: int = measured(unit="1", better="lower", exact=True)
    step_seconds: float | None = measured(unit="s", better="lower")
    images_per_second: float | None = measured(unit="1/s", better="higher")
    peak_memory_bytes: int | None = measured(unit="B", better="lower")
    seconds_to_target: float | None = measured(unit="s", better="lower")
    training_seconds: float = measured(unit="s", better="lower")
    total_seconds: float | None = measured(unit="s", better="lower")


@dataclass(frozen=True, kw_only=True)
class TransferEpoch(Record):
    """How a training stood after an epoch; nothing is chosen by it."""

    epoch: int
    step: int
    training_seconds: float = measured(unit="s", better="lower")
    train_loss: float | None = measured(unit="1", better="lower")
    test_accuracy_percent: float = measured(unit="%", better="higher")
