"""The real loaders of torchvision on miniature archives that the tests write."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms._presets import ImageClassification

from resnet_bench.catalogue import DATASETS
from resnet_bench.engine.data import DataRequest, ImageData, load_data
from resnet_bench.errors import UsageError


def write_pickle(path: Path, content: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def batch(images: int, seed: int, key: str = "labels") -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (images, 3072), dtype=np.uint8)
    return {"data": pixels, key: [i % 10 for i in range(images)]}


def write_cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write five batches of 4 images, and let the loader expect their checksums."""
    base = folder / "cifar-10-batches-py"
    sums = [
        (name, write_pickle(base / name, batch(4, seed)))
        for seed, name in enumerate([f"data_batch_{i}" for i in range(1, 6)])
    ]
    test = write_pickle(base / "test_batch", batch(10, 9))
    names = [f"class-{i}" for i in range(10)]
    meta = write_pickle(base / "batches.meta", {"label_names": names})
    cifar10 = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar10, "train_list", [list(entry) for entry in sums])
    monkeypatch.setattr(cifar10, "test_list", [["test_batch", test]])
    changed = {"filename": "batches.meta", "key": "label_names", "md5": meta}
    monkeypatch.setattr(cifar10, "meta", changed)
    return base


def test_cifar10_is_read_by_torchvisions_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar10(tmp_path, monkeypatch)
    data = load_data(DataRequest(name="cifar10", data_dir=tmp_path))
    assert data.train.images.shape == (20, 3, 32, 32)
    assert data.test.images.shape == (10, 3, 32, 32)
    assert data.classes[3] == "class-3"
    first = batch(4, 0)["data"][0].reshape(3, 32, 32)
    assert np.array_equal(data.train.images[0].numpy(), first)
    assert data.train.labels[:5].tolist() == [0, 1, 2, 3, 0]


def test_a_corrupt_cifar10_batch_is_one_line_with_what_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_cifar10(tmp_path, monkeypatch)
    broken = base / "data_batch_3"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(UsageError, match="cifar-10-batches-py") as caught:
        load_data(DataRequest(name="cifar10", data_dir=tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cifar100_is_read_by_torchvisions_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "cifar-100-python"
    train = write_pickle(base / "train", batch(6, 1, "fine_labels"))
    test = write_pickle(base / "test", batch(4, 2, "fine_labels"))
    names = [f"thing-{i}" for i in range(100)]
    meta = write_pickle(base / "meta", {"fine_label_names": names})
    cifar100 = torchvision.datasets.CIFAR100
    monkeypatch.setattr(cifar100, "train_list", [["train", train]])
    monkeypatch.setattr(cifar100, "test_list", [["test", test]])
    changed = {"filename": "meta", "key": "fine_label_names", "md5": meta}
    monkeypatch.setattr(cifar100, "meta", changed)
    data = load_data(DataRequest(name="CIFAR-100", data_dir=tmp_path))
    assert len(data.classes) == 100
    assert len(data.train) == 6


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + sizes + array.tobytes())


def write_fashionmnist(folder: Path) -> Path:
    base = folder / "FashionMNIST" / "raw"
    draw = np.random.default_rng(0)
    for half, count in (("train", 12), ("t10k", 10)):
        pixels = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(base / f"{half}-images-idx3-ubyte", pixels)
        labels = np.arange(count, dtype=np.uint8) % 10
        write_idx(base / f"{half}-labels-idx1-ubyte", labels)
    return base


def gzipped(base: Path) -> Path:
    for path in base.iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return base


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_fashionmnist_is_read_plain_or_gzipped_wherever_it_lies(
    packed: bool, flat: bool, tmp_path: Path
) -> None:
    base = write_fashionmnist(tmp_path)
    pixels = np.frombuffer((base / "train-images-idx3-ubyte").read_bytes()[16:], "u1")
    if packed:
        gzipped(base)
    folder = base if flat else tmp_path
    data = load_data(DataRequest(name="FashionMNIST", data_dir=folder, channels=3))
    assert data.train.images.shape == (12, 3, 28, 28)
    assert np.array_equal(data.train.images[:, 1].numpy().ravel(), pixels)
    assert data.test.labels.tolist() == list(range(10))
    assert data.classes[0] == "T-shirt/top"


def test_fashionmnist_of_the_systems_package_needs_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = gzipped(write_fashionmnist(tmp_path))
    row = dataclasses.replace(DATASETS["fashionmnist"], installed=str(base))
    monkeypatch.setitem(DATASETS, "fashionmnist", row)
    assert len(load_data(DataRequest(name="fashionmnist")).train) == 12


def idx(count: int, *sizes: int, content: bytes = b"") -> bytes:
    return (
        struct.pack(f">4B{1 + len(sizes)}I", 0, 0, 8, 1 + len(sizes), count, *sizes)
        + content
    )


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (idx(12, 28, 28, content=bytes(50)), "does not hold the 12 images"),
        (idx(12, 28, 28, content=bytes(10**8)), "does not hold the 12 images"),
        (idx(2**32 - 1, 28, 28), "declares 4294967295 images"),
        (idx(0, 28, 28), "declares 0 images"),
        (idx(12, 32, 32), r"holds arrays of \[32, 32\]"),
        (idx(12), "of another format"),
        (b"", "is truncated"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_fashionmnist_file_is_one_line(
    content: bytes, said: str, packed: bool, tmp_path: Path
) -> None:
    path = write_fashionmnist(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(content)
    if packed:
        gzipped(path.parent)
    with pytest.raises(UsageError, match=f"FashionMNIST/raw/.*{said}") as caught:
        load_data(DataRequest(name="fashionmnist", data_dir=tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [5, 30, -9, -1])
def test_a_gzipped_file_that_is_cut_is_one_line(kept: int, tmp_path: Path) -> None:
    path = gzipped(write_fashionmnist(tmp_path)) / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UsageError, match="FashionMNIST/raw/"):
        load_data(DataRequest(name="fashionmnist", data_dir=tmp_path))


def write_image(path: Path, shade: int, size: tuple[int, int] = (20, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 0, 255 - shade)).save(path)


def test_imagenette_is_read_whichever_size_is_there(tmp_path: Path) -> None:
    wnids = ["n01440764", "n02102040"]
    for half in ("train", "val"):
        for number, wnid in enumerate(wnids):
            for image in range(2):
                name = f"{image}.jpeg"
                write_image(tmp_path / "imagenette2-160" / half / wnid / name, number)
    request = DataRequest(name="imagenette", data_dir=tmp_path, image_size=8)
    data = load_data(request)
    assert data.classes == ("tench", "English springer")
    assert data.train.images.shape == (4, 3, 8, 8)
    assert data.test.labels.tolist() == [0, 0, 1, 1]


def test_pets_are_read_by_torchvisions_loader(tmp_path: Path) -> None:
    base = tmp_path / "oxford-iiit-pet"
    lists = base / "annotations"
    lists.mkdir(parents=True)
    for half in ("trainval", "test"):
        names = [f"Cat_{half}_1", f"Dog_{half}_1"]
        text = "".join(f"{n} {k} 1 1\n" for k, n in enumerate(names, start=1))
        (lists / f"{half}.txt").write_text(text)
        for name in names:
            write_image(base / "images" / f"{name}.jpg", 50)
    data = load_data(DataRequest(name="oxfordiiitpet", data_dir=tmp_path, image_size=8))
    assert len(data.classes) == 2
    assert data.train.labels.tolist() == [0, 1]


def test_flowers_are_read_by_torchvisions_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scipy.io import savemat

    base = tmp_path / "flowers-102"
    for number in range(1, 5):
        write_image(base / "jpg" / f"image_{number:05d}.jpg", 40 * number)
    savemat(base / "imagelabels.mat", {"labels": np.array([[1, 2, 1, 2]])})
    ids = {"trnid": [[1, 2]], "valid": [[3]], "tstid": [[3, 4]]}
    savemat(base / "setid.mat", {key: np.array(value) for key, value in ids.items()})
    flowers = torchvision.datasets.Flowers102
    monkeypatch.setattr(flowers, "_check_integrity", lambda self: True)
    request = DataRequest(name="flowers102", data_dir=tmp_path, image_size=8)
    data = load_data(request)
    assert data.train.labels.tolist() == [0, 1]
    assert len(data.test) == 2


@pytest.mark.parametrize(
    "name", ["cifar10", "cifar100", "fashionmnist", "imagenette", "flowers102"]
)
def test_a_data_set_that_is_not_in_the_folder_says_what_is_expected(
    name: str, tmp_path: Path
) -> None:
    from resnet_bench.catalogue import DATASETS

    with pytest.raises(UsageError) as caught:
        load_data(DataRequest(name=name, data_dir=tmp_path))
    assert DATASETS[name].expected in str(caught.value)
    assert "download=True" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_data_set_by_name_needs_a_folder() -> None:
    with pytest.raises(UsageError, match="needs --data-dir"):
        load_data(DataRequest(name="cifar10"))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(UsageError, match=f"{missing} is not a folder"):
        load_data(DataRequest(name="cifar10", data_dir=missing))


def test_a_download_makes_the_folder_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", refuse)
    request = DataRequest(name="cifar10", data_dir=tmp_path / "new", download=True)
    with pytest.raises(UsageError, match="no network"):
        load_data(request)
    assert (tmp_path / "new").is_dir()


def test_an_unknown_data_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown data set 'mnist'.*cifar10"):
        load_data(DataRequest(name="mnist"))


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


@pytest.mark.parametrize(
    ("images", "train", "test"),
    [
        ((40, 2), [32, 1], [8, 1]),
        ((2, 3, 2), [1, 2, 1], [1, 1, 1]),
        ((100, 4, 7), [80, 3, 6], [20, 1, 1]),
    ],
)
def test_a_rare_class_has_images_in_both_halves(
    images: tuple[int, ...], train: list[int], test: list[int], tmp_path: Path
) -> None:
    for number, count in enumerate(images):
        write_class(tmp_path / f"class{number}", count)
    data = load(tmp_path)
    assert torch.bincount(data.train.labels).tolist() == train
    assert torch.bincount(data.test.labels).tolist() == test


@pytest.mark.parametrize("name", ["digits", "photo-digits-5-9"])
@pytest.mark.parametrize("preprocessed", [False, True])
def test_a_size_beyond_memory_is_refused_before_anything_is_resized(
    name: str, preprocessed: bool
) -> None:
    shaping = ImageClassification(crop_size=60_000, resize_size=60_000)
    request = DataRequest(
        name=name,
        image_size=60_000,
        channels=3,
        preprocess=shaping if preprocessed else None,
    )
    with pytest.raises(UsageError, match=r"--image-size 60000: expected at most \d+:"):
        load_data(request)


def test_a_class_left_without_images_by_bad_ones_is_named(tmp_path: Path) -> None:
    write_class(tmp_path / "cats", 4)
    write_class(tmp_path / "dogs", 2)
    (tmp_path / "dogs" / "0.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"class dogs: none of its \w+ images"):
        load(tmp_path, skip=True)


def test_a_class_folder_with_one_image_is_named(tmp_path: Path) -> None:
    write_class(tmp_path / "cats", 4)
    write_class(tmp_path / "dogs", 1)
    with pytest.raises(UsageError, match=r"dogs holds one image"):
        load(tmp_path)


def test_one_class_is_no_task(tmp_path: Path) -> None:
    write_class(tmp_path / "cats", 4)
    with pytest.raises(UsageError, match="holds one class"):
        load(tmp_path)


def test_halves_with_different_classes_are_refused(tmp_path: Path) -> None:
    write_halves(tmp_path)
    write_class(tmp_path / "test" / "owls", 2)
    with pytest.raises(UsageError, match="owls"):
        load(tmp_path)


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one folder of images per class"):
        load(tmp_path)


def test_nothing_but_bad_images_is_refused(tmp_path: Path) -> None:
    write_halves(tmp_path)
    for path in (tmp_path / "train").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UsageError, match="no image of the training or test half"):
        load(tmp_path, skip=True)
