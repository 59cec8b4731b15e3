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

#: Beyond so many times its width an image's length is cut before it is resized.
LONGEST = 16

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
    fitted: Tensor = transforms.resize(_middle(pixels), [side], antialias=True)
    square: Tensor = transforms.center_crop(fitted, [side, side])
    return square


def _middle(pixels: Tensor) -> Tensor:
    """Cut the ends off a very long image, which would only be resized to be cropped."""
    most = LONGEST * min(pixels.shape[1:])
    size = [min(extent, most) for extent in pixels.shape[1:]]
    middle: Tensor = transforms.center_crop(pixels, size)
    return middle


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
    scaled = values.astype(np.float32)
    np.nan_to_num(scaled, copy=False, posinf=0.0)
    np.clip(scaled, 0.0, None, out=scaled)
    greatest = float(scaled.max())
    scaled *= 255.0 / next((top for top in tops if greatest <= top), greatest)
    rounded: np.ndarray[Any, Any] = np.rint(scaled, out=scaled).astype(np.uint8)
    return rounded
