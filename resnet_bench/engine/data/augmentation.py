"""Random crops and flips of a whole batch at once, drawn on the CPU."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

Augmentation = Literal["none", "crop", "crop-flip"]

#: Padding in pixels per pixel of image side: 4 of 32 (He et al. 2015, section 4.2).
PADDING_SHARE = 1 / 8


def augmentation_for(name: str, channels: int) -> Augmentation:
    """Resolve "auto": crop and flip for colour images, else none.

    Digits and garments in grey have a right way round, and little to crop.
    """
    if name == "auto":
        return "crop-flip" if channels == 3 else "none"
    if name == "crop":
        return "crop"
    return "crop-flip" if name == "crop-flip" else "none"


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
