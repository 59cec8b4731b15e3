"""Other projects' rules of taking a time that `speed --protocol` can follow."""

from dataclasses import dataclass

#: What rows are called that follow this project's own rules; cells keep None.
OWN = "resnet-bench"

TIMM, TORCH_TIMER = "timm", "torch-timer"


@dataclass(frozen=True)
class Protocol:
    """What a reader has to know of a protocol: its statistic and its boundaries."""

    statistic: str
    boundaries: str


#: timm: `benchmark.py` of huggingface/pytorch-image-models. torch-timer:
#: `torch.utils.benchmark.Timer.blocked_autorange` with its defaults.
PROTOCOLS = {
    TIMM: Protocol(
        "mean",
        "timm protocol: means of 40 calls after 10; backward has making the targets "
        "and the loss inside, a step leaves forgetting gradients out; images per "
        "second from the whole loop; --precision and --max-time do not apply.",
    ),
    TORCH_TIMER: Protocol(
        "median",
        "torch-timer protocol: medians of the block means of torch.utils.benchmark."
        "Timer, 0.2 s or more each; backward is Timer(forward + loss + backward) - "
        "Timer(forward + loss); it tells no images per second; --precision and "
        "--max-time do not apply.",
    ),
}


def statistic_of(protocol: str | None) -> str:
    """Return what a row's time is: the mean or the median of its samples."""
    return PROTOCOLS[protocol].statistic if protocol in PROTOCOLS else "median"
