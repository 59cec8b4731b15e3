"""Other projects' rules of taking a time that `speed --protocol` can follow."""

from dataclasses import dataclass

#: What rows are called that follow this project's own rules; cells keep None.
OWN = "resnet-bench"

TIMM, TORCH_TIMER = "timm", "torch-timer"


@dataclass(frozen=True)
class Protocol:
    """What a reader has to know of a protocol: its statistic and its boundaries.

    `interval` says what the interval of a time is of. `training_passes` and
    `inference_passes` say how long it takes, roughly, in forward passes.
    """

    statistic: str
    interval: str
    boundaries: str
    training_passes: int
    inference_passes: int


#: timm: `benchmark.py` of huggingface/pytorch-image-models. torch-timer:
#: `torch.utils.benchmark.Timer.blocked_autorange` with its defaults.
PROTOCOLS = {
    TIMM: Protocol(
        "mean",
        "mean (Student's t)",
        "timm protocol: means of 40 calls after 10; backward has making the targets "
        "and the loss inside, a step leaves forgetting gradients out; images per "
        "second from the whole loop, one value.",
        # A step takes three; 10 + 40 whole steps and 40 in detail.
        training_passes=3 * 90,
        inference_passes=50,
    ),
    TORCH_TIMER: Protocol(
        "median",
        "median of the blocks' means",
        "torch-timer protocol: medians of the block means of torch.utils.benchmark."
        "Timer, 0.2 s or more each; backward is Timer(forward + loss + backward) - "
        "Timer(forward + loss); it tells no images per second.",
        # Some four calls of each statement: forward, with loss, with backward, step.
        training_passes=4 * (1 + 1 + 3 + 3),
        inference_passes=4,
    ),
}


def statistic_of(protocol: str | None) -> str:
    """Return what a row's time is: the mean or the median of its samples."""
    return PROTOCOLS[protocol].statistic if protocol in PROTOCOLS else "median"


def interval_of(protocol: str | None) -> str:
    """Return in words what the interval of a row's time is of."""
    return PROTOCOLS[protocol].interval if protocol in PROTOCOLS else "median"
