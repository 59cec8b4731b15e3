"""How a training sees its images: their order, crops and flips."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from resnet_bench.engine.data.splits import Batch, Split
from resnet_bench.engine.seeding import generator

Augmentation = Literal["none", "crop", "crop-flip"]

#: Padding in pixels per pixel of image side: 4 of 32 (He et al. 2015, section 4.2).
PADDING_SHARE = 1 / 8


def augmentation_for(name: str, channels: int, *, flips: bool = True) -> Augmentation:
    """Resolve "auto": crop colour images, and flip those that may be, else none.

    Digits and garments in grey have a right way round, and little to crop.
    """
    if name == "auto":
        colour: Augmentation = "crop-flip" if flips else "crop"
        name = colour if channels == 3 else "none"
    kinds: dict[str, Augmentation] = {"crop": "crop", "crop-flip": "crop-flip"}
    return kinds.get(name, "none")


@dataclass(frozen=True)
class Draws:
    """The images drawn from a split, and how each is shifted and flipped.

    `indices` (N); `shifts` (2, N) counts the pixels from the padded image's top and
    left edge, None without a crop; `flips` (N) is None without flips. Images that are
    streamed are cropped and flipped as they are decoded, by `crops` (5, N).
    """

    indices: Tensor
    shifts: Tensor | None = None
    flips: Tensor | None = None
    crops: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What was drawn, by the field's name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def to(self, device: torch.device | str) -> "Draws":
        """Return the draws with all tensors on `device`."""
        return Draws(**{name: each.to(device) for name, each in self.tensors.items()})

    def part(self, start: int, stop: int) -> "Draws":
        """Return the draws of the images from `start` to `stop`, without copying."""
        return Draws(
            **{name: each[..., start:stop] for name, each in self.tensors.items()}
        )

    def augment(self, images: Tensor) -> Tensor:
        """Return the batch (N, C, H, W) with each image cropped and flipped."""
        if self.shifts is not None:
            images = _crop(images, self.shifts)
        if self.flips is not None:
            images = torch.where(self.flips.view(-1, 1, 1, 1), images.flip(3), images)
        return images


def _margin(height: int, width: int) -> int:
    return max(1, round(min(height, width) * PADDING_SHARE))


def _crop(images: Tensor, shifts: Tensor) -> Tensor:
    """Shift each image by up to the padding in both directions, zeros moving in."""
    count, _, height, width = images.shape
    margin = _margin(height, width)
    windows = pad(images, (margin,) * 4).unfold(2, height, 1)
    windows = windows.unfold(3, width, 1)  # (N, C, 2 margin + 1, 2 margin + 1, H, W)
    return windows[torch.arange(count, device=images.device), :, shifts[0], shifts[1]]


def steps_per_epoch(images: int, batch_size: int, keep_last: bool = False) -> int:
    """Return the batches of one epoch.

    Incomplete last batches are left out unless `keep_last`; even then one of a
    single image is. A split smaller than a batch is one batch.
    """
    full, rest = divmod(images, batch_size)
    return max(1, full + (keep_last and rest > 1))


class BatchOrder:
    """Batches of a split's images, in a new random order each epoch.

    All that an epoch needs is drawn when it begins and put where the split lies, so
    that no step waits for the host. It depends on the seed alone: two networks see the
    same batches.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int,
        keep_last: bool = False,
        augmentation: Augmentation = "none",
    ) -> None:
        self.images = len(split)
        self.batch_size = batch_size
        self.batches = steps_per_epoch(self.images, batch_size, keep_last)
        self.augmentation = augmentation
        self._split = split
        self._device = split.labels.device
        self._choices = 2 * _margin(*split.images.shape[2:]) + 1
        self._order = generator(seed, "batches")
        self._changes = generator(seed, "augmentation")
        self._epoch = Draws(torch.empty(0, dtype=torch.int64))
        self.taken = self.batches

    @property
    def at_epoch_end(self) -> bool:
        """Whether the next batch begins a new epoch."""
        return self.taken == self.batches

    def next(self) -> Draws:
        """Return the next batch's draws, on the split's device."""
        if self.at_epoch_end:
            drawn = self._draw()
            self._split.foresee(self._batches_of(drawn))
            self._epoch = drawn.to(self._device)
            self.taken = 0
        start = self.taken * self.batch_size
        self.taken += 1
        return self._epoch.part(start, start + self.batch_size)

    def example(self) -> Draws:
        """Return the draws of a batch that is no part of an epoch: nothing is drawn."""
        first = torch.arange(min(self.batch_size, self.images))
        if self.augmentation == "none" or self._split.streamed:
            return Draws(first).to(self._device)
        still = torch.full((2, len(first)), self._choices // 2)
        flips = torch.zeros_like(first, dtype=torch.bool)
        wanted = flips if self.augmentation == "crop-flip" else None
        return Draws(first, still, wanted).to(self._device)

    def _draw(self) -> Draws:
        """Draw an epoch: the order, then batch by batch shifts and flips."""
        order = torch.randperm(self.images, generator=self._order)
        order = order[: self.batches * self.batch_size]
        if self.augmentation == "none":
            return Draws(order)
        if self._split.streamed:
            return Draws(
                order, crops=torch.rand((5, len(order)), generator=self._changes)
            )
        shifts, flips = [], []
        for batch in torch.split(order, self.batch_size):
            size = (2, len(batch))
            shifts.append(torch.randint(self._choices, size, generator=self._changes))
            if self.augmentation == "crop-flip":
                flips.append(torch.rand(len(batch), generator=self._changes) < 0.5)
        return Draws(order, torch.cat(shifts, 1), torch.cat(flips) if flips else None)

    def _batches_of(self, drawn: Draws) -> list[Batch]:
        starts = range(0, len(drawn), self.batch_size)
        parts = (drawn.part(start, start + self.batch_size) for start in starts)
        return [(part.indices, part.crops) for part in parts]

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch's draws, the position in it and the random states."""
        return {
            "order": self._order.get_state(),
            "changes": self._changes.get_state(),
            "epoch": {k: each.clone() for k, each in self._epoch.tensors.items()},
            "taken": self.taken,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._order.set_state(state["order"])
        self._changes.set_state(state["changes"])
        self._epoch = Draws(**state["epoch"]).to(self._device)
        self.taken = state["taken"]
