"""The cells that `speed` visits, and which of them make one row of its table."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet_bench.catalogue import VARIANTS
from resnet_bench.records import Cell, added_later, transient

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

#: The batch that stands for the largest that fits.
AUTO = "auto"

#: torchvision's own network, and the same without its shortcuts.
RESIDUAL, PLAIN = "residual", "plain"

#: The phases in the order in which a visit takes them, by the mode that asks for them.
TRAIN_PHASES = ("forward", "loss", "backward", "optimizer", "step")
INFERENCE_PHASES = ("inference",)

#: Parameters that two cells share when one's ceiling limits the other's speed.
CEILING_FIELDS = ("device", "dtype", "tf32", "threads")


def title_of(variant: int, architecture: str | None) -> str:
    """Return what tables and figures call a variant, residual or plain."""
    title = VARIANTS[variant].title
    return f"{title} plain" if architecture == PLAIN else title


@dataclass(frozen=True, kw_only=True)
class SpeedCell(Cell):
    """One setting of one model, or the ceiling of one setting of the machine.

    `rung` names the step of the ladder, None outside of one; `protocol` the other
    project whose rules are followed, None for this one's.
    `device` is `cpu` or `cuda`; which GPU is no part of the identity. `batch_size`
    is the actual, `requested_batch_size` the one asked for (`auto`: the largest that
    fits, which is None as long as it was not searched). Of a ceiling, `variant`,
    `model`, batch and image size are None. `repeat` counts further passes of a memory
    cell, each in a fresh child; the first has None.
    """

    measure: str
    variant: int | None = None
    model: str | None = None
    architecture: str | None = None
    device: str
    device_index: int | None = transient(None)
    batch_size: int | None = None
    requested_batch_size: int | str | None = None
    image_size: int | None = None
    dtype: str
    amp: bool
    tf32: bool
    channels_last: bool = False
    compiled: bool = False
    cuda_graphs: bool = False
    rung: str | None = None
    threads: int
    mode: str = "both"
    seed: int
    precision: float
    max_time_seconds: float
    protocol: str | None = added_later()
    repeat: int | None = added_later()

    @property
    def name(self) -> str:
        """What tables call the model."""
        if self.variant is not None:
            return title_of(self.variant, self.architecture)
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
            "amp": self.amp,
            "tf32": self.tf32,
            "channels-last": self.channels_last,
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
        """Seconds that the cell is expected to take."""
        if self.measure in (MEMORY_TRAIN, MEMORY_INFERENCE):
            return MEMORY_SECONDS
        share = CEILING_SHARE if self.measure == CEILING else 1.0
        return share * self.max_time_seconds

    @property
    def memory_bytes(self) -> float:
        """Memory that the cell holds between its visits, roughly."""
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

#: A ceiling needs few samples; a memory pass a handful of steps, whatever the time of
#: the others.
CEILING_SHARE = 0.4
MEMORY_SECONDS = 1.0

#: The parameters that make a row of the table; cells that differ only in what they
#: measure, and how often, belong to the same row.
ROW_FIELDS = tuple(
    field.name
    for field in dataclasses.fields(SpeedCell)
    if field.name not in ("measure", "device_index", "repeat")
)


def row_of(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what cells of the same row have in common."""
    return tuple(parameters.get(name) for name in ROW_FIELDS)


def ceiling_of(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a row has in common with the ceiling that limits it."""
    return tuple(parameters[name] for name in CEILING_FIELDS)
