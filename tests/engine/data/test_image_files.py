"""Image files decoded once for all, or whenever they are needed: the same pixels."""

import fcntl
import os
import threading
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from resnet_bench.engine.data import DataRequest, ImageData, image_files, load_data
from resnet_bench.engine.data.batches import BatchOrder
from resnet_bench.engine.data.decoding import Square, decode
from resnet_bench.engine.data.image_files import Sample, StreamedSplit, read_halves
from resnet_bench.engine.data.loading import outgrows_memory
from resnet_bench.engine.data.splits import Normalisation
from resnet_bench.errors import UsageError

SQUARE = Square(12, 8)


def write(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.randint(
        256, (20, 16, 3), generator=torch.Generator().manual_seed(seed)
    )
    Image.fromarray(pixels.byte().numpy()).save(path)
    return path


@pytest.fixture
def halves(tmp_path: Path) -> list[list[Sample]]:
    """Return ten training and six test images of two classes."""
    return [
        [(write(tmp_path / half / f"{n}.png", n + first), n % 2) for n in range(count)]
        for half, first, count in (("train", 0, 10), ("test", 100, 6))
    ]


def pixels_of(samples: list[Sample]) -> Tensor:
    return torch.stack([decode(Path(path), SQUARE) for path, _ in samples])


@pytest.mark.parametrize("streamed", [False, True])
def test_both_halves_hold_the_pixels_of_their_files(
    streamed: bool, halves: list[list[Sample]], tmp_path: Path
) -> None:
    read = read_halves(halves, SQUARE, tmp_path / "cache", streamed=streamed)
    for half, samples in zip((read.train, read.test), halves, strict=True):
        assert half.streamed == streamed
        assert half.labels.tolist() == [label for _, label in samples]
        assert half.images.shape == (len(samples), 3, 8, 8)
        assert torch.equal(torch.cat(list(half.batches(4))), pixels_of(samples))
        chosen = torch.tensor([3, 0, 3])
        assert torch.equal(half.drawn(chosen), pixels_of(samples)[chosen])
    own = Normalisation.of(pixels_of(halves[0]))
    assert read.normalisation.mean == pytest.approx(own.mean, abs=1e-6)
    assert read.normalisation.std == pytest.approx(own.std, abs=1e-6)


def test_the_second_time_nothing_is_decoded(
    halves: list[list[Sample]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_halves(halves, SQUARE, tmp_path / "cache")
    monkeypatch.delattr(image_files, "decode")
    second = read_halves(halves, SQUARE, tmp_path / "cache")
    assert torch.equal(first.train.images, second.train.images)
    assert first.known == second.known


def test_a_copy_that_was_cut_is_made_again(
    halves: list[list[Sample]], tmp_path: Path
) -> None:
    first = read_halves(halves, SQUARE, tmp_path / "cache")
    wanted = first.train.images.clone()
    (copy,) = (tmp_path / "cache").glob("*.pixels")
    copy.write_bytes(copy.read_bytes()[:100])
    second = read_halves(halves, SQUARE, tmp_path / "cache")
    assert torch.equal(second.train.images, wanted)


def test_another_size_and_a_changed_file_are_decoded_anew(
    halves: list[list[Sample]], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    before = read_halves(halves, SQUARE, cache).train.images.clone()
    assert read_halves(halves, Square(8, 8), cache).train.images.shape == before.shape
    path = Path(halves[0][2][0])
    write(path, 777)
    os.utime(path, (1, 1))
    after = read_halves(halves, SQUARE, cache).train.images
    changed = [bool((a != b).any()) for a, b in zip(before, after, strict=True)]
    assert changed == [place == 2 for place in range(10)]


def test_a_training_cannot_change_the_copy_that_others_read(
    halves: list[list[Sample]], tmp_path: Path
) -> None:
    read_halves(halves, SQUARE, tmp_path / "cache").train.images.zero_()
    again = read_halves(halves, SQUARE, tmp_path / "cache")
    assert torch.equal(again.train.images, pixels_of(halves[0]))


def test_a_cache_that_cannot_be_written_leaves_the_pixels_in_memory(
    halves: list[list[Sample]], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    read = read_halves(halves, SQUARE, tmp_path / "cache")
    assert torch.equal(read.test.images, pixels_of(halves[1]))


def test_copies_that_nobody_uses_are_removed_when_another_is_made(
    halves: list[list[Sample]], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    read_halves(halves, SQUARE, cache)
    read_halves(halves, Square(7, 7), cache, streamed=True)
    old = set(cache.iterdir())
    assert {path.suffix for path in old} == {".json", ".lock", ".pixels"}
    for path in old:
        os.utime(path, (1, 1))
    read_halves(halves, Square(9, 9), cache)
    new = set(cache.iterdir())
    assert not old & new
    assert len(new) == 3


def old_copy(halves: list[list[Sample]], cache: Path) -> tuple[Path, set[Path]]:
    """Make a copy that looks old; returns its lock and all of its files."""
    read_halves(halves, SQUARE, cache)
    files = set(cache.iterdir())
    for path in files:
        os.utime(path, (1, 1))
    return next(path for path in files if path.suffix == ".lock"), files


def test_the_lock_of_an_old_copy_is_removed_last(
    halves: list[list[Sample]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, files = old_copy(halves, tmp_path / "cache")
    glob, unlink, removed = Path.glob, Path.unlink, list[Path]()

    def lock_first(folder: Path, pattern: str) -> list[Path]:
        return sorted(glob(folder, pattern), key=lambda path: path != lock)

    def noted(path: Path, missing_ok: bool = False) -> None:
        removed.append(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "glob", lock_first)
    monkeypatch.setattr(Path, "unlink", noted)
    read_halves(halves, Square(9, 9), tmp_path / "cache")
    assert set(removed) == files
    assert removed[-1] == lock


def test_an_old_copy_that_another_process_holds_stays_and_is_not_waited_for(
    halves: list[list[Sample]], tmp_path: Path
) -> None:
    lock, files = old_copy(halves, tmp_path / "cache")
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        read_halves(halves, Square(9, 9), tmp_path / "cache")
    assert all(path.exists() for path in files)


def test_an_old_copy_that_is_used_just_before_it_would_be_removed_stays(
    halves: list[list[Sample]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, files = old_copy(halves, tmp_path / "cache")
    flock = fcntl.flock

    def used_meanwhile(file: IO[Any], operation: int) -> None:
        if Path(file.name) == lock:
            os.utime(lock)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", used_meanwhile)
    read_halves(halves, Square(9, 9), tmp_path / "cache")
    assert all(path.exists() for path in files)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_copy_that_was_made_long_ago_and_is_used_stays(
    streamed: bool, halves: list[list[Sample]], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    read_halves(halves, SQUARE, cache, streamed=streamed)
    old = set(cache.iterdir())
    for path in old:
        os.utime(path, (1, 1))
    read_halves(halves, SQUARE, cache, streamed=streamed)
    read_halves(halves, Square(9, 9), cache)
    assert all(path.exists() for path in old)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_bad_image_is_named_or_left_out_wherever_it_is(
    streamed: bool, halves: list[list[Sample]], tmp_path: Path
) -> None:
    for half, place in ((0, 3), (0, 9), (1, 0)):
        Path(halves[half][place][0]).write_bytes(b"no image")
    cache = tmp_path / "cache"
    for _ in range(2):
        with pytest.raises(UsageError, match=r"train/3\.png cannot be decoded"):
            read_halves(halves, SQUARE, cache, streamed=streamed)
        read = read_halves(
            halves, SQUARE, cache, streamed=streamed, skip_bad_images=True
        )
        assert read.known.bad == (3, 9, 10)
        good = [sample for n, sample in enumerate(halves[0]) if n not in (3, 9)]
        assert torch.equal(torch.cat(list(read.train.batches(3))), pixels_of(good))
        (tested,) = read.test.batches(9)
        assert torch.equal(tested, pixels_of(halves[1][1:]))


def test_pictures_in_both_halves_are_counted_under_any_name_and_format(
    halves: list[list[Sample]], tmp_path: Path
) -> None:
    train, test = halves
    Image.open(train[4][0]).save(test[1][0])
    Image.open(train[7][0]).save(test[5][0], format="BMP")
    Image.open(train[0][0]).save(train[1][0])  # twice in one half: that is no leak
    read = read_halves(halves, SQUARE, tmp_path / "cache")
    assert read.known.twins == (11, 15)


def test_more_than_memory_has_room_for_is_refused_before_anything_is_decoded(
    halves: list[list[Sample]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "bytes_left", lambda: 6000)
    monkeypatch.delattr(image_files, "decode")
    said = r"--image-size 8: expected at most 7: 16 images .*--loading stream"
    with pytest.raises(UsageError, match=said):
        read_halves(halves, SQUARE, tmp_path / "cache")


def test_what_outgrows_memory_is_known_before_anything_is_decoded(
    halves: list[list[Sample]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "data" / name / f"{number}.png").write_bytes(b"no image")
    request = DataRequest(
        name="imagefolder", data_dir=tmp_path / "data", image_size=100
    )
    monkeypatch.setattr(image_files, "bytes_left", lambda: 10**6)
    assert not outgrows_memory(request)
    monkeypatch.setattr(image_files, "bytes_left", lambda: 3 * 10**5)
    assert outgrows_memory(request)


# Streaming


@pytest.fixture
def streamed(halves: list[list[Sample]], tmp_path: Path) -> StreamedSplit:
    made = read_halves(halves, SQUARE, tmp_path / "cache", streamed=True).train
    assert isinstance(made, StreamedSplit)
    return made


def test_subsets_decode_nothing_and_nest_as_those_in_memory(
    streamed: StreamedSplit,
    halves: list[list[Sample]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as without:
        without.delattr(image_files, "decode")
        subset = streamed.only_classes([1]).first(3).to("cpu")
    assert isinstance(subset, StreamedSplit)
    wanted = pixels_of([s for s in halves[0] if s[1] == 1])
    (found,) = subset.batches(10)
    order = subset.rows // 2
    assert torch.equal(found, wanted[order])
    assert subset.labels.tolist() == [0, 0, 0]


def test_pixels_are_permuted_as_in_memory(
    halves: list[list[Sample]], tmp_path: Path
) -> None:
    resident, streamed = (
        read_halves(halves, SQUARE, tmp_path / "cache", streamed=stream).test
        for stream in (False, True)
    )
    (found,) = streamed.with_permuted_pixels(3).batches(10)
    assert torch.equal(found, resident.with_permuted_pixels(3).images)


def epoch(split: StreamedSplit, seed: int = 0) -> list[Tensor]:
    order = BatchOrder(split, 4, seed, True, "crop-flip")
    draws = [order.next() for _ in range(order.batches)]
    return [split.drawn(each.indices, each.crops) for each in draws]


def test_the_same_seed_crops_alike_and_another_one_otherwise(
    streamed: StreamedSplit,
) -> None:
    first, again, other = epoch(streamed), epoch(streamed), epoch(streamed, 1)
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_batches_are_the_same_whatever_was_decoded_ahead(
    streamed: StreamedSplit,
) -> None:
    order = BatchOrder(streamed, 4, 0, True, "crop-flip")
    first = order.next()
    streamed.drawn(first.indices, first.crops)
    state = order.state_dict()
    wanted = order.next()
    expected = streamed.drawn(wanted.indices, wanted.crops)
    resumed = BatchOrder(streamed, 4, 5, True, "crop-flip")
    resumed.load_state_dict(state)
    found = resumed.next()
    assert torch.equal(found.indices, wanted.indices)
    assert torch.equal(streamed.drawn(found.indices, found.crops), expected)


def test_batches_are_decoded_ahead_in_another_thread(
    streamed: StreamedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    changed = threading.Condition()

    def noting(*arguments: object) -> Tensor:
        with changed:
            begun.append(threading.current_thread().name)
            changed.notify_all()
        return torch.zeros(3, 8, 8, dtype=torch.uint8)

    monkeypatch.setattr(image_files, "decode", noting)
    order = BatchOrder(streamed, 2, 0)
    draws = order.next()
    streamed.drawn(draws.indices)
    with changed:
        assert changed.wait_for(lambda: len(begun) == 6, timeout=10)
    assert threading.current_thread().name not in begun


def test_the_hash_of_streamed_data_is_that_of_data_in_memory(
    halves: list[list[Sample]], tmp_path: Path
) -> None:
    hashes = set()
    for stream in (False, True):
        read = read_halves(halves, SQUARE, tmp_path / "cache", streamed=stream)
        data = ImageData(
            name="x",
            classes=("a", "b"),
            train=read.train,
            test=read.test,
            normalisation=read.normalisation,
        )
        hashes.add(data.sha256())
    assert len(hashes) == 1


def test_a_folder_is_loaded_streamed(tmp_path: Path) -> None:
    for label, name in enumerate("ab"):
        for number in range(5):
            write(tmp_path / name / f"{number}.png", 10 * label + number)
    request = DataRequest(name="imagefolder", data_dir=tmp_path, image_size=8)
    resident = load_data(request)
    streamed = load_data(
        DataRequest(name="imagefolder", data_dir=tmp_path, image_size=8, streamed=True)
    )
    assert streamed.train.streamed
    assert resident.sha256() == streamed.sha256()
    assert resident.normalisation == streamed.normalisation
