"""From a data set's name to resident tensors.

The built-in digits, torchvision's data sets of arrays or of image files, and class
folders of a person's own images.
"""

import copy
import pickle
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torchvision
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.transforms._presets import ImageClassification

from resnet_bench.catalogue import DATASETS, IMAGE_FOLDER, parse_dataset
from resnet_bench.engine.cache import cache_folder
from resnet_bench.engine.data.built_in import load_built_in
from resnet_bench.engine.data.decoding import Square
from resnet_bench.engine.data.fashion_mnist import CLASSES, read_fashion_mnist
from resnet_bench.engine.data.image_files import (
    Halves,
    check_memory,
    fits_memory,
    read_halves,
)
from resnet_bench.engine.data.splits import ImageData, Normalisation, Split
from resnet_bench.engine.image_folders import list_image_folder
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
    zlib.error,
)

#: What torchvision's errors advise, in the terms of its own parameters.
DOWNLOAD_HINT = "You can use download=True to download it"

#: Data sets whose loaders hold all images as one array of one size.
ARRAY_DATASETS = {
    "cifar10": torchvision.datasets.CIFAR10,
    "cifar100": torchvision.datasets.CIFAR100,
}

#: Side in pixels of images that come in all sizes, unless another is asked for.
DEFAULT_SIDE = 224

#: Images resized at once.
CHUNK = 1024

Sample = tuple[str | Path, int]

#: Share of each class held out where a folder has no test half of its own.
TEST_SHARE = 0.2

#: The published sizes of Imagenette, and the folder of each.
IMAGENETTE = {
    "full": "imagenette2",
    "320px": "imagenette2-320",
    "160px": "imagenette2-160",
}


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """A data set by name and how its images are wanted.

    `image_size` resizes to a square (None: as stored, or 224 where sizes differ).
    `channels` 3 repeats a single channel. `preprocess` is what torchvision's
    `weights.transforms()` returns; it replaces the resizing, and its mean and
    deviation the data's own. `data_dir` holds what torchvision's loader expects.
    `streamed` leaves image files undecoded until a batch needs them; of these `sample`
    takes about so many of each half, for an estimate.
    """

    name: str
    data_dir: Path | None = None
    download: bool = False
    image_size: int | None = None
    channels: int | None = None
    preprocess: ImageClassification | None = None
    skip_bad_images: bool = False
    streamed: bool = False
    sample: int | None = None

    @property
    def square(self) -> Square:
        """How image files become squares."""
        if self.preprocess is None:
            side = self.image_size or DEFAULT_SIDE
            return Square(side, side)
        return Square(self.preprocess.resize_size[0], self.preprocess.crop_size[0])


def load_data(request: DataRequest) -> ImageData:
    """Return the data set on the CPU.

    Raises UsageError, in one line, for an unknown name, a folder that is missing or
    does not hold what is expected, a corrupt archive, a class with one image and an
    image that does not decode.
    """
    name = parse_dataset(request.name)
    if _is_of_files(request):
        return _load_files(name, request)
    data = _read(name, request)
    if request.channels == 3 and data.channels == 1:
        data = _changed(data, lambda images: images.expand(-1, 3, -1, -1).contiguous())
    if request.preprocess is not None:
        return _preprocessed(data, request.preprocess)
    if request.image_size and data.image_size != (request.image_size,) * 2:
        return resized(data, request.image_size)
    return data


def _read(name: str, request: DataRequest) -> ImageData:
    if DATASETS[name].built_in:
        return load_built_in(name)
    folder = _existing_folder(name, request)
    if name == "fashionmnist":
        return load_fashion_mnist(folder, request.download)
    return load_arrays(name, folder, request.download)


def _existing_folder(name: str, request: DataRequest) -> Path:
    row = DATASETS[name]
    if request.data_dir is None:
        if row.installed and Path(row.installed).is_dir():
            return Path(row.installed)
        raise UsageError(
            f"{row.title} needs --data-dir: the folder that holds {row.expected}"
        )
    if request.download and name != IMAGE_FOLDER:
        request.data_dir.mkdir(parents=True, exist_ok=True)
    if not request.data_dir.is_dir():
        raise UsageError(
            f"--data-dir {request.data_dir} is not a folder: "
            f"{row.title} expects {row.expected} in it"
        )
    return request.data_dir


def _changed(data: ImageData, change: Callable[[Tensor], Tensor]) -> ImageData:
    """Change the images of both halves, and measure their normalisation anew."""
    made = data.changed(lambda half: Split(change(half.images), half.labels))
    return replace(made, normalisation=Normalisation.of(made.train.images))


def _check_memory(data: ImageData, side: int) -> None:
    images = len(data.train) + len(data.test)
    check_memory(images, side, data.channels, data.train.images.element_size())


def resized(data: ImageData, side: int) -> ImageData:
    """Return the data at `side` x `side` pixels, bilinear, antialiased.

    Raises UsageError where memory has no room for that.
    """
    _check_memory(data, side)

    def resize(images: Tensor) -> Tensor:
        chunks = torch.split(images, CHUNK)
        return torch.cat(
            [transforms.resize(chunk, [side, side], antialias=True) for chunk in chunks]
        )

    return _changed(data, resize)


def _preprocessed(data: ImageData, preprocess: ImageClassification) -> ImageData:
    """Apply torchvision's transforms, their normalisation left for each batch.

    Images that came as uint8 stay so, which loses nothing, since torchvision rounds
    after resizing too: 60,000 of 224 px take 9 GB and not 36.
    """
    _check_memory(data, preprocess.crop_size[0])
    shaping = copy.copy(preprocess)
    shaping.mean, shaping.std = [0.0] * data.channels, [1.0] * data.channels

    def shape(images: Tensor) -> Tensor:
        chunks = (shaping(chunk) for chunk in torch.split(images, CHUNK))
        if images.dtype == torch.uint8:
            chunks = ((chunk * 255).round().byte() for chunk in chunks)
        return torch.cat(list(chunks))

    changed = _changed(data, shape)
    normalisation = Normalisation(tuple(preprocess.mean), tuple(preprocess.std))
    return replace(changed, normalisation=normalisation)


@contextmanager
def _reading(name: str, folder: Path) -> Iterator[None]:
    """Turn what a loader raises into one line that says what is expected."""
    try:
        yield
    except LOADER_ERRORS as error:
        row = DATASETS[name]
        reason = _one_line(error) or type(error).__name__
        reason = reason.replace(DOWNLOAD_HINT, "--download fetches it")
        raise UsageError(
            f"{row.title} cannot be read from --data-dir {folder}: expected "
            f"{row.expected} complete and intact ({reason})"
        ) from error


def load_arrays(name: str, folder: Path, download: bool) -> ImageData:
    """Return CIFAR-10 or CIFAR-100 as uint8 tensors."""
    build = ARRAY_DATASETS[name]
    with _reading(name, folder):
        both = [build(folder, train=half, download=download) for half in (True, False)]
        halves = [_split(half) for half in both]
    return _image_data(name, both[0].classes, halves)


def _split(dataset: Any) -> Split:
    images = torch.as_tensor(dataset.data).permute(0, 3, 1, 2)
    return Split(images.contiguous(), torch.as_tensor(dataset.targets).long())


def load_fashion_mnist(folder: Path, download: bool) -> ImageData:
    """Return Fashion-MNIST as uint8 tensors, gzipped files read as they are."""
    with _reading("fashionmnist", folder):
        if download:
            torchvision.datasets.FashionMNIST(folder, download=True)
        halves = read_fashion_mnist(folder)
    return _image_data("fashionmnist", CLASSES, halves)


@dataclass(frozen=True)
class _FileDataset:
    """How to open one half of a data set of image files, and to list its samples."""

    halves: tuple[str, str]
    build: Callable[..., Any]
    samples: Callable[[Any], Sequence[Sample]]


def _imagenette(folder: Path, split: str, download: bool) -> Any:
    """Open whichever of the three published sizes is there."""
    present = [size for size, name in IMAGENETTE.items() if (folder / name).is_dir()]
    return torchvision.datasets.Imagenette(
        folder,
        split=split,
        size=present[0] if present else "full",
        download=download and not present,
    )


FILE_DATASETS = {
    "imagenette": _FileDataset(("train", "val"), _imagenette, lambda d: d._samples),
    "flowers102": _FileDataset(
        ("train", "test"),
        torchvision.datasets.Flowers102,
        lambda d: list(zip(d._image_files, d._labels, strict=True)),
    ),
    "oxfordiiitpet": _FileDataset(
        ("trainval", "test"),
        torchvision.datasets.OxfordIIITPet,
        lambda d: list(zip(d._images, d._labels, strict=True)),
    ),
}


@dataclass(frozen=True)
class FileListing:
    """The image files of a data set: their halves, and the names of their classes."""

    classes: tuple[str, ...]
    halves: tuple[Sequence[Sample], Sequence[Sample]]


def _is_of_files(request: DataRequest) -> bool:
    return parse_dataset(request.name) in (*FILE_DATASETS, IMAGE_FOLDER)


def list_files(request: DataRequest) -> FileListing:
    """List a data set's image files, decoding none; raises UsageError."""
    name = parse_dataset(request.name)
    folder = _existing_folder(name, request)
    if name == IMAGE_FOLDER:
        return _list_folder(folder)
    row = FILE_DATASETS[name]
    with _reading(name, folder):
        train, test = (
            row.build(folder, split=half, download=request.download)
            for half in row.halves
        )
        halves = (list(row.samples(train)), list(row.samples(test)))
    # Imagenette gives each class several names; the first one is the usual.
    names = (c[0] if isinstance(c, tuple) else c for c in train.classes)
    return FileListing(tuple(names), halves)


def _list_folder(folder: Path) -> FileListing:
    """List a user's own folder; without halves a fifth of each class is held out."""
    listed = list_image_folder(folder)
    samples = listed.train.samples
    if listed.test is not None:
        return FileListing(listed.train.classes, (samples, listed.test.samples))
    train, test = _hold_out(torch.tensor([label for _, label in samples]))
    halves = ([samples[i] for i in train], [samples[i] for i in test])
    return FileListing(listed.train.classes, halves)


def outgrows_memory(request: DataRequest) -> bool:
    """Whether a data set's images, decoded, would not leave enough memory to train.

    Only files are counted; nothing is decoded or downloaded. What is not there yet is
    taken to fit.
    """
    if not _is_of_files(request):
        return False
    try:
        listed = list_files(replace(request, download=False))
    except UsageError:
        return False
    return not fits_memory(sum(map(len, listed.halves)), request.square.side)


def count_images(request: DataRequest, data: ImageData) -> tuple[int, int]:
    """Return how many images both halves have, where `data` may hold a sample."""
    if _is_of_files(request):
        train, test = list_files(request).halves
        return len(train), len(test)
    return len(data.train), len(data.test)


def _load_files(name: str, request: DataRequest) -> ImageData:
    listed = list_files(request)
    taken: list[Sequence[Sample]] = list(listed.halves)
    if request.sample:
        taken = [half[:: max(1, len(half) // request.sample)] for half in taken]
    halves = read_halves(
        taken,
        request.square,
        None if request.sample else cache_folder() / "images",
        streamed=request.streamed,
        skip_bad_images=request.skip_bad_images,
    )
    if name == IMAGE_FOLDER and not request.sample:
        _check_classes(listed.classes, halves)
    own = halves.normalisation
    wanted = request.preprocess
    return ImageData(
        name=name,
        classes=listed.classes,
        train=halves.train,
        test=halves.test,
        normalisation=Normalisation(tuple(wanted.mean), tuple(wanted.std))
        if wanted
        else own,
        skipped_images=len(halves.known.bad),
        twins=len(halves.known.twins),
    )


def _check_classes(classes: Sequence[str], halves: Halves) -> None:
    """Refuse a class of which too few images could be decoded."""
    for half, name in ((halves.train, "training"), (halves.test, "test")):
        counts = torch.bincount(half.labels, minlength=len(classes)).tolist()
        for one, count in zip(classes, counts, strict=True):
            if not count:
                raise UsageError(
                    f"class {one}: none of its {name} images can be decoded: "
                    "expected at least one"
                )


def _hold_out(labels: Tensor) -> list[Tensor]:
    """Return sorted training and test indices, some of every class in both."""
    order = Split(labels, labels).nested_order()
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(int(labels.max()) + 1):
        members = order[labels[order] == label]
        count = max(1, round(TEST_SHARE * len(members)))
        held_out[members[:count]] = True
    return [torch.nonzero(half).flatten() for half in (~held_out, held_out)]


def _image_data(
    name: str,
    classes: Iterable[str],
    halves: Sequence[Split],
) -> ImageData:
    train, test = halves
    return ImageData(
        name=name,
        classes=tuple(classes),
        train=train,
        test=test,
        normalisation=Normalisation.of(train.images),
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
