"""From a data set's name to resident tensors."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.transforms._presets import ImageClassification

from resnet_bench.catalogue import DATASETS, parse_dataset
from resnet_bench.engine.data.built_in import load_digits
from resnet_bench.engine.data.folders import load_folder
from resnet_bench.engine.data.named import load_arrays, load_files
from resnet_bench.engine.data.splits import ImageData, Normalisation, Split
from resnet_bench.errors import UsageError

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
