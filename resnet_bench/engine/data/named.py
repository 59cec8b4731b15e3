"""Data sets through torchvision's own loaders, with its errors in one line."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision

from resnet_bench.catalogue import DATASETS
from resnet_bench.engine.data.folders import Sample, decode_all
from resnet_bench.engine.data.splits import ImageData, Normalisation, Split
from resnet_bench.errors import UsageError

#: What torchvision's loaders raise for files that are absent, cut or changed.
LOADER_ERRORS = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    AssertionError,
    pickle.UnpicklingError,
)

#: What torchvision's errors advise, in the terms of its own parameters.
DOWNLOAD_HINT = "You can use download=True to download it"


@contextmanager
def _one_line(name: str, folder: Path) -> Iterator[None]:
    """Turn whatever a loader raises into one line that says what is expected."""
    try:
        yield
    except LOADER_ERRORS as error:
        row = DATASETS[name]
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason.replace(DOWNLOAD_HINT, "--download fetches it")
        raise UsageError(
            f"{row.title} cannot be read from --data-dir {folder}: expected "
            f"{row.expected} complete and intact ({reason})"
        ) from error


def load_arrays(name: str, folder: Path, download: bool) -> ImageData:
    """Return CIFAR-10, CIFAR-100 or FashionMNIST as uint8 tensors."""
    builders = {
        "cifar10": torchvision.datasets.CIFAR10,
        "cifar100": torchvision.datasets.CIFAR100,
        "fashionmnist": torchvision.datasets.FashionMNIST,
    }
    with _one_line(name, folder):
        train, test = (
            builders[name](folder, train=half, download=download)
            for half in (True, False)
        )
        halves = [_split(half) for half in (train, test)]
    return ImageData(
        name=name,
        classes=tuple(train.classes),
        train=halves[0],
        test=halves[1],
        normalisation=Normalisation.of(halves[0].images),
    )


def _split(dataset: Any) -> Split:
    """CIFAR keeps (N, H, W, 3) arrays, FashionMNIST (N, H, W) tensors."""
    images = torch.as_tensor(dataset.data)
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
    return Split(images.contiguous(), torch.as_tensor(dataset.targets).long())


@dataclass(frozen=True)
class _FileDataset:
    """How to open one half of a data set of image files, and to list its samples."""

    halves: tuple[str, str]
    build: Callable[[Path, str, bool], Any]
    samples: Callable[[Any], Sequence[Sample]]


def _imagenette(folder: Path, half: str, download: bool) -> Any:
    """Open whichever of the three published sizes is there."""
    folders = {"full": "imagenette2", "320px": "imagenette2-320"}
    folders["160px"] = "imagenette2-160"
    present = [size for size, name in folders.items() if (folder / name).is_dir()]
    size = present[0] if present else "full"
    return torchvision.datasets.Imagenette(
        folder, split=half, size=size, download=download and not present
    )


def _flowers(folder: Path, half: str, download: bool) -> Any:
    return torchvision.datasets.Flowers102(folder, split=half, download=download)


def _pets(folder: Path, half: str, download: bool) -> Any:
    return torchvision.datasets.OxfordIIITPet(folder, split=half, download=download)


FILE_DATASETS = {
    "imagenette": _FileDataset(("train", "val"), _imagenette, lambda d: d._samples),
    "flowers102": _FileDataset(
        ("train", "test"),
        _flowers,
        lambda d: list(zip(d._image_files, d._labels, strict=True)),
    ),
    "oxfordiiitpet": _FileDataset(
        ("trainval", "test"),
        _pets,
        lambda d: list(zip(d._images, d._labels, strict=True)),
    ),
}


def load_files(
    name: str, folder: Path, download: bool, side: int, skip_bad_images: bool
) -> ImageData:
    """Return a data set of image files, decoded to squares of `side` pixels."""
    row = FILE_DATASETS[name]
    with _one_line(name, folder):
        datasets = [row.build(folder, half, download) for half in row.halves]
        samples = [list(row.samples(dataset)) for dataset in datasets]
    decoded = [decode_all(half, side, skip_bad_images) for half in samples]
    return ImageData(
        name=name,
        classes=tuple(_class_name(entry) for entry in datasets[0].classes),
        train=decoded[0].split,
        test=decoded[1].split,
        normalisation=Normalisation.of(decoded[0].split.images),
        skipped_images=sum(half.skipped for half in decoded),
    )


def _class_name(entry: Any) -> str:
    """Imagenette gives each class several names; the first one is the usual."""
    return str(entry[0]) if isinstance(entry, tuple) else str(entry)
