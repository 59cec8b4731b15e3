from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from resnet_bench.catalogue import VARIANTS
from resnet_bench.engine.models.resnets import (
    check_images,
    meta_variant,
    model_builder,
    seeded,
    variant_builder,
)
from resnet_bench.errors import UsageError
from tests.engine.tiny_networks import ImagesOut, tiny

HERE = "tests.engine.tiny_networks"


def test_a_variant_is_torchvisions_own_model() -> None:
    model = variant_builder(18)()
    assert type(model).__module__ == "torchvision.models.resnet"


def test_a_plain_twin_has_no_projection_shortcuts() -> None:
    residual, plain = (
        sum(each.numel() for each in meta_variant(50, architecture).parameters())
        for architecture in ("residual", "plain")
    )
    assert plain < residual


@pytest.mark.parametrize("depth", VARIANTS)
def test_every_variant_has_a_shape_without_numbers(depth: int) -> None:
    assert all(each.is_meta for each in meta_variant(depth).parameters())


def test_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (
        torch.cat([each.flatten() for each in seeded(tiny, seed).parameters()])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_persons_own_model_is_built_by_the_function_they_name() -> None:
    model = model_builder(f"{HERE}:tiny")()
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 5)


def test_a_module_in_the_working_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from torch import nn\ndef make():\n    return nn.Flatten()\n"
    (tmp_path / "my_own_networks.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    assert isinstance(model_builder("my_own_networks:make")(), torch.nn.Flatten)


@pytest.mark.parametrize("name", ["resnet", "package:", ":function", "a:b-c"])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"--model .*PACKAGE\.MODULE:FUNCTION"):
        model_builder(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_package.nets:make", "a module that can be imported .*No module"),
        (f"{HERE}:missing", "a function missing in"),
        (f"{HERE}:not_a_function", "a function not_a_function in"),
        (f"{HERE}:takes_an_argument", "takes no arguments .*depth"),
    ],
)
def test_each_wrong_part_of_a_name_has_its_own_sentence(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        model_builder(name)


def test_a_module_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_networks.py").write_text("def make(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="SyntaxError"):
        model_builder("broken_networks:make")


def test_a_script_that_leaves_when_it_is_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving_networks.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"can be imported .*SystemExit"):
        model_builder("leaving_networks:make")


def test_a_function_that_returns_no_module_is_refused() -> None:
    with pytest.raises(UsageError, match=r"an nn\.Module, not int"):
        model_builder(f"{HERE}:returns_a_number")()


def test_a_function_that_fails_is_refused_with_its_own_words() -> None:
    with pytest.raises(UsageError, match="ValueError: no such architecture"):
        model_builder(f"{HERE}:raises")()


def test_batch_norm_with_one_value_per_channel_is_refused_by_name() -> None:
    with pytest.raises(
        UsageError, match=r"--batch-size 1: expected at least 2 at --image-size 32"
    ):
        check_images(
            meta_variant(18), "ResNet-18", batch_size=1, image_size=32, training=True
        )


@pytest.mark.parametrize(
    ("batch_size", "image_size", "training"),
    [(1, 32, False), (2, 32, True), (1, 64, True), (4, 224, True)],
)
def test_sizes_that_a_resnet_can_take_are_accepted(
    batch_size: int, image_size: int, training: bool
) -> None:
    check_images(
        meta_variant(18),
        "ResNet-18",
        batch_size=batch_size,
        image_size=image_size,
        training=training,
    )


def test_an_image_size_that_the_network_cannot_take_is_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 9), torch.nn.Flatten())
    with pytest.raises(UsageError, match=r"--image-size 8: .* size that mine can take"):
        check_images(model, "mine", batch_size=2, image_size=8, training=False)


def test_a_model_that_returns_no_classes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--model mine: .*\(2, 3, 8, 8\)"):
        check_images(ImagesOut(), "mine", batch_size=2, image_size=8, training=False)
