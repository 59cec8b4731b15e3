"""What the degradation experiment observes: cells of its grid and their records.

The parameters of a cell are merged into each of its rows when a run file is read,
so that no record repeats depth, shortcut or seed. Errors and losses are those of fixed
weights in eval mode unless a docstring says otherwise. Intervals, differences
between shortcuts and verdicts are derived when reading.
"""

from dataclasses import dataclass
from typing import Literal

from resnet_bench.catalogue import DATASETS
from resnet_bench.records import Cell, Record, device_name, measured, transient

Shortcut = Literal["plain", "residual"]

#: Side in pixels to which images that come in all sizes are scaled.
DEFAULT_SIDE = 64

#: Training images that an estimate of time assumes of a person's own folder.
UNKNOWN_IMAGES = 10_000


@dataclass(frozen=True, kw_only=True)
class DegradationCell(Cell):
    """One network to train, with the studies that look at it.

    `shortcut` says whether the shortcuts are on; plain and residual networks of one
    depth and seed start from the same weights and see the same batches. `treatment`
    is a row of TREATMENTS ("standard" unless a study changes something). `epochs`
    is the length of one budget and `budget` the multiple of it that is trained, so
    steps = epochs x budget x (full batches per epoch of the whole training set).
    `train_images` limits the training set (None: all of it), at equal steps.
    `study_steps` is what its studies add, in steps' worth of work.
    A cell always uses one thread: one and two threads give different bits.
    A `task` other than "train" is the name of the only study that looks: nothing is
    trained for it.
    """

    task: str = "train"
    dataset: str = "digits"
    family: Literal["cifar", "imagenet"] = "cifar"
    shortcut: Shortcut = "residual"
    depth: int = 20
    seed: int = 0
    treatment: str = "standard"
    width: int = 16
    epochs: int = 10
    budget: int = 1
    recipe: str = "one-cycle"
    learning_rate: float = 0.1
    batch_size: int = 128
    train_images: int | None = None
    image_size: int | None = None
    augmentation: str = "auto"
    studies: tuple[str, ...] = ()
    deep_depths: tuple[int, ...] = ()
    device: str = "cpu"
    device_index: int | None = transient(None)
    threads: int = 1
    data_dir: str | None = transient(None)
    download: bool = transient(False)
    skip_bad_images: bool = False
    study_steps: float = transient(0.0)

    @property
    def place(self) -> str:
        """The device as torch writes it: `cpu`, `cuda:0`."""
        return device_name(self.device, self.device_index)

    @property
    def label(self) -> str:
        """Name the network, its seed and what is unusual about it."""
        if self.task != "train":
            return self.task
        extras = [self.dataset] if self.dataset != "digits" else []
        extras += [self.treatment] if self.treatment != "standard" else []
        extras += [f"x{self.budget}"] if self.budget > 1 else []
        extras += [f"{self.train_images} images"] if self.train_images else []
        return " ".join([f"{self.shortcut}-{self.depth} seed {self.seed}", *extras])

    @property
    def step_seconds(self) -> float:
        """About the seconds of one step on one core.

        A layer of a step of 128 digits takes 0.4 ms plus 0.65 ms that grow with the
        square of the width; very deep networks leave the caches. Measured.
        """
        milliseconds = 0.4 + 0.65 * (self.width / 16) ** 2
        side = self.image_size or DATASETS[self.dataset].image_size or DEFAULT_SIDE
        layers = (self.depth + 1) * (1 + self.depth / 1200)
        batch = self.batch_size / 128
        return milliseconds / 1000 * layers * (side / 8) ** 2 * batch

    @property
    def cost(self) -> float:
        """About the seconds that the cell takes on one core with data of known size."""
        if self.task != "train":
            return 1.0
        images = DATASETS[self.dataset].train_images or UNKNOWN_IMAGES
        # Evaluation takes about as long as an epoch.
        steps = images // self.batch_size * (self.epochs * self.budget + 1)
        return 0.5 + (steps + self.study_steps) * self.step_seconds


@dataclass(frozen=True, kw_only=True)
class TrainingResult(Record):
    """The end of one training: clean errors of the last step's weights.

    `train_error_recalibrated_percent` (whole training set, no augmentation, eval
    mode, after exact batch-norm recalibration) is the endpoint that claims use;
    test figures are taken with the same recalibrated network, once. A diverged
    network stands at chance in every error and has no losses. `right_test_answers` is a
    bit per test image, the first one highest, in hexadecimal. `observed_tf32` says
    whether torch let CUDA round float32 products to TF32.
    """

    diverged: bool
    diverged_at_step: int | None
    train_images_used: int
    test_images: int
    classes: int
    skipped_images: int
    recalibration_images: int
    data_sha256: str
    steps: int = measured(unit="1", better="neither", exact=True)
    parameters: int = measured(unit="1", better="neither", exact=True)
    chance_error_percent: float = measured(unit="%", better="neither", exact=True)
    train_error_percent: float = measured(unit="%", better="lower")
    train_error_recalibrated_percent: float = measured(unit="%", better="lower")
    test_error_percent: float = measured(unit="%", better="lower")
    train_loss: float | None = measured(unit="1", better="lower")
    test_loss: float | None = measured(unit="1", better="lower")
    seconds: float = measured(unit="s", better="lower")
    step_seconds: float = measured(unit="s", better="lower")
    observed_tf32: bool = False
    right_test_answers: str | None = None


@dataclass(frozen=True, kw_only=True)
class CurvePoint(Record):
    """Training as it goes, averaged over the steps of one epoch.

    Train mode, augmented batches, weights moving: not comparable with the clean
    errors of TrainingResult. `step` counts finished steps. Long budgets are thinned.
    """

    step: int
    epoch: int
    learning_rate: float = measured(unit="1", better="neither")
    running_loss: float | None = measured(unit="1", better="lower")
    running_error_percent: float = measured(unit="%", better="lower")


@dataclass(frozen=True, kw_only=True)
class LayerGradient(Record):
    """The gradient at one weighted layer (a convolution or the last linear one).

    `moment` is "0", "1", "10", "100" (finished steps) or "end"; `step` is the
    number of finished steps. `layer` counts from 0 at the stem; `block` is None
    outside the blocks. `input_gradient_norm` is the root mean square over images
    of the norm of dL/dx for the layer's input x times the batch size (L averages
    over the batch), in train mode: the total derivative, through every path.
    `relative_weight_gradient` is ||dW|| / ||W||. Signal to noise is the norm of the
    mean gradient over the batches against the root mean square distance of single
    batches from it.
    """

    moment: str
    step: int
    layer: int
    name: str
    block: int | None
    stage: int | None
    batches: int
    weight_norm: float = measured(unit="1", better="neither")
    weight_gradient_norm: float | None = measured(unit="1", better="neither")
    relative_weight_gradient: float | None = measured(unit="1", better="neither")
    input_gradient_norm: float | None = measured(unit="1", better="neither")
    signal_to_noise: float | None = measured(unit="1", better="higher")
    batch_cosine: float | None = measured(unit="1", better="higher")


@dataclass(frozen=True, kw_only=True)
class GradientSummary(Record):
    """The gradient of a whole network at one moment.

    `bottom_over_top` is ||dL/dx|| at the first block's input (the stem's output)
    over that at the last block's input: above 1 the gradient grows on its way
    down. `shattering_correlation` is the mean cosine between input gradients at
    neighbouring points of a line between two training images (Balduzzi et al.
    2017, section 2): 1 smooth, near 0 white noise. None where not finite.
    """

    moment: str
    step: int
    batches: int
    loss: float | None = measured(unit="1", better="lower")
    bottom_over_top: float | None = measured(unit="1", better="neither")
    shattering_correlation: float | None = measured(unit="1", better="higher")


@dataclass(frozen=True, kw_only=True)
class LayerResponse(Record):
    """How strongly a layer of a trained network answers (He et al. 2015, Fig. 7).

    `response_std` is the standard deviation of a convolution's output after batch
    norm, before the nonlinearity and the addition. `relative_response`, on a
    block's last convolution only, is the mean over images of ||F(x)|| / ||x||.
    """

    layer: int
    name: str
    block: int | None
    stage: int | None
    changes_shape: bool
    images: int
    response_std: float = measured(unit="1", better="neither")
    relative_response: float | None = measured(unit="1", better="neither")


@dataclass(frozen=True, kw_only=True)
class Lesion(Record):
    """A trained network with blocks deleted or swapped (Veit et al. 2016).

    A deleted block leaves its shortcut in a residual network and nothing in a
    plain one; blocks that change the shape are never touched. `blocks` are indices
    from 0 at the bottom; for "swap" they come in pairs that changed places.
    `error_rise_percent` is in percentage points of the error on `images` training
    images, against `intact_error_percent`.
    """

    damage: Literal["delete", "delete-many", "swap"]
    blocks: tuple[int, ...]
    stage: int | None
    count: int
    draw: int
    images: int
    intact_error_percent: float = measured(unit="%", better="lower")
    error_percent: float = measured(unit="%", better="lower")
    error_rise_percent: float = measured(unit="%", better="lower")


@dataclass(frozen=True, kw_only=True)
class LossSurface(Record):
    """The training loss over a square around trained weights (Li et al. 2018, Fig. 1).

    The square is spanned by two random, filter-normalised directions; `positions` are
    the places on both axes, 0 being the trained weights, and `losses` has a row for
    each place on the second. Train mode on `images` training images: batch norm takes
    their statistics at each point. None where not finite.
    """

    images: int
    positions: tuple[float, ...]
    losses: tuple[tuple[float | None, ...], ...] = measured(unit="1", better="neither")


@dataclass(frozen=True, kw_only=True)
class LossLine(Record):
    """The training loss along one random line, otherwise as in LossSurface.

    `folded_losses` are those of the same network with its logits z replaced by
    sin(10 z): the positive control, a network made rough.
    """

    line: int
    images: int
    positions: tuple[float, ...]
    losses: tuple[float | None, ...] = measured(unit="1", better="neither")
    folded_losses: tuple[float | None, ...] = measured(unit="1", better="neither")


@dataclass(frozen=True, kw_only=True)
class IdentityInsertion(Record):
    """Blocks with a zero last batch-norm scale put into a trained network.

    Losses are clean training losses: before, right after the insertion, and after
    the same `further_steps` of the net left as it was and of the extended one. A plain
    net takes no further steps: its claim is about the insertion alone.
    """

    extended_depth: int
    further_steps: int
    logits_identical: bool
    largest_logit_difference: float = measured(unit="1", better="lower")
    error_before_percent: float = measured(unit="%", better="lower")
    error_after_percent: float = measured(unit="%", better="lower")
    loss_before: float | None = measured(unit="1", better="lower")
    loss_after: float | None = measured(unit="1", better="lower")
    loss_untouched_later: float | None = measured(unit="1", better="lower")
    loss_extended_later: float | None = measured(unit="1", better="lower")


@dataclass(frozen=True, kw_only=True)
class Construction(Record):
    """A trained shallow plain network extended to `deep_depth` by identity layers.

    The error it reaches is what the deep plain network *could* reach; set against
    the TrainingResult of the deep plain cell with the same seed.
    """

    deep_depth: int
    images: int
    largest_logit_difference: float = measured(unit="1", better="lower")
    shallow_error_percent: float = measured(unit="%", better="lower")
    constructed_error_percent: float = measured(unit="%", better="lower")


@dataclass(frozen=True, kw_only=True)
class SizeCheck(Record):
    """What a network answers to an image size: the output's shape or the error."""

    network: str
    pooling: Literal["adaptive", "flatten"]
    height: int
    width_pixels: int
    accepted: bool
    output_shape: tuple[int, ...] | None
    raised: str | None
