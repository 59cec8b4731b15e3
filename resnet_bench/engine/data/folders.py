"""Image files in class folders, decoded once into resident tensors."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.datasets.folder import default_loader

from resnet_bench.engine.data.splits import (
    ImageData,
    Normalisation,
    Split,
    stratified_halves,
)
from resnet_bench.errors import UsageError

Sample = tuple[str | Path, int]

#: Share of the images held out where a folder has no test half of its own.
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Decoded:
    """The images that decoded, and how many did not."""

    split: Split
    skipped: int


def decode(path: Path, side: int) -> Tensor:
    """Return an image file as uint8 (3, side, side): short side fitted, then centred.

    Raises UsageError that names a file which cannot be decoded.
    """
    try:
        pixels = transforms.pil_to_tensor(default_loader(str(path)))
    except (OSError, SyntaxError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"image {path} cannot be decoded ({reason}): "
            "repair or remove it, or give --skip-bad-images"
        ) from error
    fitted: Tensor = transforms.resize(pixels, [side], antialias=True)
    square: Tensor = transforms.center_crop(fitted, [side, side])
    return square


def decode_all(samples: Sequence[Sample], side: int, skip_bad_images: bool) -> Decoded:
    """Decode every image; with `skip_bad_images` the bad ones are counted instead."""
    images, labels = [], []
    for path, label in samples:
        try:
            images.append(decode(Path(path), side))
        except UsageError:
            if not skip_bad_images:
                raise
        else:
            labels.append(label)
    if not images:
        raise UsageError("none of the images could be decoded")
    split = Split(torch.stack(images), torch.tensor(labels))
    return Decoded(split, len(samples) - len(images))


def load_folder(folder: Path, side: int, skip_bad_images: bool) -> ImageData:
    """Return the images of `train/CLASS/` and `test/CLASS/` (or `val/CLASS/`).

    Where there is no `train` folder, `CLASS/` folders are read and a fixed fifth of
    each class is held out. Raises UsageError for a layout, a class or an image that
    cannot be used.
    """
    if not (folder / "train").is_dir():
        return _load_undivided(folder, side, skip_bad_images)
    held_out = next((n for n in ("test", "val") if (folder / n).is_dir()), None)
    if held_out is None:
        raise UsageError(f"--data-dir {folder} has train/ but neither test/ nor val/")
    train, test = _samples(folder / "train"), _samples(folder / held_out)
    if train.classes != test.classes:
        raise UsageError(
            f"--data-dir {folder}: train/ has the classes {', '.join(train.classes)}, "
            f"{held_out}/ has {', '.join(test.classes)}"
        )
    _check_counts(folder / "train", train.classes, train.samples)
    halves = [decode_all(h.samples, side, skip_bad_images) for h in (train, test)]
    return _image_data(train.classes, [half.split for half in halves], halves)


def _load_undivided(folder: Path, side: int, skip_bad_images: bool) -> ImageData:
    listed = _samples(folder)
    _check_counts(folder, listed.classes, listed.samples)
    whole = decode_all(listed.samples, side, skip_bad_images)
    labels = whole.split.labels
    held_out = max(len(listed.classes), round(TEST_SHARE * len(labels)))
    halves = [whole.split.take(i) for i in stratified_halves(labels, held_out)]
    return _image_data(listed.classes, halves, [whole])


@dataclass(frozen=True)
class _Listed:
    classes: tuple[str, ...]
    samples: list[Sample]


def _samples(folder: Path) -> _Listed:
    """List a class-per-folder tree the way torchvision's ImageFolder does."""
    try:
        dataset = torchvision.datasets.ImageFolder(folder)
    except (FileNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"--data-dir: {folder} must hold one folder of images per class ({reason})"
        ) from error
    return _Listed(tuple(dataset.classes), list(dataset.samples))


def _check_counts(
    folder: Path, classes: Sequence[str], samples: Iterable[Sample]
) -> None:
    """A class of one image can be neither divided nor learnt."""
    counts = Counter(label for _, label in samples)
    for label, name in enumerate(classes):
        if counts[label] < 2:
            raise UsageError(
                f"class folder {folder / name} holds one image: expected at least two"
            )
    if len(classes) < 2:
        raise UsageError(f"{folder} holds one class: expected at least two")


def _image_data(
    classes: tuple[str, ...], halves: Sequence[Split], decoded: Sequence[Decoded]
) -> ImageData:
    return ImageData(
        name="imagefolder",
        classes=classes,
        train=halves[0],
        test=halves[1],
        normalisation=Normalisation.of(halves[0].images),
        skipped_images=sum(part.skipped for part in decoded),
    )
