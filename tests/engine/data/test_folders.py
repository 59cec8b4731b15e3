from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from resnet_bench.engine.data import DataRequest, ImageData, load_data
from resnet_bench.errors import UsageError


def write_class(folder: Path, images: int, shade: int = 100) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        Image.new("RGB", (12, 10), (shade, number, 0)).save(folder / f"{number}.png")


def write_halves(folder: Path, held_out: str = "test") -> None:
    for half in ("train", held_out):
        write_class(folder / half / "cats", 3, 10)
        write_class(folder / half / "dogs", 3, 200)


def load(folder: Path, skip: bool = False) -> ImageData:
    request = DataRequest(
        name="imagefolder", data_dir=folder, image_size=8, skip_bad_images=skip
    )
    return load_data(request)


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_folder_with_both_halves_is_read_as_it_is(
    held_out: str, tmp_path: Path
) -> None:
    write_halves(tmp_path, held_out)
    data = load(tmp_path)
    assert data.classes == ("cats", "dogs")
    assert data.train.images.shape == (6, 3, 8, 8)
    assert data.train.images.dtype == torch.uint8
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.train.images[0, 0, 0, 0] == 10


def test_class_folders_alone_are_divided_the_same_way_each_time(
    tmp_path: Path,
) -> None:
    write_class(tmp_path / "cats", 10, 10)
    write_class(tmp_path / "dogs", 10, 200)
    data = load(tmp_path)
    assert (len(data.train), len(data.test)) == (16, 4)
    assert torch.bincount(data.test.labels).tolist() == [2, 2]
    assert data.sha256() == load(tmp_path).sha256()


def test_a_class_folder_with_one_image_is_named(tmp_path: Path) -> None:
    write_class(tmp_path / "cats", 4)
    write_class(tmp_path / "dogs", 1)
    with pytest.raises(UsageError, match=r"dogs holds one image"):
        load(tmp_path)


def test_one_class_is_no_task(tmp_path: Path) -> None:
    write_class(tmp_path / "cats", 4)
    with pytest.raises(UsageError, match="holds one class"):
        load(tmp_path)


def test_a_training_half_without_a_test_half_is_refused(tmp_path: Path) -> None:
    write_class(tmp_path / "train" / "cats", 2)
    with pytest.raises(UsageError, match="neither test/ nor val/"):
        load(tmp_path)


def test_halves_with_different_classes_are_refused(tmp_path: Path) -> None:
    write_halves(tmp_path)
    write_class(tmp_path / "test" / "owls", 2)
    with pytest.raises(UsageError, match="owls"):
        load(tmp_path)


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one folder of images per class"):
        load(tmp_path)


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    write_class(tmp_path / "cats", 2)
    (tmp_path / "dogs").mkdir()
    with pytest.raises(UsageError, match="dogs"):
        load(tmp_path)


def test_an_image_that_does_not_decode_is_named(tmp_path: Path) -> None:
    write_halves(tmp_path)
    bad = tmp_path / "train" / "cats" / "0.png"
    bad.write_bytes(b"not an image")
    with pytest.raises(UsageError, match=r"0\.png cannot be decoded") as caught:
        load(tmp_path)
    assert "--skip-bad-images" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_image_is_named(tmp_path: Path) -> None:
    write_halves(tmp_path)
    path = tmp_path / "train" / "dogs" / "1.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UsageError, match=r"1\.png cannot be decoded"):
        load(tmp_path)


def test_bad_images_are_left_out_and_counted_when_asked(tmp_path: Path) -> None:
    write_halves(tmp_path)
    (tmp_path / "train" / "cats" / "0.png").write_bytes(b"not an image")
    data = load(tmp_path, skip=True)
    assert data.skipped_images == 1
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1]


def test_nothing_but_bad_images_is_refused(tmp_path: Path) -> None:
    write_halves(tmp_path)
    for path in (tmp_path / "train").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UsageError, match="none of the images"):
        load(tmp_path, skip=True)
