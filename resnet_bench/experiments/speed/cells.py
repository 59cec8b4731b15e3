"""The cells of `speed` and the records that they yield."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from resnet_bench.catalogue import VARIANTS
from resnet_bench.records import Cell, Record, measured, transient

#: What one cell measures. Memory has cells of its own because a peak is only
#: believable in a fresh process that does nothing else.
TIME, MEMORY_TRAIN, MEMORY_INFERENCE, CEILING = (
    "time",
    "memory-train",
    "memory-inference",
    "ceiling",
)

#: Parts of the network in turn, by how finely it is cut.
BREAKDOWN_STAGE, BREAKDOWN_LAYER = "breakdown-stage", "breakdown-layer"
BREAKDOWNS = {"stage": BREAKDOWN_STAGE, "layer": BREAKDOWN_LAYER}

#: Weights that were trained briefly; on fresh ones times are the same.
TRAINED = "trained"

#: The batch that stands for the largest that fits.
AUTO = "auto"

#: torchvision's own network, and the same without its shortcuts.
RESIDUAL, PLAIN = "residual", "plain"

#: The phases in the order in which a visit takes them, by the mode that asks for them.
TRAIN_PHASES = ("forward", "loss", "backward", "optimizer", "step")
INFERENCE_PHASES = ("inference",)

#: Phases of which the sum is set against `step` (the closure check).
STEP_PARTS = TRAIN_PHASES[:-1]

#: An interval of one of these phases wider than this makes its row `noisy`.
NOISE_PHASES = ("forward", "backward", "step", "inference")
NOISY_SPREAD = 0.05

#: A visit whose threads waited for a core for more of its time was disturbed.
WAITING_SHARE = 0.1

#: Of more crowded visits than this share none is left out, and the row is flagged.
MOST_LEFT_OUT = 1 / 3

#: What memory is measured of, and by which cell.
MEMORY_KINDS = {"train": MEMORY_TRAIN, "inference": MEMORY_INFERENCE}

#: Parameters that two cells share when one's ceiling limits the other's speed.
CEILING_FIELDS = ("device", "dtype", "tf32", "threads")


def title_of(variant: int, shortcut: str | None) -> str:
    """Return what tables and figures call a variant, residual or plain."""
    title = VARIANTS[variant].title
    return f"{title} plain" if shortcut == PLAIN else title


@dataclass(frozen=True, kw_only=True)
class SpeedCell(Cell):
    """One setting of one model, or the ceiling of one setting of the machine.

    `runtime` names what computes the network where that is not torch; `streams` is
    how many calls are made at the same time beside those one by one, None for none.
    `rung` names the step of the ladder, None outside of one; `protocol` the other
    project whose rules are followed, None for this one's.
    `weights` is TRAINED where answers are compared on briefly trained ones; else they
    are fresh. `device` is `cpu` or `cuda`; which GPU is no part of the identity.
    `batch_size` is the actual, `requested_batch_size` the one asked for (`auto`: the
    largest that fits, which is None as long as it was not searched). Of a ceiling,
    `variant`, `model`, batch and image size are None. `repeat` counts further passes of
    a memory cell, each in a fresh child; the first has None.
    """

    measure: str
    variant: int | None = None
    model: str | None = None
    shortcut: str | None = None
    device: str
    device_index: int | None = transient(None)
    batch_size: int | None = None
    requested_batch_size: int | str | None = None
    image_size: int | None = None
    runtime: str | None = None
    dtype: str
    amp: bool
    tf32: bool
    channels_last: bool = False
    keep_memory: bool = False
    compiled: bool = False
    cuda_graphs: bool = False
    rung: str | None = None
    threads: int
    streams: int | None = None
    mode: str = "both"
    seed: int
    weights: str | None = transient(None)
    protocol: str | None = None
    repeat: int | None = None

    @property
    def name(self) -> str:
        """What tables call the model."""
        if self.variant is not None:
            return title_of(self.variant, self.shortcut)
        return self.model or "ceiling"

    @property
    def label(self) -> str:
        """What progress lines call the cell."""
        parts = [self.name]
        if self.batch_size is not None:
            parts.append(f"batch {self.batch_size}, {self.image_size} px")
        elif self.requested_batch_size is not None:
            parts.append(f"batch {self.requested_batch_size}, {self.image_size} px")
        parts.append(self.dtype)
        named = {
            self.runtime or "": self.runtime is not None,
            "amp": self.amp,
            "tf32": self.tf32,
            "channels-last": self.channels_last,
            "memory kept": self.keep_memory,
            "compiled": self.compiled,
            "CUDA graphs": self.cuda_graphs,
            f"{self.protocol} protocol": self.protocol is not None,
            "peak memory, train": self.measure == MEMORY_TRAIN,
            "by stage": self.measure == BREAKDOWN_STAGE,
            "by layer": self.measure == BREAKDOWN_LAYER,
            "peak memory, inference": self.measure == MEMORY_INFERENCE,
            f"repeat {self.repeat}": self.repeat is not None,
        }
        return ", ".join(parts + [name for name, given in named.items() if given])

    @property
    def cost(self) -> float:
        """How long the cell takes beside a timing cell, roughly."""
        if self.measure in (MEMORY_TRAIN, MEMORY_INFERENCE):
            return MEMORY_COST
        return CEILING_COST if self.measure == CEILING else 1.0

    @property
    def memory_bytes(self) -> float:
        """Memory that the cell holds between its visits, roughly.

        On CUDA that is the host's or the GPU's, whichever is more: the allocator's
        cache is given back, but not what CUDA graphs work in. Memory cells end at once.
        """
        if self.measure in MEMORY_KINDS.values():
            return 0.0
        if self.device != "cuda" or (self.cuda_graphs and self.measure == TIME):
            return self.working_bytes
        return CUDA_CEILING_BYTES if self.measure == CEILING else CUDA_BYTES

    @property
    def passing_bytes(self) -> float:
        """Memory that a pass takes on the CPU; on CUDA there is room for any cell."""
        passes = self.measure in MEMORY_KINDS.values() and self.device != "cuda"
        return self.working_bytes if passes else 0.0

    @property
    def working_bytes(self) -> float:
        """Memory that the cell takes during a visit, roughly."""
        images = (self.batch_size or 0) * ((self.image_size or 0) / 224) ** 2
        return BASE_BYTES + images * BYTES_PER_IMAGE

    @property
    def trains(self) -> bool:
        """Whether training steps are asked for."""
        return self.mode in ("train", "both")

    @property
    def infers(self) -> bool:
        """Whether inference is asked for."""
        return self.mode in ("infer", "both")

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that the cell times, in the order of a visit."""
        return TRAIN_PHASES * self.trains + INFERENCE_PHASES * self.infers


#: What a child holds between its visits: weights, gradients and momentum, what
#: libraries take beyond what the fork shares, and what the allocator keeps of an
#: image's activations (ResNet-50 at 224 px; rounded up).
BASE_BYTES = 0.8e9
BYTES_PER_IMAGE = 1e8

#: What a child on CUDA holds: of the GPU a context (0.5 GB) with weights, momentum and
#: images, or a ceiling's matrices and copies; of the host its libraries.
CUDA_BYTES = 2e9
CUDA_CEILING_BYTES = 4e9

#: A ceiling needs few samples; a memory pass makes a handful of steps.
CEILING_COST = 0.3
MEMORY_COST = 0.1

#: The parameters that make a row of the table; cells that differ only in what they
#: measure, and how often, belong to the same row.
ROW_FIELDS = tuple(
    field.name
    for field in dataclasses.fields(SpeedCell)
    if field.name not in ("measure", "device_index", "weights", "repeat")
)


def row_of(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what cells of the same row have in common."""
    return tuple(parameters.get(name) for name in ROW_FIELDS)


def ceiling_of(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a row has in common with the ceiling that limits it."""
    return tuple(parameters[name] for name in CEILING_FIELDS)


Samples = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SpeedSamples(Record):
    """What one visit to a timing cell observed; samples in the order of taking.

    Each phase holds the wall seconds of its calls, empty where the mode does not
    ask for it. Every visit repeats what was set and what was observed of the child,
    so that one record can be read alone.

    Attributes:
        round: Number of the visit, from 0.
        own_seconds: Time that the child spent on the visit; on the first one it also
            built the network and warmed up.
        visit_seconds: Time of the visit alone; None in runs before it was kept.
        train_images_per_second: On the CPU from the steps' own marks; where the
            device works on by itself, of a block of steps that nobody waits for.
        inference_images_per_second: Likewise for inference.
        streams_images_per_second: Of several calls at the same time; empty where none
            are asked for.
        device_seconds: Per phase, the device's own time of the same calls (CUDA
            events); empty on the CPU.
        warmup_seconds: Per phase, the calls before the samples, the first one left
            out; only in round 0.
        first_step_seconds: The first training step of the process, compilation
            included; None when not asked for, or if the process was stopped.
        first_inference_seconds: Likewise for inference.
        conversion_seconds: What exporting the network to another runtime took, and
            loading it there; None for torch.
        told: What the other runtime was set to, by its own names.
        logit_error: On a ladder and of other runtimes, relative error of the logits
            against float32 torch on the same images and weights (2-norm); else None.
        top1_agreement: There, too, the share of images with the same first choice.
        weights_origin: Where the weights are from that these answers rest on.
        parameters: Trainable and other parameters of the model.
        multiply_adds: Multiplications with addition per image, forward.
        flop: Twice that, per image, forward.
        activations: Elements that convolutions and fully connected layers put out,
            per image.
        moved_elements: Elements that all operators read and write per image, weights
            left out; None in runs from before they were counted.
        observed_threads: Threads that torch said it used inside operators.
        interop_threads: Threads that torch said it used between operators.
        observed_tf32: Whether float32 products could be rounded to TF32.
        cudnn_benchmark: Whether cuDNN tried its algorithms out.
        denormals_flushed: Whether tiny numbers were set to zero.
        waiting_share: Part of the visit that the threads waited for a core; None
            where the kernel does not count it.
        clocks_mhz: Of a GPU's cores, at each look during the visit.
        throttle_reasons: Why the driver held its clock down, the ordinary power limit
            among them.
        dropped_visits: Visits dropped before this one: the process was stopped.
        flags: Conditions seen during the visit: `throttled`, `oversubscribed`,
            `stopped`.
        notes: One sentence for each condition.
    """

    round: int
    own_seconds: float
    visit_seconds: float | None = None
    forward_seconds: Samples = measured(unit="s", better="lower", default=())
    loss_seconds: Samples = measured(unit="s", better="lower", default=())
    backward_seconds: Samples = measured(unit="s", better="lower", default=())
    optimizer_seconds: Samples = measured(unit="s", better="lower", default=())
    step_seconds: Samples = measured(unit="s", better="lower", default=())
    inference_seconds: Samples = measured(unit="s", better="lower", default=())
    train_images_per_second: Samples = measured(unit="1/s", better="higher", default=())
    inference_images_per_second: Samples = measured(
        unit="1/s", better="higher", default=()
    )
    streams_images_per_second: Samples = measured(
        unit="1/s", better="higher", default=()
    )
    device_seconds: Mapping[str, Samples]
    warmup_seconds: Mapping[str, Samples]
    first_step_seconds: float | None = measured(unit="s", better="lower", default=None)
    first_inference_seconds: float | None = measured(
        unit="s", better="lower", default=None
    )
    conversion_seconds: float | None = measured(unit="s", better="lower", default=None)
    told: Mapping[str, str] = dataclasses.field(default_factory=dict)
    logit_error: float | None = measured(unit="1", better="lower", default=None)
    top1_agreement: float | None = measured(unit="1", better="higher", default=None)
    weights_origin: str | None = None
    parameters: int | None = measured(unit="1", better="lower", exact=True)
    multiply_adds: int | None = measured(unit="1", better="lower", exact=True)
    flop: int | None = measured(unit="1", better="lower", exact=True)
    activations: int | None = measured(unit="1", better="lower", exact=True)
    moved_elements: int | None = measured(
        unit="1", better="lower", exact=True, default=None
    )
    observed_threads: int
    interop_threads: int
    observed_tf32: bool
    cudnn_benchmark: bool
    denormals_flushed: bool
    waiting_share: float | None = measured(unit="1", better="lower", default=None)
    clocks_mhz: Samples = ()
    throttle_reasons: tuple[str, ...] = ()
    dropped_visits: int = 0
    flags: tuple[str, ...]
    notes: tuple[str, ...]


def phase_field(phase: str) -> str:
    """Return the field of SpeedSamples that holds a phase's samples."""
    return f"{phase}_seconds"


@dataclass(frozen=True, kw_only=True)
class BreakdownSamples(Record):
    """Where one visit found the time to go, part by part.

    The whole network's passes are timed in the same visit, so that the parts' sum
    can be set against them.

    Attributes:
        parts: Names of the parts in the order of the forward pass.
        forward_seconds: By part, the seconds of its forward pass.
        backward_seconds: By part, the seconds of its backward pass.
        whole_forward_seconds: Forward passes of the whole network.
        whole_backward_seconds: Backward passes of the whole network.
        multiply_adds: By part, per image, forward.
        activations: By part, elements that its layers put out per image.
        dropped_visits: Visits dropped before this one: the process was stopped.
        flags: `stopped`, if it was stopped in this one too.
    """

    round: int
    own_seconds: float
    parts: tuple[str, ...]
    forward_seconds: Mapping[str, Samples] = measured(unit="s", better="lower")
    backward_seconds: Mapping[str, Samples] = measured(unit="s", better="lower")
    whole_forward_seconds: Samples = measured(unit="s", better="lower")
    whole_backward_seconds: Samples = measured(unit="s", better="lower")
    multiply_adds: Mapping[str, int] = measured(unit="1", better="lower", exact=True)
    activations: Mapping[str, int] = measured(unit="1", better="lower", exact=True)
    dropped_visits: int = 0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PeakMemory(Record):
    """The most memory that a pass of its own needed, in bytes; None if unknown.

    On CUDA `peak_bytes` is what tensors took and `reserved_bytes` what the allocator
    held, both after the first call, whose peak is `first_peak_bytes`: cuDNN tries its
    algorithms out in it. On the CPU `peak_bytes` is the process's high-water mark minus
    `baseline_bytes`, the mark before the model was built, and nothing is reserved.
    """

    peak_bytes: int | None = measured(unit="B", better="lower")
    reserved_bytes: int | None = measured(unit="B", better="lower")
    baseline_bytes: int | None
    first_peak_bytes: int | None = measured(unit="B", better="lower", default=None)
    ends_cell: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class CeilingSamples(Record):
    """What the machine itself can do at one number format, one visit at a time.

    Products and convolutions in floating point operations per second, copies in
    bytes read plus bytes written per second; `dropped_visits` and `flags` as of parts.
    """

    round: int
    own_seconds: float
    matrix_product: Samples = measured(unit="FLOP/s", better="higher")
    convolution: Samples = measured(unit="FLOP/s", better="higher")
    copy: Samples = measured(unit="B/s", better="higher")
    dropped_visits: int = 0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScalingSamples(Record):
    """Seconds of a training step, block by block: one rank alone, all together.

    Each rank has a batch of its own; `together` is the slowest rank's.
    `dropped_visits` counts blocks in which a process was stopped.
    """

    ranks: int
    alone_step_seconds: Samples = measured(unit="s", better="lower")
    together_step_seconds: Samples = measured(unit="s", better="lower")
    dropped_visits: int = 0


@dataclass(frozen=True, kw_only=True)
class OutOfMemory(Record):
    """A cell that did not fit; its batch is not made smaller."""

    ends_cell: ClassVar[bool] = True
    status: str = "oom"
    message: str


def crowded(visit: Mapping[str, Any]) -> bool:
    """Return whether other work took a core from a visit, as far as is known."""
    return (visit.get("waiting_share") or 0.0) > WAITING_SHARE


def undisturbed(visits: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the visits without crowded ones; all of them where these are many."""
    calm = [visit for visit in visits if not crowded(visit)]
    few = len(visits) - len(calm) <= MOST_LEFT_OUT * len(visits)
    return calm if few else visits
