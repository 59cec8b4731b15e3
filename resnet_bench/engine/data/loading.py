"""From a data set's name to resident tensors."""

import copy
import gzip
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.transforms._presets import ImageClassification

from resnet_bench.catalogue import DATASETS, parse_dataset
from resnet_bench.engine.data.folders import Sample, decode_all, load_folder
from resnet_bench.engine.data.splits import (
    ImageData,
    Normalisation,
    Split,
    stratified_halves,
)
from resnet_bench.errors import InputOutputError, UsageError

#: 1,797 images leave 1,437 for training (the usual 80 : 20 split).
TEST_IMAGES = 360

#: Pixels count the dark ones among 4 x 4: 0 to 16.
LARGEST_PIXEL = 16.0

#: Data sets of some of the digits: source and target of the transfer task.
DIGIT_SUBSETS = {"digits-0-4": range(5), "digits-5-9": range(5, 10)}


def load_digits(name: str = "digits") -> ImageData:
    """Return the digits (N, 1, 8, 8) as floats of 0 to 1, always with the same split.

    The 1,797 images are the test half of UCI's optical recognition of handwritten
    digits, by 13 writers. `name` may be one of DIGIT_SUBSETS.
    """
    table = _read_table()
    images = torch.from_numpy(table[:, :64] / LARGEST_PIXEL).float()
    whole = Split(images.view(-1, 1, 8, 8), torch.from_numpy(table[:, 64]).long())
    train, test = (whole.take(i) for i in stratified_halves(whole.labels, TEST_IMAGES))
    digits = ImageData(
        name=name,
        classes=tuple(map(str, range(10))),
        train=train,
        test=test,
        normalisation=Normalisation.of(train.images),
    )
    if name in DIGIT_SUBSETS:
        return digits.only_classes(tuple(DIGIT_SUBSETS[name]))
    return digits


@cache
def _read_table() -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Read scikit-learn's file without importing it: that takes a second per cell."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise InputOutputError("the digits need scikit-learn: pip install scikit-learn")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path, "rt") as lines:
            return np.loadtxt(lines, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise InputOutputError(f"cannot read the digits in {path}: {error}") from error


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


#: Data sets whose loaders hold all images as one array of one size.
ARRAY_DATASETS = ("cifar10", "cifar100", "fashionmnist")

#: Side in pixels of images that come in all sizes, unless another is asked for.
DEFAULT_SIDE = 224

#: Images resized at once.
CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """A data set by name and how its images are wanted.

    `image_size` resizes to a square (None: as stored, or 224 where sizes differ).
    `channels` 3 repeats a single channel. `preprocess` is what torchvision's
    `weights.transforms()` returns; it replaces the resizing, and its mean and
    deviation the data's own. `data_dir` holds what torchvision's loader expects.
    """

    name: str
    data_dir: Path | None = None
    download: bool = False
    image_size: int | None = None
    channels: int | None = None
    preprocess: ImageClassification | None = None
    skip_bad_images: bool = False


def load_data(request: DataRequest) -> ImageData:
    """Return the data set on the CPU.

    Raises UsageError, in one line, for an unknown name, a folder that is missing or
    does not hold what is expected, a corrupt archive, a class with one image and an
    image that does not decode.
    """
    name = parse_dataset(request.name)
    data = _read(name, request)
    if request.channels == 3 and data.channels == 1:
        data = _on_both(data, lambda images: images.expand(-1, 3, -1, -1).contiguous())
    if request.preprocess is not None:
        data = _preprocessed(data, request.preprocess)
    elif request.image_size and data.image_size != (request.image_size,) * 2:
        side = request.image_size
        data = _on_both(data, lambda images: resized(images, side))
    if request.preprocess is None:
        data = replace(data, normalisation=Normalisation.of(data.train.images))
    return data


def _read(name: str, request: DataRequest) -> ImageData:
    if DATASETS[name].built_in:
        return load_digits(name)
    folder = _existing_folder(name, request)
    if name in ARRAY_DATASETS:
        return load_arrays(name, folder, request.download)
    side = request.image_size or DEFAULT_SIDE
    if name == "imagefolder":
        return load_folder(folder, side, request.skip_bad_images)
    return load_files(name, folder, request.download, side, request.skip_bad_images)


def _existing_folder(name: str, request: DataRequest) -> Path:
    row = DATASETS[name]
    if request.data_dir is None:
        raise UsageError(
            f"{row.title} needs --data-dir: the folder that holds {row.expected}"
        )
    if request.download and name != "imagefolder":
        request.data_dir.mkdir(parents=True, exist_ok=True)
    if not request.data_dir.is_dir():
        raise UsageError(
            f"--data-dir {request.data_dir} is no folder: "
            f"{row.title} expects {row.expected} in it"
        )
    return request.data_dir


def _on_both(data: ImageData, change: Callable[[Tensor], Tensor]) -> ImageData:
    train, test = (
        Split(change(half.images), half.labels) for half in (data.train, data.test)
    )
    return replace(data, train=train, test=test)


def resized(images: Tensor, side: int) -> Tensor:
    """Return images (N, C, H, W) at `side` x `side` pixels, bilinear, antialiased."""
    chunks = torch.split(images, CHUNK)
    return torch.cat(
        [transforms.resize(chunk, [side, side], antialias=True) for chunk in chunks]
    )


def _preprocessed(data: ImageData, preprocess: ImageClassification) -> ImageData:
    """Apply torchvision's transforms, their normalisation left for each batch.

    Images that came as uint8 stay so, which loses nothing, since torchvision rounds
    after resizing too: 60,000 of 224 px take 9 GB and not 36.
    """
    shaping = copy.copy(preprocess)
    shaping.mean, shaping.std = [0.0] * data.channels, [1.0] * data.channels

    def shape(images: Tensor) -> Tensor:
        chunks = (shaping(chunk) for chunk in torch.split(images, CHUNK))
        if images.dtype == torch.uint8:
            chunks = ((chunk * 255).round().byte() for chunk in chunks)
        return torch.cat(list(chunks))

    changed = _on_both(data, shape)
    normalisation = Normalisation(tuple(preprocess.mean), tuple(preprocess.std))
    return replace(changed, normalisation=normalisation)
