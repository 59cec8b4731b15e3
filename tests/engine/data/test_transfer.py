from dataclasses import replace

import pytest
import torch

from resnet_bench.catalogue import VARIANTS
from resnet_bench.engine.data.transfer import (
    TargetRequest,
    imagenet_preprocess,
    load_target,
)
from resnet_bench.engine.weights.files import torchvision_weights
from resnet_bench.errors import UsageError

DIGITS = TargetRequest(name="digits-5-9", image_size=16)


def test_grey_digits_become_three_equal_channels_of_the_size_asked_for() -> None:
    data = load_target(DIGITS)
    images = data.train.images
    assert images.shape[1:] == (3, 16, 16)
    assert torch.equal(images[:, 0], images[:, 2])
    assert len(data.train) + len(data.test) == 896
    assert data.classes == ("5", "6", "7", "8", "9")


def test_classes_keeps_the_first_ones() -> None:
    data = load_target(replace(DIGITS, classes=2))
    assert data.classes == ("5", "6")
    assert set(data.test.labels.tolist()) == {0, 1}


def test_more_classes_than_there_are_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--classes 6: expected 2 to 5"):
        load_target(replace(DIGITS, classes=6))


def test_shots_of_one_seed_nest_and_leave_the_test_half_alone() -> None:
    def rows(shots: int, seed: int = 0) -> set[bytes]:
        data = load_target(replace(DIGITS, shots=shots, seed=seed))
        assert data.train.labels.bincount().tolist() == [shots] * 5
        assert len(data.test) == len(load_target(DIGITS).test)
        return {image.numpy().tobytes() for image in data.train.images}

    assert rows(10) < rows(50)
    assert rows(10) != rows(10, seed=1)


def test_more_shots_than_a_class_has_take_all_of_it() -> None:
    data = load_target(replace(DIGITS, shots=10_000))
    assert len(data.train) == len(load_target(DIGITS).train)


def test_permuted_pixels_keep_every_value_and_lose_the_picture() -> None:
    request = replace(DIGITS, image_size=None)
    plain, permuted = load_target(request), load_target(replace(request, permuted=True))
    before, after = plain.train.images, permuted.train.images
    assert not torch.equal(before, after)
    assert torch.equal(before.flatten(2).sort().values, after.flatten(2).sort().values)


def test_permuted_images_share_one_permutation_with_the_test_half() -> None:
    request = replace(DIGITS, image_size=None)
    plain, permuted = load_target(request), load_target(replace(request, permuted=True))
    # A pixel's history over all images says where it went, in both halves.
    for before, after in (
        (plain.train.images, permuted.train.images),
        (plain.test.images, permuted.test.images),
    ):
        columns = before[:, 0].flatten(1).T
        moved = after[:, 0].flatten(1).T
        assert {c.numpy().tobytes() for c in columns} == {
            m.numpy().tobytes() for m in moved
        }


def test_permuted_pixels_are_enlarged_after_they_are_moved() -> None:
    data = load_target(replace(DIGITS, permuted=True))
    assert data.image_size == (16, 16)
    means = data.normalisation.apply(data.train.images).mean((0, 2, 3))
    torch.testing.assert_close(means, torch.zeros(3), atol=1e-4, rtol=0)


def test_imagenet_weights_bring_their_own_transforms() -> None:
    data = load_target(replace(DIGITS, imagenet="V1", image_size=32))
    assert data.image_size == (32, 32)
    # ImageNet's mean and deviation, not the digits' own.
    lowest = data.normalisation.apply(data.train.images).amin((0, 2, 3))
    torch.testing.assert_close(
        lowest,
        -torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225]),
    )


def test_permuting_works_on_preprocessed_images_too() -> None:
    request = replace(DIGITS, imagenet="V1", image_size=16, shots=7)
    data = load_target(replace(request, permuted=True))
    assert not torch.equal(data.train.images, load_target(request).train.images)


def test_v1_and_v2_transforms_differ() -> None:
    image = torch.randint(0, 256, (3, 300, 260), dtype=torch.uint8)
    first, second = (imagenet_preprocess(version)(image) for version in ("V1", "V2"))
    assert first.shape == second.shape == (3, 224, 224)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_version_means_the_same_transforms_for_all_variants(variant: int) -> None:
    versions = ("V1", "V2") if variant >= 50 else ("V1",)
    for version in versions:
        own = torchvision_weights(variant, version).transforms()
        assert vars(own)["crop_size"] == imagenet_size(version, "crop_size")
        assert vars(own)["resize_size"] == imagenet_size(version, "resize_size")


def imagenet_size(version: str, name: str) -> object:
    return vars(imagenet_preprocess(version))[name]


def test_another_image_size_keeps_the_ratio_of_resize_to_crop() -> None:
    made = vars(imagenet_preprocess("V1", 112))
    assert made["crop_size"] == [112]
    assert made["resize_size"] == [128]
