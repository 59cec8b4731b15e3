"""The data that scikit-learn ships: digits, and digits on photographs."""

import gzip
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.datasets.folder import default_loader

from resnet_bench.engine.data.splits import (
    ImageData,
    Normalisation,
    Split,
    stratified_halves,
)
from resnet_bench.engine.seeding import generator
from resnet_bench.errors import InputOutputError

#: 1,797 images leave 1,437 for training (the usual 80 : 20 split).
TEST_IMAGES = 360

#: Data sets of some of the digits: source and target of a transfer task.
CLASSES = {"": range(10), "-0-4": range(5), "-5-9": range(5, 10)}

#: Height and width of a rendering in pixels.
SIDE = 32

#: Sides of a digit in pixels, the smallest and the largest; drawn uniformly.
DIGIT_SIDES = (18, 28)

#: Sides of the pieces of photographs, in pixels; each is scaled to SIDE.
PIECE_SIDES = (32, 96)

#: The first digits are for training, the rest for tests.
TRAINING_DIGITS = 1_197

#: Renderings per class; tests count each digit about eight times.
TRAINING_PER_CLASS = 1_600
TEST_PER_CLASS = 300

#: Pixels of the digits count the dark ones among 4 x 4: 0 to 16.
LARGEST_PIXEL = 16.0

SEED = 0

#: scikit-learn's sample photographs.
PHOTOGRAPHS = ("china.jpg", "flower.jpg")


@dataclass(frozen=True)
class Rendered:
    """Renderings, and which digit each one shows."""

    split: Split
    digits: Tensor


def load_built_in(name: str) -> ImageData:
    """Return `digits` or `photo-digits`, or the classes 0-4 or 5-9 of one of them."""
    kind = "photo-digits" if name.startswith("photo-digits") else "digits"
    classes = CLASSES[name.removeprefix(kind)]
    if kind == "digits":
        return replace(load_digits().only_classes(tuple(classes)), name=name)
    return replace(load_photo_digits(classes), name=name)


def load_digits() -> ImageData:
    """Return the digits (N, 1, 8, 8) as floats of 0 to 1, always with the same split.

    The 1,797 images are the test half of UCI's optical recognition of handwritten
    digits, by 13 writers.
    """
    whole = _digits()
    train, test = (
        whole.take(half) for half in stratified_halves(whole.labels, TEST_IMAGES)
    )
    names = tuple(map(str, range(10)))
    normalisation = Normalisation.of(train.images)
    return ImageData(
        name="digits",
        classes=names,
        train=train,
        test=test,
        normalisation=normalisation,
    )


def _digits() -> Split:
    table = _read_table()
    images = torch.from_numpy(table[:, :64] / LARGEST_PIXEL).float()
    return Split(images.view(-1, 1, 8, 8), torch.from_numpy(table[:, 64]).long())


@cache
def _read_table() -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    path = _shipped() / "data" / "digits.csv.gz"
    try:
        with gzip.open(path, "rt") as lines:
            return np.loadtxt(lines, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise InputOutputError(f"cannot read the digits in {path}: {error}") from error


def _shipped() -> Path:
    """Return scikit-learn's data without importing it: that takes a second per cell."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise InputOutputError("the digits need scikit-learn: pip install scikit-learn")
    return Path(package.origin).parent / "datasets"


def load_photo_digits(
    classes: range = range(10),
    training_per_class: int = TRAINING_PER_CLASS,
    test_per_class: int = TEST_PER_CLASS,
) -> ImageData:
    """Return digits on photographs, relabelled from 0; the same each time.

    Images are uint8 (N, 3, 32, 32): the absolute difference of a piece of a photograph
    and a digit, in the way of MNIST-M (Ganin and Lempitsky 2015, "Unsupervised Domain
    Adaptation by Backpropagation", section 4). Training and test use different digits,
    in contiguous blocks since one writer's stand together, and different halves of
    the photographs.
    """
    digits = _digits()
    photographs = [_photograph(name) for name in PHOTOGRAPHS]
    halves = [photograph.chunk(2, dim=2) for photograph in photographs]
    train = _render(
        digits.take(torch.arange(TRAINING_DIGITS)),
        [left for left, _ in halves],
        _Wanted(classes, training_per_class, "training"),
    )
    test = _render(
        digits.take(torch.arange(TRAINING_DIGITS, len(digits))),
        [right for _, right in halves],
        _Wanted(classes, test_per_class, "test"),
    )
    # Renderings of one digit stand together, so that a run file can count them.
    order = test.digits.argsort(stable=True)
    return ImageData(
        name="photo-digits",
        classes=tuple(map(str, classes)),
        train=train.split,
        test=test.split.take(order),
        normalisation=Normalisation.of(train.split.images),
        test_origins=test.digits[order],
        flips=False,
    )


def _photograph(name: str) -> Tensor:
    """Return one of scikit-learn's photographs (3, H, W) as floats of 0 to 1."""
    path = _shipped() / "images" / name
    try:
        pixels: Tensor = transforms.pil_to_tensor(default_loader(path))
    except OSError as error:
        raise InputOutputError(f"cannot read the photograph {path}: {error}") from error
    return pixels.float() / 255


@dataclass(frozen=True)
class _Wanted:
    """How many renderings of which classes; `half` keeps the draws of halves apart."""

    classes: range
    per_class: int
    half: str


def _render(digits: Split, photographs: list[Tensor], wanted: _Wanted) -> Rendered:
    """Draw everything that is random first, then render size by size."""
    draw = generator(SEED, f"photo-digits {wanted.half}")
    chosen = torch.cat(
        [
            members[torch.randint(len(members), (wanted.per_class,), generator=draw)]
            for label in wanted.classes
            if len(members := torch.nonzero(digits.labels == label).flatten())
        ]
    )
    count = len(chosen)
    smallest, largest = DIGIT_SIDES
    sides = torch.randint(smallest, largest + 1, (count,), generator=draw)
    places = torch.rand((count, 2), generator=draw)
    canvas = torch.zeros(count, SIDE, SIDE)
    for side in range(smallest, largest + 1):
        members = torch.nonzero(sides == side).flatten()
        drawn = _scaled(digits.images[chosen[members]], side)[:, 0]
        for index, digit in zip(members.tolist(), drawn, strict=True):
            top, left = (int(place * (SIDE - side + 1)) for place in places[index])
            canvas[index, top : top + side, left : left + side] = digit
    pieces = _pieces(photographs, count, draw)
    rendered = (pieces - canvas[:, None]).abs()
    relabelled = digits.labels[chosen] - wanted.classes.start
    return Rendered(Split((255 * rendered).round().byte(), relabelled), chosen)


def _pieces(photographs: list[Tensor], count: int, draw: torch.Generator) -> Tensor:
    """Return random square pieces of the photographs, scaled, as (count, 3, 32, 32)."""
    pieces = torch.empty(count, 3, SIDE, SIDE)
    which = torch.randint(len(photographs), (count,), generator=draw)
    smallest, largest = PIECE_SIDES
    sides = torch.randint(smallest, largest + 1, (count,), generator=draw)
    places = torch.rand((count, 2), generator=draw)

    def cut(index: int, side: int) -> Tensor:
        photograph = photographs[int(which[index])]
        top, left = (
            int(place * (extent - side))
            for place, extent in zip(places[index], photograph.shape[1:], strict=True)
        )
        return photograph[:, top : top + side, left : left + side]

    # Pieces of one size are scaled together: thousands by themselves take seconds.
    for side in range(smallest, largest + 1):
        members = torch.nonzero(sides == side).flatten()
        if len(members):
            cuts = torch.stack([cut(index, side) for index in members.tolist()])
            pieces[members] = _scaled(cuts, SIDE)
    return pieces


def _scaled(images: Tensor, side: int) -> Tensor:
    """Return square images (N, C, H, H) at another side, bilinear, antialiased."""
    scaled: Tensor = torch.nn.functional.interpolate(
        images, size=(side, side), mode="bilinear", antialias=True, align_corners=False
    )
    return scaled.clamp(0, 1)
