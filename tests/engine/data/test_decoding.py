"""Image files of every kind that Pillow reads, decoded as a person sees them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as transforms
from PIL import Image, PngImagePlugin
from torch import Tensor

from resnet_bench.engine.data.decoding import Crop, Square, decode
from resnet_bench.errors import UsageError

SIDE = 8
SQUARE = Square(SIDE, SIDE)


def decoded(image: Image.Image, path: Path, **options: Any) -> Tensor:
    image.save(path, **options)
    return decode(path, SQUARE)


def colour_of(image: Image.Image, path: Path, **options: Any) -> list[int]:
    """Return red, green and blue in the middle."""
    return decoded(image, path, **options)[:, SIDE // 2, SIDE // 2].tolist()


@pytest.mark.parametrize(
    ("orientation", "bright"),
    [(1, "left"), (2, "right"), (3, "right"), (6, "top"), (8, "bottom")],
)
def test_an_image_is_turned_as_its_exif_says(
    orientation: int, bright: str, tmp_path: Path
) -> None:
    half = np.zeros((16, 16, 3), "uint8")
    half[:, :8] = 255
    image = Image.fromarray(half)
    exif = image.getexif()
    exif[0x0112] = orientation
    pixels = decoded(image, tmp_path / "a.png", exif=exif)[0].float()
    edges = {
        "left": pixels[:, 0],
        "right": pixels[:, -1],
        "top": pixels[0],
        "bottom": pixels[-1],
    }
    assert max(edges, key=lambda name: float(edges[name].mean())) == bright


def test_damaged_exif_is_no_damaged_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), (9, 9, 9))
    assert colour_of(image, tmp_path / "a.png", exif=b"Exif\0\0MM\0*broken") == [9] * 3


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (np.full((9, 9), 1_500, "uint16"), "a.png", 6),
        (np.full((9, 9), 35_000, "uint16"), "a.png", 136),
        (np.full((9, 9), 35_000, "uint16"), "a.tif", 136),
        (np.full((9, 9), 35_000, ">u2"), "a.tif", 136),
        (np.full((9, 9), 35_000, "int32"), "a.tif", 136),
        (np.full((9, 9), 2**30, "int32"), "a.tif", 128),
        (np.full((9, 9), 0.5, "float32"), "a.tif", 128),
        (np.full((9, 9), 40.0, "float32"), "a.tif", 40),
        (np.full((9, 9), 1e9, "float32"), "a.tif", 255),
    ],
)
def test_pixels_beyond_8_bits_are_scaled_by_the_range_of_their_kind(
    values: np.ndarray[Any, Any], name: str, expected: int, tmp_path: Path
) -> None:
    assert colour_of(Image.fromarray(values), tmp_path / name) == [expected] * 3


def palette(transparent: bool) -> Image.Image:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    if transparent:
        image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (palette(transparent=False), "a.png", [200, 100, 50]),
        (palette(transparent=True), "a.png", [255, 255, 255]),
        (palette(transparent=False), "a.gif", [200, 100, 50]),
        (Image.new("1", (16, 16), 1), "a.png", [255, 255, 255]),
        (Image.new("L", (16, 16), 70), "a.png", [70, 70, 70]),
        (Image.new("LA", (16, 16), (70, 0)), "a.png", [255, 255, 255]),
        (Image.new("RGBA", (16, 16), (10, 20, 30, 255)), "a.png", [10, 20, 30]),
        (Image.new("RGBA", (16, 16), (0, 0, 0, 0)), "a.webp", [255, 255, 255]),
        (Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "a.tif", [255, 0, 0]),
    ],
)
def test_palettes_alpha_and_cmyk_become_colours(
    image: Image.Image, name: str, expected: list[int], tmp_path: Path
) -> None:
    assert colour_of(image, tmp_path / name) == expected


@pytest.mark.parametrize("form", ["JPEG", "GIF", "AVIF", "BMP"])
def test_a_format_is_told_by_its_content(form: str, tmp_path: Path) -> None:
    if form == "AVIF" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow cannot write AVIF")
    image = Image.new("RGB", (16, 16), (200, 30, 30))
    red, green, _ = colour_of(image, tmp_path / "a.png", format=form)
    assert red > 190 > 60 > green


def test_a_very_long_image_is_not_enlarged_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    resize = transforms.resize

    def seen(pixels: Tensor, *rest: Any, **options: Any) -> Any:
        lengths.append(max(pixels.shape))
        return resize(pixels, *rest, **options)

    monkeypatch.setattr(transforms, "resize", seen)
    image = Image.new("RGB", (60_000, 2), (9, 9, 9))
    image.paste((99, 99, 99), (29_900, 0, 30_100, 2))
    image.save(tmp_path / "a.png")
    pixels = decode(tmp_path / "a.png", Square(224, 224))
    assert len(lengths) == 1
    assert lengths[0] < 1_000  # as a whole it would become 6,720,000 pixels long
    assert pixels.shape == (3, 224, 224)
    assert torch.equal(pixels, torch.full_like(pixels, 99))


def write_bomb(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path)


def write_tiff_bomb(path: Path) -> None:
    Image.new("1", (30_000, 9_000)).save(path, format="TIFF", compression="group4")


def write_gif_bomb(path: Path) -> None:
    Image.new("L", (8, 8)).save(path, format="GIF")
    content = bytearray(path.read_bytes())
    content[6:10] = b"\xff" * 4  # width and height of the screen: 65,535
    path.write_bytes(content)


def write_cut(path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])


def write_cut_header(path: Path) -> None:
    Image.new("RGB", (16, 16)).save(path, format="GIF")
    path.write_bytes(path.read_bytes()[:11])


def write_damaged(path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(path, format="TIFF", compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    content[8:200] = b"\xff" * 192
    path.write_bytes(content)


def write_text(path: Path) -> None:
    path.write_text("no image")


def write_long_header(path: Path) -> None:
    path.write_bytes(b"P6\n#" + b"x" * 100_000 + b"\n8 8\n255\n" + bytes(192))


def write_long_padding(path: Path) -> None:
    Image.new("RGB", (16, 16)).save(path, format="JPEG")
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"\xff" * 100_000 + content[2:])


def write_many_comments(path: Path) -> None:
    path.write_bytes(b"P3\n8 8\n255\n" + b"#\n" * 2_000 + b"1 " * 192)


def write_text_bomb(path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 3_000_000, zip=True)
    Image.new("RGB", (16, 16)).save(path, pnginfo=text)


@pytest.mark.parametrize(
    "write",
    [
        write_bomb,
        write_text,
        write_long_header,
        write_long_padding,
        write_many_comments,
        write_text_bomb,
        write_tiff_bomb,
        write_gif_bomb,
        write_cut,
        write_cut_header,
        write_damaged,
    ],
)
def test_whatever_does_not_decode_is_named_in_one_line(
    write: Any, tmp_path: Path
) -> None:
    write(tmp_path / "bad.png")
    with pytest.raises(UsageError, match=r"bad\.png cannot be decoded") as caught:
        decode(tmp_path / "bad.png", SQUARE)
    assert "--skip-bad-images" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "<" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"P6\n# made by hand\n8 8\n255\n" + bytes([9] * 192),
        b"P6\n8 8\n127\n" + bytes([5] * 192),
        b"P3\n8 8\n# 3 each\n255\n" + b"9 " * 192,
    ],
)
def test_portable_pixmaps_with_comments_are_read(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.ppm").write_bytes(content)
    pixels = decode(tmp_path / "a.ppm", SQUARE)
    assert set(pixels.flatten().tolist()) <= {9, 10}


def quarters(path: Path, size: tuple[int, int]) -> Path:
    """Save an image whose left half is dark, and its right half bright."""
    image = Image.new("RGB", size, (20, 20, 20))
    image.paste((220, 220, 220), (size[0] // 2, 0, *size))
    image.save(path)
    return path


@pytest.mark.parametrize("size", [(16, 16), (64, 16), (9, 40)])
def test_random_pieces_have_the_side_asked_for_and_follow_their_draws(
    size: tuple[int, int], tmp_path: Path
) -> None:
    path = quarters(tmp_path / "a.png", size)
    for draws in torch.rand((50, 5)).tolist():
        piece = decode(path, SQUARE, Crop(tuple(draws)))
        assert piece.shape == (3, SIDE, SIDE)
        assert torch.equal(piece, decode(path, SQUARE, Crop(tuple(draws))))
        mirrored = decode(path, SQUARE, Crop((*draws[:4], (draws[4] + 0.5) % 1)))
        assert torch.equal(mirrored, piece.flip(2))


def test_a_whole_piece_is_the_image(tmp_path: Path) -> None:
    path = quarters(tmp_path / "a.png", (16, 16))
    piece = decode(path, SQUARE, Crop((1.0, 0.5, 0.0, 0.0, 0.9)))
    assert torch.equal(piece, decode(path, SQUARE))


def test_a_small_piece_has_about_the_least_area(tmp_path: Path) -> None:
    """The left of 100 px is dark: a piece of 28 px there has no bright pixel."""
    path = quarters(tmp_path / "a.png", (100, 100))
    left = decode(path, SQUARE, Crop((0.0, 0.5, 0.5, 0.0, 0.9)))
    right = decode(path, SQUARE, Crop((0.0, 0.5, 0.5, 0.99, 0.9)))
    assert int(left.max()) == 20
    assert int(right.min()) == 220


def test_scaling_to_more_than_is_cut_leaves_the_border_out(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), "white")
    image.paste("black", (4, 4, 28, 28))
    image.save(tmp_path / "a.png")
    assert int(decode(tmp_path / "a.png", Square(32, 24)).max()) == 0
    assert int(decode(tmp_path / "a.png", Square(24, 24)).max()) == 255
