"""Published figures, each with its source and the protocol it was taken with."""

from functools import cache
from importlib import resources

import pandas as pd

#: File names in resnet_bench/reference, without their ending.
NAMES = (
    "cifar_plain_vs_residual",
    "cifar_resnet_parameters",
    "imagenet_plain_vs_residual",
    "speed_reference",
    "torchvision_weights",
    "transfer_resnet50",
)


@cache
def reference(name: str) -> pd.DataFrame:
    """Return one table of published figures; raises KeyError for an unknown name."""
    if name not in NAMES:
        raise KeyError(f"no reference {name}: expected {', '.join(NAMES)}")
    file = resources.files("resnet_bench.reference") / f"{name}.csv"
    with file.open(encoding="utf-8") as stream:
        return pd.read_csv(stream, dtype={"variant": "Int64", "depth": "Int64"})


def imagenet_accuracy(variant: int, weights: str = "IMAGENET1K_V1") -> float | None:
    """Return torchvision's own ImageNet top-1 accuracy, in percent."""
    table = reference("torchvision_weights")
    found = table[(table["variant"] == variant) & (table["weights"] == weights)]
    return None if found.empty else float(found["acc1_percent"].iloc[0])
