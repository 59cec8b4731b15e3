"""From image files to pixels: upright, in colour, 8 bits, square."""

import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.transforms.v2.functional as transforms
from PIL import Image, ImageOps
from torch import Tensor

from resnet_bench.engine.data.splits import Split
from resnet_bench.engine.image_folders import legible, readable_formats
from resnet_bench.errors import UsageError

#: What Pillow's decoders raise for files that are cut, changed or far too large.
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

#: The greatest value of pixels beyond 8 bits. It is that of the kind and not of the
#: image, so that a dark image stays darker than a bright one.
WHOLE_NUMBER_TOPS = (65_535.0, 2.0**31 - 1)
FLOAT_TOPS = (1.0, 255.0, 65_535.0)


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata and large images
            pixels = transforms.pil_to_tensor(_open(path))
    except DECODING_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"image {legible(path)} cannot be decoded ({legible(reason)}): "
            "repair or remove it, or give --skip-bad-images"
        ) from error
    fitted: Tensor = transforms.resize(pixels, [side], antialias=True)
    square: Tensor = transforms.center_crop(fitted, [side, side])
    return square


def decode_all(
    samples: Sequence[tuple[str | Path, int]], side: int, skip_bad_images: bool
) -> Decoded:
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


def _open(path: Path) -> Image.Image:
    """Open an image upright and in colour, what is transparent on white."""
    formats = tuple(dict.fromkeys(readable_formats().values()))
    with Image.open(path, formats=formats) as image:
        image.load()
        upright = _upright(image)
        if upright.mode.startswith("I") or upright.mode == "F":
            return Image.fromarray(_eight_bits(np.asarray(upright))).convert("RGB")
        if upright.has_transparency_data:
            opaque = upright.convert("RGBA")
            white = Image.new("RGBA", opaque.size, "white")
            return Image.alpha_composite(white, opaque).convert("RGB")
        return upright.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF says; damaged EXIF is no damaged image."""
    try:
        return ImageOps.exif_transpose(image)
    except DECODING_ERRORS:
        return image


def _eight_bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Scale pixels of 16 and 32 bits, or floats, from their kind's range to 0-255."""
    tops = FLOAT_TOPS if values.dtype.kind == "f" else WHOLE_NUMBER_TOPS
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0).clip(0.0)
    greatest = float(finite.max())
    top = next((top for top in tops if greatest <= top), greatest)
    scaled: np.ndarray[Any, Any] = (finite * (255.0 / top)).round().astype(np.uint8)
    return scaled
