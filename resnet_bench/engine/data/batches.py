"""The order in which a training visits its images."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from resnet_bench.engine.seeding import generator


def steps_per_epoch(images: int, batch_size: int, keep_last: bool = False) -> int:
    """Return the batches of one epoch.

    Incomplete last batches are left out unless `keep_last`; even then one of a
    single image is. A split smaller than a batch is one batch.
    """
    full, rest = divmod(images, batch_size)
    return max(1, full + (keep_last and rest > 1))


class BatchOrder:
    """Batches of indices, in a new random order each epoch.

    The order depends on the seed alone: two networks see the same batches.
    """

    def __init__(
        self, images: int, batch_size: int, seed: int, keep_last: bool = False
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.batches = steps_per_epoch(images, batch_size, keep_last)
        self._draw = generator(seed, "batches")
        self._order = torch.empty(0, dtype=torch.int64)
        self._taken = self.batches

    @property
    def at_epoch_end(self) -> bool:
        """Whether the next batch begins a new epoch."""
        return self._taken == self.batches

    def next(self) -> Tensor:
        """Return the indices of the next batch, on the CPU."""
        if self.at_epoch_end:
            self._order = torch.randperm(self.images, generator=self._draw)
            self._taken = 0
        start = self._taken * self.batch_size
        self._taken += 1
        return self._order[start : start + self.batch_size]

    def state_dict(self) -> dict[str, Any]:
        """Return the position within the epoch and the random state."""
        return {
            "draw": self._draw.get_state(),
            "order": self._order.clone(),
            "taken": self._taken,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._draw.set_state(state["draw"])
        self._order = state["order"].clone()
        self._taken = state["taken"]
