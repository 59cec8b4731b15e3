"""One training or measurement on several devices; alone, everything is a no-op."""

from dataclasses import dataclass
from typing import TypeVar

import torch

Module = TypeVar("Module", bound=torch.nn.Module)


@dataclass(frozen=True)
class Ranks:
    """The process's place among the ranks of one job."""

    rank: int = 0
    world_size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this rank writes files and prints: only rank 0 does."""
        return self.rank == 0

    def wrap(self, model: Module) -> Module:
        """Return the model with its gradients synchronised across ranks."""
        return model

    def sampler(self, items: int) -> range:
        """Return the indices of the `items` examples that fall to this rank."""
        return range(self.rank, items, self.world_size)

    def mean(self, value: float) -> float:
        """Return the mean of a number over the ranks."""
        return value

    def slowest(self, seconds: float) -> float:
        """Return the longest duration over the ranks, in seconds."""
        return seconds
