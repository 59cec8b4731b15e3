"""Options that experiments share, and what each of them refuses."""

from pathlib import Path
from typing import Any

import pytest

from resnet_bench.errors import UsageError
from resnet_bench.experiments.degradation.spec import Config as Degradation
from resnet_bench.experiments.describe.spec import Config as Describe
from resnet_bench.experiments.finetune.spec import Config as Finetune
from resnet_bench.experiments.options import parse_device
from resnet_bench.experiments.pretrain.spec import Config as Pretrain

TRAINING: list[tuple[str, Any, str]] = [
    ("epochs", 0, "a whole number from 1"),
    ("seeds", 0, "a whole number from 1"),
    ("seed", -1, "a whole number from 0"),
    ("batch_size", 1, "a whole number from 2"),
    ("image_size", 4, "a whole number from 8"),
    ("stem", "large", "imagenet, small, cifar"),
    ("profile", "huge", "quick, standard"),
]
REFUSED: dict[type[Any], list[tuple[str, Any, str]]] = {
    Describe: [("image_size", 4, "a whole number from 8"), ("head", 1, "from 2")],
    Pretrain: [*TRAINING, ("lr", 0.0, "a number above 0")],
    Finetune: [
        *(row for row in TRAINING if row[0] != "stem"),
        ("stem", "large", "auto, imagenet, small, cifar"),
        ("lr", (-1.0,), "a number above 0"),
        ("source_lr", 0.0, "a number above 0"),
        ("source_epochs", 0, "a whole number from 1"),
        ("target_accuracy", 101.0, "a number above 0 to 100"),
        ("shots", (0,), "a whole number from 1"),
        ("classes", 1, "a whole number from 2"),
        ("classes", 6, "2 to 5, the classes of photo-digits-5-9"),
    ],
}


@pytest.mark.parametrize(
    ("config", "name", "value", "accepted"),
    [(config, *row) for config, rows in REFUSED.items() for row in rows],
)
def test_a_value_out_of_bounds_is_named_with_what_is_accepted(
    config: type[Any], name: str, value: Any, accepted: str
) -> None:
    bad = value[-1] if isinstance(value, tuple) else value
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match=f"{flag} {bad}: expected .*{accepted}"):
        config(**{name: value})


@pytest.mark.parametrize("config", [Describe, Finetune, Pretrain])
def test_a_variant_given_twice_counts_once(config: type[Any]) -> None:
    assert config(variants=(34, 18, 34)).variants == (34, 18)


PHOTOS = Path("photos")


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        (Finetune, {}, "photo-digits-5-9"),
        (Finetune, {"data_dir": PHOTOS}, "imagefolder"),
        (Finetune, {"data_dir": PHOTOS, "dataset": "cifar10"}, "cifar10"),
        (Finetune, {"data_dir": PHOTOS, "source": "cifar10"}, "photo-digits-5-9"),
        (Pretrain, {}, "photo-digits-0-4"),
        (Pretrain, {"data_dir": PHOTOS}, "imagefolder"),
        (Degradation, {}, "digits"),
        (Degradation, {"data_dir": PHOTOS}, "imagefolder"),
        (Degradation, {"data_dir": PHOTOS, "profile": "paper"}, "cifar10"),
    ],
)
def test_a_folder_given_without_a_data_set_is_the_data_set(
    config: type[Any], options: dict[str, Any], expected: str
) -> None:
    assert config(**options).dataset == expected


@pytest.mark.parametrize("config", [Degradation, Finetune, Pretrain])
def test_a_folder_of_images_is_announced(config: type[Any], tmp_path: Path) -> None:
    for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (said,) = config(data_dir=tmp_path).announce_folder()
    assert said.startswith(f"DATA: {tmp_path}: 4 images of 2 classes")
    assert config(data_dir=tmp_path / "elsewhere").announce_folder() == []
    assert config().announce_folder() == []


def test_a_device_may_be_elsewhere_but_is_named_as_torch_names_it() -> None:
    names = ["auto", "cpu", "cuda", "cuda:7"]
    assert [parse_device(name) for name in names] == names


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:a", "cuda:²", "ú:\x9c", "CPU"])
def test_another_name_of_a_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        parse_device(name)
