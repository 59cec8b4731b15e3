"""Where weights come from: `--weights` and a checkpoint's recipe.

Plain data without torch.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resnet_bench.configuration import expanded
from resnet_bench.errors import UsageError

Kind = Literal["auto", "imagenet", "file", "suite", "random"]

ACCEPTED = (
    "auto, imagenet, imagenet:V1, imagenet:V2, suite, suite:PATH, file:PATH, random"
)

#: Variants with a second set of ImageNet weights (torchvision 0.13 and later,
#: torchvision/models/resnet.py: IMAGENET1K_V2).
V2_VARIANTS = (50, 101, 152)

#: Raised when the same recipe would give other weights than before.
RECIPE_VERSION = 1


@dataclass(frozen=True)
class WeightsSource:
    """One parsed `--weights`: its kind, and the ImageNet version or path with it."""

    kind: Kind
    version: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        detail = self.version or self.path
        return f"{self.kind}:{detail}" if detail else self.kind

    @property
    def identity(self) -> str:
        """What identifies the weights wherever a file lies."""
        return self.kind if self.path else str(self)

    def check_variant(self, variant: int) -> None:
        """Raise UsageError when torchvision has no such weights for the variant."""
        if self.version == "V2" and variant not in V2_VARIANTS:
            having = ", ".join(map(str, V2_VARIANTS))
            raise UsageError(
                f"--weights imagenet:V2 with variant {variant}: torchvision has V2 "
                f"weights for {having} only; use imagenet:V1"
            )


def parse_weights(text: str) -> WeightsSource:
    """Read a `--weights` value.

    A bare `imagenet` is V1: all five variants have it, so that rows stay of one
    origin, and it is what `pretrained=True` of old tutorials loads. Raises UsageError.
    """
    kind, colon, detail = text.partition(":")
    if kind == "imagenet" and (detail or not colon):
        return _imagenet(text, detail or "V1")
    if kind == "file" and detail:
        return WeightsSource("file", path=expanded(detail))
    if kind == "suite" and (detail or not colon):
        return WeightsSource("suite", path=expanded(detail) if detail else None)
    if text == "random":
        return WeightsSource("random")
    if text == "auto":
        return WeightsSource("auto")
    raise UsageError.for_option("--weights", text, ACCEPTED)


def _imagenet(text: str, version: str) -> WeightsSource:
    if version.upper() not in ("V1", "V2"):
        raise UsageError.for_option("--weights", text, ACCEPTED)
    return WeightsSource("imagenet", version=version.upper())


@dataclass(frozen=True, kw_only=True)
class SourceRecipe:
    """Everything that decides a source checkpoint's weights, device aside.

    The defaults were chosen by a pilot on the source alone (ResNet-18, seed 0: 90.4 %
    of its test half; 62 % with mirrored images, 83 % at a rate of 0.03).
    """

    variant: int
    dataset: str = "photo-digits-0-4"
    stem: str = "small"
    image_size: int = 32
    epochs: int = 3
    learning_rate: float = 0.1
    batch_size: int = 32
    seed: int = 0

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that identify the recipe."""
        fields = {**dataclasses.asdict(self), "version": RECIPE_VERSION}
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def file_name(self) -> str:
        """The checkpoint's name in the cache folder."""
        head = f"resnet{self.variant}_{self.dataset}_seed{self.seed}"
        return f"{head}_{self.fingerprint}.safetensors"


#: Epochs and peak learning rate on other sources.
OTHER_EPOCHS, OTHER_LEARNING_RATE = 5, 0.03


def usual_epochs(dataset: str) -> int:
    """Return the default number of epochs on a source."""
    return SourceRecipe.epochs if dataset == SourceRecipe.dataset else OTHER_EPOCHS


def usual_learning_rate(dataset: str) -> float:
    """Return the default peak learning rate on a source."""
    photographs = dataset == SourceRecipe.dataset
    return SourceRecipe.learning_rate if photographs else OTHER_LEARNING_RATE
