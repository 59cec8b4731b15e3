"""What options of `speed` stand for: protocols, the ladder's settings, profiles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet_bench.catalogue import INT8, TORCH

#: What rows are called that follow this project's own rules; cells keep None.
OWN = "resnet-bench"

TIMM, TORCH_TIMER = "timm", "torch-timer"


@dataclass(frozen=True)
class Protocol:
    """What a reader has to know of a protocol: its statistic and its boundaries.

    `training_passes` and `inference_passes` say how long it takes, roughly, in forward
    passes.
    """

    statistic: str
    boundaries: str
    training_passes: int
    inference_passes: int


#: timm: `benchmark.py` of huggingface/pytorch-image-models. torch-timer:
#: `torch.utils.benchmark.Timer.blocked_autorange` with its defaults.
PROTOCOLS = {
    TIMM: Protocol(
        "mean",
        "timm protocol: means of 40 calls after 10; backward includes making the "
        "targets and the loss, a step does not include clearing gradients; images per "
        "second are one value, from the whole loop.",
        # A step takes three; 10 + 40 whole steps and 40 in detail.
        training_passes=3 * 90,
        inference_passes=50,
    ),
    TORCH_TIMER: Protocol(
        "median",
        "torch-timer protocol: medians of the block means of "
        "torch.utils.benchmark.Timer, 0.2 s or more each; backward is Timer(forward + "
        "loss + backward) - Timer(forward + loss); no images per second.",
        # Some four calls of each statement: forward, with loss, with backward, step.
        training_passes=4 * (1 + 1 + 3 + 3),
        inference_passes=4,
    ),
}


def statistic_of(protocol: str | None) -> str:
    """Return what a row's time is: the mean or the median of its samples."""
    return PROTOCOLS[protocol].statistic if protocol in PROTOCOLS else "median"


#: The switches of a setting, with the options that turn them on.
SWITCHES = {
    "channels_last": "--channels-last",
    "keep_memory": "--keep-memory",
    "amp": "--amp",
    "tf32": "--tf32",
    "compiled": "--compile",
    "cuda_graphs": "--cuda-graphs",
}


@dataclass(frozen=True)
class Rung:
    """One step of the ladder: everything that is set when it is reached.

    With `needs_cuda` the step exists on CUDA only.
    """

    name: str
    runtime: str | None = None
    channels_last: bool = True
    keep_memory: bool = False
    dtype: str = "float32"
    amp: bool = False
    tf32: bool = False
    compiled: bool = False
    cuda_graphs: bool = False
    needs_cuda: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """What it sets of a cell."""
        names = ("runtime", "dtype", *SWITCHES)
        return {"rung": self.name, **{name: getattr(self, name) for name in names}}

    @property
    def options(self) -> str:
        """The options that reproduce it without the ladder."""
        return setting_options(self.parameters)


def setting_options(parameters: Mapping[str, Any]) -> str:
    """Return the options that set runtime, number format and the switches so."""
    dtype = parameters["dtype"]
    runtime = parameters.get("runtime") or TORCH
    chosen = [] if runtime == TORCH else [f"--runtime {runtime}"]
    chosen += [] if dtype == "float32" else [f"--dtype {dtype}"]
    given = (option for name, option in SWITCHES.items() if parameters.get(name))
    return " ".join([*chosen, *given])


#: Each step keeps channels-last; the later ones in bfloat16 are compiled too. TF32,
#: autocast, float16 and bfloat16 are ways of one step, and other runtimes start anew.
LADDER = (
    Rung("eager", channels_last=False),
    Rung("channels-last"),
    Rung("compiled-float32", compiled=True),
    Rung("tf32", tf32=True, needs_cuda=True),
    Rung("amp", dtype="bfloat16", amp=True),
    Rung("float16", dtype="float16", needs_cuda=True),
    Rung("bfloat16", dtype="bfloat16"),
    Rung("compiled", dtype="bfloat16", compiled=True),
    Rung(
        "cuda-graphs",
        dtype="bfloat16",
        compiled=True,
        cuda_graphs=True,
        needs_cuda=True,
    ),
    Rung("keep-memory", dtype="bfloat16", compiled=True, keep_memory=True),
    Rung("onnxruntime", runtime="onnxruntime", channels_last=False),
    Rung("onnxruntime-int8", runtime="onnxruntime", dtype=INT8, channels_last=False),
    Rung("openvino", runtime="openvino", channels_last=False),
    Rung(
        "openvino-bfloat16", runtime="openvino", dtype="bfloat16", channels_last=False
    ),
    Rung("openvino-int8", runtime="openvino", dtype=INT8, channels_last=False),
)
RUNGS = {rung.name: rung for rung in LADDER}


@dataclass(frozen=True)
class Profile:
    """How long and how precisely to measure when no option says so.

    `precision` is the relative half width of a time's interval; `budget` is seconds
    for a run of three rows or fewer. On CUDA visits are shorter, but cuDNN tries its
    algorithms out first: 27 s of a run for ResNet-50 alone (H200).
    """

    precision: float
    budget: float


PROFILES = {
    "quick": Profile(precision=0.05, budget=40.0),
    "standard": Profile(precision=0.02, budget=100.0),
    "thorough": Profile(precision=0.01, budget=600.0),
}
