"""Images and labels as resident tensors, with subsets that nest."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from resnet_bench.engine.seeding import generator

#: Indices of the images of a batch (N), and the draws of their crops (5, N) if any.
Batch = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W), uint8 or float of 0 to 1, with int64 labels (N,).

    Of images that are not in memory `images` says shape, type and nothing else: what
    they show comes from `batches` and `drawn`.
    """

    images: Tensor
    labels: Tensor

    @property
    def streamed(self) -> bool:
        """Whether images are decoded when they are needed."""
        return False

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield all images in their order, `size` at a time."""
        return iter(torch.split(self.images, size))

    def drawn(self, indices: Tensor, crops: Tensor | None = None) -> Tensor:
        """Return images by their indices; `crops` is for those that are streamed."""
        return self.images[indices]

    def foresee(self, batches: Sequence[Batch]) -> None:
        """Be told which batches will be drawn next, in which order."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "Split":
        """Return the examples at `indices`, in that order."""
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device | str) -> "Split":
        """Return the split with both tensors on `device`."""
        return Split(self.images.to(device), self.labels.to(device))

    def only_classes(self, classes: Sequence[int]) -> "Split":
        """Return the examples of these classes, relabelled 0, 1, … in that order."""
        positions = torch.full((int(self.labels.max()) + 1,), -1)
        for position, label in enumerate(classes):
            positions[label] = position
        labels = positions.to(self.labels.device)[self.labels]
        kept = torch.nonzero(labels >= 0).flatten()
        return replace(self.take(kept), labels=labels[kept])

    def nested_order(self, seed: int = 0) -> Tensor:
        """Return the indices in an order whose every beginning is stratified.

        Example k of a class of n stands at (k + 1/2) / n, so that the beginnings
        hold the classes in proportion and smaller subsets lie inside larger ones.
        """
        draw = generator(seed, "nested order")
        places = torch.empty(len(self), dtype=torch.float64)
        labels = self.labels.cpu()
        for label in range(int(labels.max()) + 1):
            members = torch.nonzero(labels == label).flatten()
            shuffled = members[torch.randperm(len(members), generator=draw)]
            ranks = torch.arange(len(members), dtype=torch.float64)
            places[shuffled] = (ranks + 0.5) / len(members)
        return places.argsort(stable=True)

    def first(self, count: int, seed: int = 0) -> "Split":
        """Return a stratified subset of `count` examples; smaller ones nest in it."""
        return self.take(self.nested_order(seed)[:count].to(self.labels.device))

    def shots(self, count: int, seed: int = 0) -> "Split":
        """Return `count` examples of each class, or all it has; smaller ones nest."""
        order = self.nested_order(seed).to(self.labels.device)
        labels = self.labels[order]
        kept = torch.zeros(len(self), dtype=torch.bool, device=labels.device)
        for label in range(int(labels.max()) + 1):
            kept[torch.nonzero(labels == label).flatten()[:count]] = True
        return self.take(order[kept])

    def with_permuted_pixels(self, seed: int = 0) -> "Split":
        """Return every image with its pixels moved by one fixed permutation.

        Channels move together. Global statistics stay, shapes are lost: the
        negative control of transfer.
        """
        count, channels, height, width = self.images.shape
        order = torch.randperm(
            height * width, generator=generator(seed, "pixel permutation")
        ).to(self.images.device)
        flat = self.images.reshape(count, channels, height * width)
        return Split(flat[:, :, order].reshape(self.images.shape), self.labels)


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel of images scaled to 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Tensor) -> "Normalisation":
        """Measure the images' own mean and standard deviation per channel."""
        total = torch.zeros(images.shape[1], dtype=torch.float64)
        squares = torch.zeros_like(total)
        # In pieces: a whole data set as doubles would be eight times its size.
        for piece in torch.split(images, 1024):
            values = unit_range(piece).double()
            total += values.sum((0, 2, 3)).cpu()
            squares += values.square().sum((0, 2, 3)).cpu()
        mean = total * images.shape[1] / images.numel()
        square = squares * images.shape[1] / images.numel()
        std = (square - mean.square()).clamp_min(1e-16).sqrt()
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def apply(self, images: Tensor) -> Tensor:
        """Return normalised float images; uint8 and floats of 0 to 1 are both read."""
        mean, std = _moments(self, images.device)
        normal: Tensor = (unit_range(images) - mean) / std
        return normal


@cache
def _moments(wanted: Normalisation, device: torch.device) -> Tensor:
    """Return mean and standard deviation (2, 1, C, 1, 1), put on the device once.

    They are kept for good: CUDA graphs go on reading them where they are.
    """
    with torch.inference_mode(False):
        moments = torch.tensor((wanted.mean, wanted.std), device=device)
        return moments.view(2, 1, -1, 1, 1)


def unit_range(images: Tensor) -> Tensor:
    """Return images as floats of 0 to 1."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def is_grey(images: Tensor) -> bool:
    """Whether all channels of the images (N, C, H, W) are copies of one."""
    return bool((images == images[:, :1]).all())


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """A data set in memory with its fixed training and test halves.

    `skipped_images` counts images that did not decode and were left out, `twins` test
    images whose pixels a training image has too. Test images
    with one number in `test_origins` (N,) show the same original: they err together.
    `flips` says whether a mirrored image still shows its class: a digit does not.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    normalisation: Normalisation
    skipped_images: int = 0
    twins: int = 0
    test_origins: Tensor | None = None
    flips: bool = True

    @property
    def channels(self) -> int:
        """Channels of one image."""
        return int(self.train.images.shape[1])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.train.images.shape[2]), int(self.train.images.shape[3])

    def changed(self, change: Callable[[Split], Split]) -> "ImageData":
        """Return the data with both halves changed in one way."""
        return replace(self, train=change(self.train), test=change(self.test))

    def to(self, device: torch.device | str) -> "ImageData":
        """Return the data with all tensors on `device`."""
        return self.changed(lambda half: half.to(device))

    def only_classes(self, classes: Sequence[int]) -> "ImageData":
        """Return the examples of these classes, relabelled from 0 in that order."""
        kept = self.changed(lambda half: half.only_classes(classes))
        origins = self.test_origins
        if origins is not None:
            origins = origins[torch.isin(self.test.labels, torch.tensor(classes))]
        names = tuple(self.classes[label] for label in classes)
        return replace(kept, classes=names, test_origins=origins)

    def with_permuted_pixels(self, seed: int = 0) -> "ImageData":
        """Return both halves under one fixed permutation of the pixels."""
        return self.changed(lambda half: half.with_permuted_pixels(seed))

    def sha256(self) -> str:
        """Return the hash of all pixels, labels and class names."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for half in (self.train, self.test):
            images, labels = half.batches(1024), iter([half.labels])
            for whole, parts in ((half.images, images), (half.labels, labels)):
                digest.update(repr((tuple(whole.shape), str(whole.dtype))).encode())
                for part in parts:
                    digest.update(part.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def stratified_halves(labels: Tensor, test_count: int) -> list[Tensor]:
    """Return sorted training and test indices, every class in proportion."""
    order = Split(labels, labels).nested_order()
    return [order[test_count:].sort().values, order[:test_count].sort().values]
