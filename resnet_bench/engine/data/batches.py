"""What a training sees of its images: in which order, cropped and flipped how."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from resnet_bench.engine.seeding import generator

Augmentation = Literal["none", "crop", "crop-flip"]

#: Padding in pixels per pixel of image side: 4 of 32 (He et al. 2015, section 4.2).
PADDING_SHARE = 1 / 8


def augmentation_for(name: str, channels: int) -> Augmentation:
    """Resolve "auto": crop and flip for colour images, else none.

    Digits and garments in grey have a right way round, and little to crop.
    """
    if name == "auto":
        name = "crop-flip" if channels == 3 else "none"
    kinds: dict[str, Augmentation] = {"crop": "crop", "crop-flip": "crop-flip"}
    return kinds.get(name, "none")


def augment(images: Tensor, kind: Augmentation, draw: torch.Generator) -> Tensor:
    """Return the batch (N, C, H, W) with each image cropped and flipped at random."""
    if kind == "none":
        return images
    cropped = _crop(images, draw)
    return _flip(cropped, draw) if kind == "crop-flip" else cropped


def _crop(images: Tensor, draw: torch.Generator) -> Tensor:
    """Shift each image by up to the padding in both directions, zeros moving in."""
    count, _, height, width = images.shape
    margin = max(1, round(min(height, width) * PADDING_SHARE))
    shifts = torch.randint(2 * margin + 1, (2, count), generator=draw).to(images.device)
    windows = pad(images, (margin,) * 4).unfold(2, height, 1)
    windows = windows.unfold(3, width, 1)  # (N, C, 2 margin + 1, 2 margin + 1, H, W)
    return windows[torch.arange(count, device=images.device), :, shifts[0], shifts[1]]


def _flip(images: Tensor, draw: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability one half."""
    chosen = torch.rand(len(images), generator=draw) < 0.5
    return torch.where(
        chosen.to(images.device).view(-1, 1, 1, 1), images.flip(3), images
    )


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
