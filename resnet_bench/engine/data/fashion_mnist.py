"""Fashion-MNIST's four files, gzipped or not, wherever they lie."""

import gzip
import struct
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from resnet_bench.engine.data.splits import Split

CLASSES = tuple(torchvision.datasets.FashionMNIST.classes)

#: Below a data folder, where the files may be: torchvision's place, and none.
PLACES = ("FashionMNIST/raw", ".")

#: Side in pixels, and the most images that a file has (Xiao et al. 2017, section 2).
SIDE = 28
MOST_IMAGES = 60_000

HALVES = ("train", "t10k")


def read_fashion_mnist(folder: Path) -> list[Split]:
    """Return training and test half, uint8 (N, 1, 28, 28).

    Raises OSError and ValueError for files that are missing, cut or of another kind.
    """
    halves = []
    for half in HALVES:
        images = _read(folder, f"{half}-images-idx3-ubyte", (SIDE, SIDE))
        labels = _read(folder, f"{half}-labels-idx1-ubyte", ())
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} {half} images have {len(labels)} labels")
        if int(labels.max()) >= len(CLASSES):
            raise ValueError(f"a {half} label is {int(labels.max())}")
        halves.append(Split(images.unsqueeze(1), labels.long()))
    return halves


def _read(folder: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    """Read one file of bytes in the IDX format (yann.lecun.com/exdb/mnist)."""
    path = _find(folder, name)
    axes = 1 + len(shape)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        magic, sizes = file.read(4), file.read(4 * axes)
        if magic != bytes((0, 0, 8, axes)) or len(sizes) != 4 * axes:
            raise ValueError(f"{path.name} is truncated or of another format")
        count, *found = struct.unpack(f">{axes}I", sizes)
        if tuple(found) != shape:
            raise ValueError(f"{path.name} holds arrays of {found}")
        if not 0 < count <= MOST_IMAGES:
            raise ValueError(f"{path.name} declares {count} images")
        size = count * torch.Size(shape).numel()
        content = file.read(size + 1)  # what a small file unpacks to may be endless
    if len(content) != size:
        raise ValueError(f"{path.name} does not hold the {count} images it declares")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).view(count, *shape)


def _find(folder: Path, name: str) -> Path:
    """Return a file, plain or gzipped; raises FileNotFoundError."""
    for place in PLACES:
        for ending in ("", ".gz"):
            path = folder / place / (name + ending)
            if path.is_file():
                return path
    raise FileNotFoundError(f"no {name} or {name}.gz")
