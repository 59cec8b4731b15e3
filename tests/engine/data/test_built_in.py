"""Digits on photographs: fixed, balanced, and nothing shared between halves."""

import pytest
import torch

from resnet_bench.catalogue import DATASETS
from resnet_bench.engine.data.built_in import (
    TRAINING_DIGITS,
    load_built_in,
    load_photo_digits,
)
from resnet_bench.engine.data.splits import ImageData


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_photo_digits(range(5, 10), training_per_class=20, test_per_class=10)


def test_renderings_are_colour_images_of_32_pixels_in_equal_classes(
    data: ImageData,
) -> None:
    assert data.train.images.shape == (100, 3, 32, 32)
    assert data.train.images.dtype == torch.uint8
    assert data.classes == ("5", "6", "7", "8", "9")
    assert data.train.labels.bincount().tolist() == [20] * 5
    assert data.test.labels.bincount().tolist() == [10] * 5


def test_the_same_renderings_come_every_time(data: ImageData) -> None:
    again = load_photo_digits(range(5, 10), training_per_class=20, test_per_class=10)
    assert again.sha256() == data.sha256()


def test_tests_show_digits_that_no_training_image_shows(data: ImageData) -> None:
    assert data.test_origins is not None
    assert len(data.test_origins) == len(data.test)
    # Counted among the digits after those for training.
    assert int(data.test_origins.max()) < 1797 - TRAINING_DIGITS


def test_renderings_of_one_digit_stand_together(data: ImageData) -> None:
    assert data.test_origins is not None
    assert data.test_origins.tolist() == sorted(data.test_origins.tolist())
    assert not data.flips


def test_a_photograph_and_a_digit_are_both_in_an_image(data: ImageData) -> None:
    images = data.train.images.float() / 255
    # A blank digit would leave the photograph's own contrast; a blank photograph, grey.
    assert images.std(dim=(1, 2, 3)).min() > 0.05
    colourful = (images.amax(1) - images.amin(1)).mean()
    assert colourful > 0.05


@pytest.mark.parametrize(
    ("name", "classes"), [("digits-0-4", "01234"), ("digits", "0123456789")]
)
def test_part_of_the_digits_goes_by_its_name(name: str, classes: str) -> None:
    data = load_built_in(name)
    assert (data.name, "".join(data.classes)) == (name, classes)
    assert int(data.train.labels.max()) == len(classes) - 1


@pytest.mark.parametrize("name", ["digits", "digits-0-4", "digits-5-9"])
def test_the_catalogue_counts_the_training_images(name: str) -> None:
    assert DATASETS[name].train_images == len(load_built_in(name).train)
