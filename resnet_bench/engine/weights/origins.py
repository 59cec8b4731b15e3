"""How a source-task checkpoint is trained: plain data without torch."""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

CACHE_VARIABLE = "RESNET_BENCH_CACHE"

#: Raised when the same recipe would give other weights than before.
RECIPE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SourceRecipe:
    """Everything that decides a source checkpoint's weights, device aside."""

    variant: int
    dataset: str = "digits-0-4"
    stem: str = "small"
    image_size: int = 32
    epochs: int = 5
    learning_rate: float = 0.03
    batch_size: int = 32
    seed: int = 0

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ for every recipe."""
        fields = {**dataclasses.asdict(self), "version": RECIPE_VERSION}
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def file_name(self) -> str:
        """The checkpoint's name in the cache folder."""
        head = f"resnet{self.variant}_{self.dataset}_seed{self.seed}"
        return f"{head}_{self.fingerprint}.safetensors"


def cache_folder() -> Path:
    """Return the user's cache folder for checkpoints.

    RESNET_BENCH_CACHE, else resnet-bench in XDG_CACHE_HOME, else in ~/.cache.
    """
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "resnet-bench"
