"""The cells and records of `finetune`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resnet_bench.catalogue import DATASETS, VARIANTS
from resnet_bench.engine.training.strategies import EVALUATIONS, enough_epochs
from resnet_bench.engine.weights.origins import SourceRecipe
from resnet_bench.experiments.pretrain.spec import (
    IMAGE_COST,
    USUAL_IMAGES,
    SourceResult,
)
from resnet_bench.records import Cell, Record, device_name, measured, transient

Part = Literal["strategy", "control"]

PROBE, SCRATCH = "probe", "scratch"

#: Controls: logistic regression on the pixels, and a probe on a random backbone.
RAW_PIXELS, RANDOM_PROBE = "raw-pixels", "random-probe"
CONTROLS = (RAW_PIXELS, RANDOM_PROBE)

#: Images tested in the time of training on one: ResNet-18 and -34 on one core at 32 px
#: with the small stem.
FORWARDS_PER_PASS = 6.0

#: Test images for each training image of a data set, for costs.
TEST_SHARE = 0.2

#: Passes of ResNet-18 that cost as much as logistic regression on an image's pixels.
PIXEL_PASSES = 0.2


@dataclass(frozen=True, kw_only=True)
class Training:
    """What trainings of one run have in common."""

    dataset: str
    classes: int | None
    epochs: int
    least_steps: int
    learning_rates: tuple[float, ...]
    batch_size: int
    image_size: int | None
    streamed: bool
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
    that are compared there. `shots` None takes all images. Raw pixels have no variant.
    `source` is the checkpoint that it starts from where the suite trains it,
    `source_key` the cell that does. Paths, and what only says how to read the data, do
    not identify a cell; a file of weights does by its content, `weights_sha256`.
    """

    part: Part
    strategy: str
    variant: int | None
    seed: int
    shots: int | None = None
    permuted: bool = False
    draw: int = 0
    weights: str = transient()
    weights_kind: str
    weights_sha256: str | None = None
    source: SourceRecipe | None = None
    source_key: str | None = transient(None)
    training: Training
    device_index: int | None = transient(None)
    verify_weights: bool = True
    data_dir: Path | None = transient(None)
    download: bool = transient(False)
    skip_bad_images: bool = transient(False)
    checkpoint: Path | None = transient(None)
    save_model: Path | None = transient(None)
    shows_samples: bool = transient(False)

    @property
    def needs(self) -> tuple[str, ...]:
        """The source checkpoint that the cell starts from."""
        return (self.source_key,) if self.source_key else ()

    @property
    def place(self) -> str:
        """The device as torch writes it: `cpu`, `cuda:0`."""
        return device_name(self.training.device, self.device_index)

    @property
    def name(self) -> str:
        """What tables call the network."""
        return VARIANTS[self.variant].title if self.variant else "no network"

    @property
    def model_file(self) -> Path | None:
        """Where the trained network is saved, if it is."""
        if self.save_model is None or self.variant is None:
            return None
        shots = "all" if self.shots is None else f"{self.shots}shots"
        parts = (self.training.dataset, self.strategy, shots, f"seed{self.seed}")
        name = "_".join((VARIANTS[self.variant].builder, *parts))
        return self.save_model / f"{name}.safetensors"

    @property
    def label(self) -> str:
        """What progress lines call the cell."""
        parts = [self.name, self.strategy, f"seed {self.seed}"]
        if self.shots is not None:
            parts.append(f"{self.shots} shots")
        if self.permuted:
            parts.append("permuted pixels")
        if self.draw:
            parts.append(f"draw {self.draw}")
        return ", ".join(parts)

    @property
    def cost(self) -> float:
        """Relative duration: image passes, weighted by variant."""
        data = DATASETS[self.training.dataset]
        every = data.train_images or USUAL_IMAGES
        taken = every if self.shots is None else self.shots * (data.classes or 2)
        return self.passes(min(every, taken), round(TEST_SHARE * every))

    def passes(self, images: int, test_images: int) -> float:
        """Return the passes of ResNet-18 that training and tests come to.

        A pass is one training image, forward and backward.
        """
        if self.variant is None:
            return PIXEL_PASSES * images
        forwards = test_images
        passes = 0.0
        if self.part == "control" or self.strategy == PROBE:
            forwards += images
        else:
            training = self.training
            batches = math.ceil(images / training.batch_size)
            epochs = enough_epochs(training.epochs, training.least_steps, batches)
            rates = len(training.learning_rates)
            passes = epochs * images * (1 if rates < 2 else rates + 1)
            forwards *= min(EVALUATIONS, epochs)
        return IMAGE_COST[self.variant] * (passes + forwards / FORWARDS_PER_PASS)


@dataclass(frozen=True, kw_only=True)
class TransferResult(Record):
    """A trained or fitted classifier on the target's test half, at the last epoch.

    `weights_sha256` is None for random weights. `twins` counts test images whose pixels
    a training image has too. `learning_rate` is the peak that was
    used; `learning_rate_validation` maps each rate of a grid to its accuracy on held
    out training images. `seconds_to_target` is training time, evaluation excluded,
    and None when the target was not reached. `training_seconds` leaves evaluation
    out; `total_seconds` counts the source's training too and is None where nobody knows
    it (ImageNet). What a fit without steps does not have (a step time) is None.
    `right_answers` holds a bit per tested image, the first one highest, in hexadecimal;
    `renderings` counts how many of them in a row show the same original, None where
    each is its own. `confusion` lists true class, answer and how often, where that is
    not 0. `saved` is the file of the trained network where one was asked for, `usage`
    the Python that uses it. `observed_tf32` says whether torch let CUDA round float32
    products to TF32.
    """

    weights_origin: str
    weights_sha256: str | None
    stem: str
    image_size: int
    train_images: int
    test_images: int
    skipped_images: int
    twins: int = 0
    classes: int
    class_names: list[str]
    epochs: int
    steps: int
    diverged: bool
    learning_rate: float | None
    learning_rate_validation: dict[str, float] | None
    threads: int
    observed_tf32: bool = False
    right_answers: str
    renderings: list[int] | None = None
    confusion: list[list[int]]
    saved: str | None = None
    usage: list[str] | None = None
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
    """How a training stood after some epoch; nothing is chosen by it."""

    epoch: int
    step: int
    training_seconds: float = measured(unit="s", better="lower")
    train_loss: float | None = measured(unit="1", better="lower")
    test_accuracy_percent: float = measured(unit="%", better="higher")


@dataclass(frozen=True, kw_only=True)
class Samples(Record):
    """Some training images with their classes, in rows, for people to see the task.

    `png` is one picture of all of them, `side` pixels each, in base64.
    """

    png: str
    side: int
    columns: int
    class_names: list[str]


RECORDS = (TransferResult, TransferEpoch, Samples, SourceResult)
