from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision.transforms._presets import ImageClassification

from resnet_bench.engine.data import DataRequest, Normalisation, Split, load_data
from resnet_bench.engine.data.batches import (
    BatchOrder,
    augmentation_for,
    steps_per_epoch,
)
from resnet_bench.engine.data.loading import _preprocessed
from resnet_bench.engine.data.splits import ImageData, stratified_halves


def split(images: int = 40, classes: int = 4) -> Split:
    labels = torch.arange(images) % classes
    return Split(torch.arange(images * 4.0).view(images, 1, 2, 2), labels)


def test_the_digits_are_all_there_always_in_the_same_halves() -> None:
    digits = load_data(DataRequest(name="digits"))
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert digits.image_size == (8, 8)
    assert digits.channels == 1
    assert digits.train.images.max() == 1
    assert digits.sha256() == load_data(DataRequest(name="digits")).sha256()


def test_both_halves_of_the_digits_hold_every_class_in_proportion() -> None:
    digits = load_data(DataRequest(name="digits"))
    whole = torch.bincount(torch.cat([digits.train.labels, digits.test.labels]))
    expected = whole * 360 / 1797
    assert (torch.bincount(digits.test.labels) - expected).abs().max() <= 1


def test_source_and_target_digits_share_no_image_and_count_from_zero() -> None:
    source = load_data(DataRequest(name="digits-0-4"))
    target = load_data(DataRequest(name="digits-5-9"))
    assert len(source.train) + len(source.test) == 901
    assert len(target.train) + len(target.test) == 896
    assert target.classes == ("5", "6", "7", "8", "9")
    assert sorted(set(target.train.labels.tolist())) == [0, 1, 2, 3, 4]


def test_digits_can_be_resized_and_given_three_channels() -> None:
    data = load_data(DataRequest(name="digits", image_size=16, channels=3))
    assert data.train.images.shape == (1437, 3, 16, 16)
    assert torch.equal(data.train.images[:, 0], data.train.images[:, 2])
    normal = data.normalisation.apply(data.train.images)
    assert abs(float(normal.mean())) < 1e-3
    assert float(normal.std()) == pytest.approx(1, abs=1e-3)


def test_torchvisions_transforms_give_size_mean_and_deviation() -> None:
    preset = ImageClassification(
        crop_size=14, resize_size=16, mean=(0.5,) * 3, std=(0.25,) * 3
    )
    data = load_data(DataRequest(name="digits", channels=3, preprocess=preset))
    assert data.normalisation == Normalisation((0.5,) * 3, (0.25,) * 3)
    assert data.image_size == (14, 14)
    stored = load_data(DataRequest(name="digits", channels=3)).train.images[:9]
    torch.testing.assert_close(
        data.normalisation.apply(data.train.images[:9]), preset(stored)
    )


def test_eight_bit_images_stay_so_under_torchvisions_transforms() -> None:
    drawn = torch.randint(256, (5, 3, 20, 26), dtype=torch.uint8)
    data = load_data(DataRequest(name="digits", channels=3))
    half = Split(drawn, torch.arange(5) % 2)
    preset = ImageClassification(crop_size=14, resize_size=16)
    made = _preprocessed(replace(data, train=half, test=half), preset)
    assert made.train.images.dtype == torch.uint8
    each = torch.stack([preset(image) for image in drawn])
    torch.testing.assert_close(made.normalisation.apply(made.train.images), each)


def test_the_hash_changes_with_a_pixel_and_with_a_label() -> None:
    data = load_data(DataRequest(name="digits-5-9"))
    before = data.sha256()
    data.train.images[0, 0, 0, 0] += 0.5
    changed = data.sha256()
    data.train.labels[0] = (data.train.labels[0] + 1) % 5
    assert len({before, changed, data.sha256()}) == 3


def test_smaller_subsets_lie_inside_larger_ones_and_are_stratified() -> None:
    whole = split(40, 4)
    small, large = whole.first(8), whole.first(20)
    assert len(small) == 8
    pixels = {tuple(image.flatten().tolist()) for image in large.images}
    assert {tuple(image.flatten().tolist()) for image in small.images} <= pixels
    assert torch.bincount(small.labels).tolist() == [2, 2, 2, 2]


def test_shots_are_images_of_each_class_or_all_that_it_has() -> None:
    uneven = Split(torch.rand(7, 1, 2, 2), torch.tensor([0, 0, 0, 0, 0, 1, 1]))
    assert uneven.shots(3).labels.bincount().tolist() == [3, 2]


def test_test_images_keep_their_originals_when_classes_are_picked() -> None:
    labels = torch.tensor([0, 1, 2, 1])
    half = Split(torch.rand(4, 1, 2, 2), labels)
    data = ImageData(
        name="made",
        classes=("a", "b", "c"),
        train=half,
        test=half,
        normalisation=Normalisation.of(half.images),
        test_origins=torch.tensor([4, 5, 6, 7]),
    )
    kept = data.only_classes((1, 2))
    assert kept.test_origins is not None
    assert kept.test_origins.tolist() == [5, 6, 7]


def test_another_seed_takes_other_images() -> None:
    first, second = split().first(8, seed=1), split().first(8, seed=2)
    assert not torch.equal(first.images, second.images)


def test_classes_are_picked_and_relabelled_in_the_order_given() -> None:
    picked = split(8, 4).only_classes([3, 1])
    assert picked.labels.tolist() == [1, 0, 1, 0]


def test_permuted_pixels_keep_their_values_and_move_alike_in_every_image() -> None:
    data = load_data(DataRequest(name="digits-5-9"))
    moved = data.with_permuted_pixels(seed=1)
    flat, changed = data.train.images.flatten(1), moved.train.images.flatten(1)
    assert torch.equal(flat.sort(1).values, changed.sort(1).values)
    assert not torch.equal(flat, changed)
    again = data.with_permuted_pixels(seed=1)
    assert torch.equal(again.test.images, moved.test.images)


def test_stratified_halves_are_disjoint_and_cover_all() -> None:
    labels = torch.arange(30) % 3
    train, test = stratified_halves(labels, 6)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(30))
    assert torch.bincount(labels[test]).tolist() == [2, 2, 2]


def test_bytes_and_floats_are_normalised_alike() -> None:
    pixels = torch.tensor([[[[0, 51], [102, 255]]]], dtype=torch.uint8)
    normalisation = Normalisation.of(pixels)
    torch.testing.assert_close(
        normalisation.apply(pixels), normalisation.apply(pixels.float() / 255)
    )


@pytest.mark.parametrize(
    ("name", "channels", "flips", "expected"),
    [
        ("auto", 1, True, "none"),
        ("auto", 3, True, "crop-flip"),
        ("auto", 3, False, "crop"),
        ("crop", 1, True, "crop"),
        ("none", 3, True, "none"),
        ("crop-flip", 1, True, "crop-flip"),
    ],
)
def test_augmentation_follows_the_kind_of_image(
    name: str, channels: int, flips: bool, expected: str
) -> None:
    assert augmentation_for(name, channels, flips=flips) == expected


def of_images(images: torch.Tensor) -> Split:
    return Split(images, torch.zeros(len(images), dtype=torch.int64))


def test_a_crop_shifts_each_image_within_its_margin() -> None:
    images = torch.zeros(64, 1, 16, 16)
    images[:, :, 8, 8] = 1
    order = BatchOrder(of_images(images), 64, seed=0, augmentation="crop")
    shifted = order.next().augment(images)
    places = torch.nonzero(shifted)[:, 2:]
    assert len(places) == 64
    assert places.min() >= 6
    assert places.max() <= 10
    assert len({tuple(place.tolist()) for place in places}) > 10


def test_a_flip_mirrors_about_half_of_the_images() -> None:
    images = torch.zeros(200, 1, 8, 8)
    images[:, :, :, :4] = 1
    order = BatchOrder(of_images(images), 200, seed=0, augmentation="crop-flip")
    flipped = order.next().augment(images)[:, 0, 4, 6] == 1
    assert 70 < int(flipped.sum()) < 130


def test_an_epoch_visits_every_image_of_its_full_batches_once() -> None:
    order = BatchOrder(of_images(torch.zeros(10, 1, 8, 8)), 4, seed=0)
    epoch = torch.cat([order.next().indices, order.next().indices])
    assert len(set(epoch.tolist())) == 8
    assert order.at_epoch_end
    following = torch.cat([order.next().indices, order.next().indices])
    assert not torch.equal(following, epoch)


@pytest.mark.parametrize(
    ("images", "keep_last", "expected"),
    [(10, False, 2), (10, True, 3), (9, True, 2), (3, False, 1), (8, True, 2)],
)
def test_steps_of_an_epoch(images: int, keep_last: bool, expected: int) -> None:
    assert steps_per_epoch(images, 4, keep_last) == expected
