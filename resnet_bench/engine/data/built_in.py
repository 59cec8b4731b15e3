"""The digits that come with scikit-learn: real images without a download."""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from resnet_bench.engine.data.splits import (
    ImageData,
    Normalisation,
    Split,
    stratified_halves,
)
from resnet_bench.errors import InputOutputError

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
