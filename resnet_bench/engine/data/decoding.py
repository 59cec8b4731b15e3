"""From image files to pixels: upright, in colour, 8 bits, square."""

import contextlib
import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torchvision.transforms.v2.functional as transforms
from PIL import Image, ImageOps
from torch import Tensor

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

#: Times that Pillow may read from a file to open it: of padding and comments it reads
#: single bytes, a million in a second.
MOST_READS = 65_536

#: Comments in a plain PPM file; the time that Pillow takes grows as their square.
MOST_COMMENTS = 1_000

#: Beyond so many times its width an image's length is cut before it is resized.
LONGEST = 16

#: Of a random piece: the least share of the image's area, and the widest shape.
SMALLEST_AREA = 0.08
WIDEST = 4 / 3

#: The greatest value of pixels beyond 8 bits. It is that of the kind and not of the
#: image, so that a dark image stays darker than a bright one.
WHOLE_NUMBER_TOPS = (65_535.0, 2.0**31 - 1)
FLOAT_TOPS = (1.0, 255.0, 65_535.0)


@dataclass(frozen=True)
class Square:
    """How an image becomes a square: its short side scaled, then the middle cut out.

    Both in pixels; torchvision's transforms for ImageNet scale to more than they cut.
    """

    scaled: int
    side: int


@dataclass(frozen=True)
class Crop:
    """A random piece of an image, and whether it is mirrored.

    `draws` are numbers of 0 to 1 for area, shape, top, left and mirror: a piece of 8 to
    100 % of the area and of 3:4 to 4:3 (Szegedy et al. 2014, arXiv 1409.4842, section
    6; torchvision's RandomResizedCrop), so that the same draws give the same piece.
    """

    draws: tuple[float, float, float, float, float]

    def apply(self, pixels: Tensor, side: int) -> Tensor:
        """Return the piece of an image (C, H, W) as (C, side, side)."""
        height, width = pixels.shape[1:]
        area, shape, top, left, mirror = self.draws
        wanted = height * width * (SMALLEST_AREA + (1 - SMALLEST_AREA) * area)
        ratio = math.exp(math.log(WIDEST) * (2 * shape - 1))
        size = [
            max(1, min(extent, round(math.sqrt(part))))
            for extent, part in ((height, wanted / ratio), (width, wanted * ratio))
        ]
        place = [
            int(share * (extent - part + 1))
            for share, extent, part in zip(
                (top, left), (height, width), size, strict=True
            )
        ]
        piece: Tensor = transforms.resized_crop(
            pixels, *place, *size, [side, side], antialias=True
        )
        return piece.flip(2) if mirror < 0.5 else piece


def decode(path: Path, square: Square, crop: Crop | None = None) -> Tensor:
    """Return an image file as uint8 (3, side, side), or a random piece of it.

    Raises UsageError that names a file which cannot be decoded.
    """
    _silence_pillow()
    try:
        pixels = _middle(transforms.pil_to_tensor(_open(path)))
    except DECODING_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"image {legible(path)} cannot be decoded ({legible(reason)}): "
            "repair or remove it, or give --skip-bad-images"
        ) from error
    if crop is not None:
        return crop.apply(pixels, square.side)
    fitted: Tensor = transforms.resize(pixels, [square.scaled], antialias=True)
    middle: Tensor = transforms.center_crop(fitted, [square.side] * 2)
    return middle


def sides(path: Path) -> tuple[int, int]:
    """Return width and height of an image that can be decoded, reading no pixels."""
    with _image(path) as image:
        return image.size


def _silence_pillow() -> None:
    """Let Pillow not warn of odd metadata and large images, in any thread."""
    warnings.filterwarnings("ignore", module=r"PIL\b")


def _middle(pixels: Tensor) -> Tensor:
    """Cut the ends off a very long image, which would only be resized to be cropped."""
    most = LONGEST * min(pixels.shape[1:])
    size = [min(extent, most) for extent in pixels.shape[1:]]
    middle: Tensor = transforms.center_crop(pixels, size)
    return middle


def _formats() -> tuple[str, ...]:
    return tuple(dict.fromkeys(readable_formats().values()))


class _Reader(io.BufferedReader):
    """A file that may be read from `left` times."""

    left: float = MOST_READS

    def __repr__(self) -> str:
        """Return what Pillow calls it in its messages."""
        return repr(str(self.name))

    def read(self, size: int | None = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError("its header has too many parts")
        return super().read(size)


@contextlib.contextmanager
def _image(path: Path) -> Iterator[Image.Image]:
    """Open an image; raises one of DECODING_ERRORS, also for what would take long."""
    with _Reader(io.FileIO(path)) as file:
        if file.peek(2)[:2] in (b"P1", b"P2", b"P3"):
            pieces = iter(lambda: file.read(2**20), b"")
            if sum(piece.count(b"#") for piece in pieces) > MOST_COMMENTS:
                raise ValueError(f"it has more than {MOST_COMMENTS} comments")
            file.seek(0)
        with Image.open(file, formats=_formats()) as image:
            file.left = math.inf
            yield image


def _open(path: Path) -> Image.Image:
    """Open an image upright and in colour, what is transparent on white."""
    with _image(path) as image:
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
    """Rotate the image as its EXIF says; damaged EXIF is ignored."""
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
