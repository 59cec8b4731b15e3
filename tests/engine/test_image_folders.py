"""Layouts that people's folders of images have; pixels play no part."""

import os
from pathlib import Path

import pytest
from PIL import Image

from resnet_bench.engine.image_folders import (
    ImageFolder,
    describe_image_folder,
    list_image_folder,
)
from resnet_bench.errors import UsageError


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def make_classes(folder: Path, *classes: str, images: int = 2) -> None:
    for name in classes:
        make(folder / name, *(f"{number}.png" for number in range(images)))


def held_out(listed: ImageFolder) -> str | None:
    return listed.test.folder.name if listed.test else None


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("train", "valid"),
        ("TRAINING", "Validation"),
        ("training", "testing"),
        ("train", "VAL"),
    ],
)
def test_halves_are_recognised_by_usual_names_in_any_case(
    train: str, test: str, tmp_path: Path
) -> None:
    make_classes(tmp_path / train, "a", "b")
    make_classes(tmp_path / test, "a", "b")
    listed = list_image_folder(tmp_path)
    assert listed.train.folder.name == train
    assert listed.train.classes == ("a", "b")
    assert held_out(listed) == test


def test_a_test_half_without_classes_is_passed_over(tmp_path: Path) -> None:
    for half in ("train", "val"):
        make_classes(tmp_path / half, "a", "b")
    make(tmp_path, "test/0.png", "test/1.png")
    assert held_out(list_image_folder(tmp_path)) == "val"


@pytest.mark.parametrize(
    "names", [("bus", "car", "train"), ("Test", "pass"), ("training", "valid", "x")]
)
def test_a_class_may_be_called_as_a_half_is(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    make_classes(tmp_path, *names)
    listed = list_image_folder(tmp_path)
    assert set(listed.train.classes) == set(names)
    assert listed.test is None


def test_a_class_called_train_may_have_folders_of_its_own(tmp_path: Path) -> None:
    make_classes(tmp_path, "bus", "car")
    make_classes(tmp_path / "train", "steam")
    assert list_image_folder(tmp_path).train.classes == ("bus", "car", "train")


@pytest.mark.parametrize("names", [("Train", "Test"), ("train", "val", "test")])
def test_halves_without_classes_are_never_learned_as_classes(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    make_classes(tmp_path, *names)
    with pytest.raises(UsageError, match="cannot be the classes"):
        list_image_folder(tmp_path)


@pytest.mark.parametrize(("lacking", "has"), [("val", "train"), ("train", "val")])
def test_classes_that_one_half_lacks_are_named_and_many_of_them_counted(
    lacking: str, has: str, tmp_path: Path
) -> None:
    make_classes(tmp_path / lacking, "a", "b")
    make_classes(tmp_path / has, "a", "b", *(f"c{n}" for n in range(9)))
    said = f"{lacking}/ lacks c0, c1, c2, c3, c4, c5, 3 more$"
    with pytest.raises(UsageError, match=said):
        list_image_folder(tmp_path)


@pytest.mark.parametrize("beside", [(), ("test/0.png",), ("docs/0.png", "docs/1.png")])
def test_a_training_half_alone_is_refused_with_the_remedy(
    beside: tuple[str, ...], tmp_path: Path
) -> None:
    make_classes(tmp_path / "train", "a", "b")
    make(tmp_path, *beside)
    with pytest.raises(UsageError, match=f"give --data-dir {tmp_path}/train"):
        list_image_folder(tmp_path)


def test_what_is_hidden_empty_or_no_image_is_left_out_and_counted(
    tmp_path: Path,
) -> None:
    make_classes(tmp_path, "a", "b")
    make(
        tmp_path,
        *(".ipynb_checkpoints/0.png", "__MACOSX/a/0.png", "a/.ipynb_checkpoints/0.png"),
        *("a/._0.png", "a/Thumbs.db", "b/.DS_Store", "beside.png", "README.md"),
        *("a/x.heic", "a/y.HEIC", "b/notes.txt", "b/noname", "only-text/notes.txt"),
    )
    (tmp_path / "c").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe.png")
    listed = list_image_folder(tmp_path)
    assert listed.train.classes == ("a", "b")
    assert len(listed.train.samples) == 4
    assert listed.left_out == {
        "hidden files and folders": 6,
        "empty class folders": 2,
        "images outside class folders": 1,
        ".heic": 2,
        ".txt": 2,
        "files without extension": 1,
        "no regular files": 1,
    }


def test_extensions_that_pillow_reads_count_as_images(tmp_path: Path) -> None:
    make(tmp_path, "a/0.jfif", "a/1.GIF", "b/0.avif", "b/1.JPG", "b/2.tiff")
    listed = list_image_folder(tmp_path)
    if ".avif" in Image.registered_extensions():
        assert len(listed.train.samples) == 5
        assert not listed.left_out
    else:  # Pillow below 11.3
        assert len(listed.train.samples) == 4
        assert listed.left_out == {".avif": 1}


@pytest.mark.parametrize("target", ["a", "b", ".", "..", "../elsewhere"])
def test_links_to_folders_bring_no_image_into_another_class(
    target: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    make_classes(data, "a", "b")
    make_classes(tmp_path / "elsewhere", "x")
    (data / "a" / "again").symlink_to(data / target)
    listed = list_image_folder(data)
    assert len(listed.train.samples) == 4
    assert listed.left_out == {"links to folders": 1}


@pytest.mark.parametrize("target", ["a", ".", ".."])
def test_a_class_that_is_a_link_to_another_or_above_is_left_out(
    target: str, tmp_path: Path
) -> None:
    make_classes(tmp_path, "a", "b")
    (tmp_path / "c").symlink_to(tmp_path / target)
    listed = list_image_folder(tmp_path)
    assert listed.train.classes == ("a", "b")
    assert listed.left_out == {"links to folders": 1}


def test_a_class_or_an_image_may_be_a_link_to_elsewhere(tmp_path: Path) -> None:
    make_classes(tmp_path / "data", "a")
    make_classes(tmp_path / "disk", "b", images=3)
    (tmp_path / "data" / "b").symlink_to(tmp_path / "disk" / "b")
    (tmp_path / "data" / "a" / "more.png").symlink_to(tmp_path / "disk" / "b" / "0.png")
    assert len(list_image_folder(tmp_path / "data").train.samples) == 6


def test_names_in_another_encoding_are_legible(tmp_path: Path) -> None:
    latin = os.fsdecode(b"caf\xe9")
    make_classes(tmp_path, "a", latin)
    assert list_image_folder(tmp_path).train.classes == ("a", r"caf\xe9")
    make(tmp_path / latin / "x", "a/0.png", "a/1.png")
    with pytest.raises(UsageError, match=r"caf\\xe9/x holds one class"):
        list_image_folder(tmp_path / latin / "x")


def test_classes_that_would_have_one_name_are_refused(tmp_path: Path) -> None:
    make_classes(tmp_path, r"caf\xe9", os.fsdecode(b"caf\xe9"))
    with pytest.raises(UsageError, match=r"two are called caf\\xe9"):
        list_image_folder(tmp_path)


def test_a_folder_is_described_with_what_is_left_out(tmp_path: Path) -> None:
    make_classes(tmp_path, "a", "b", images=3)
    make(tmp_path, "a/x.heic", "a/y.heic", "b/.hidden.png")
    assert describe_image_folder(tmp_path) == [
        f"DATA: {tmp_path}: 6 images of 2 classes together; a fifth of each class is "
        "held out for testing.",
        f"LEFT OUT of {tmp_path}: .heic 2, hidden files and folders 1.",
    ]
    divided = tmp_path / "halves"
    for half in ("Train", "valid"):
        make_classes(divided / half, "a", "b")
    assert describe_image_folder(divided) == [
        f"DATA: {divided}: 4 images of 2 classes in Train/, 4 in valid/."
    ]
