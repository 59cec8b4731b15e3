from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import ResNet, get_model

from resnet_bench.engine.models.blocks import (
    blocks_of,
    head_of,
    run_blocks,
    stem_of,
)
from resnet_bench.engine.models.design import STEMS, stem_that_fits
from resnet_bench.engine.models.resnets import (
    NetworkRequest,
    build_network,
    build_plain_twin,
    build_residual,
    check_images,
    copy_shared_weights,
    meta_variant,
    model_builder,
    replace_head,
    seeded,
    trainable_parameters,
)
from resnet_bench.engine.models.small_maps import SmallMapConvolution
from resnet_bench.engine.training.finetuning import apply_strategy
from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.engine.weights.files import Weights
from resnet_bench.errors import UsageError
from tests.engine.tiny_networks import ImagesOut, tiny

HERE = "tests.engine.tiny_networks"


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


@pytest.mark.parametrize("depth", [18, 50])
def test_a_twin_has_all_the_residual_networks_weights_but_its_projections(
    depth: int,
) -> None:
    with torch.device("meta"):
        plain = build_plain_twin(depth, 10).state_dict()
        residual = build_residual(depth, 10).state_dict()
    expected = {key for key in residual if "downsample" not in key}
    assert plain.keys() == expected
    assert all(plain[key].shape == residual[key].shape for key in expected)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_twin_is_the_residual_network_without_the_addition(depth: int) -> None:
    residual, plain = build_residual(depth, 4).eval(), build_plain_twin(depth, 4).eval()
    copy_shared_weights(residual, plain)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(stem_of(plain)(images), stem_of(residual)(images))
    hidden = stem_of(plain)(images)
    block, twin = residual.layer1[0], plain.layer1[0]
    added = block.downsample(hidden) if block.downsample else hidden
    names = [name for name in ("1", "2", "3") if hasattr(block, f"conv{name}")]
    answer = hidden
    for name in names:
        answer = getattr(block, f"bn{name}")(getattr(block, f"conv{name}")(answer))
        answer = answer if name == names[-1] else torch.relu(answer)
    assert torch.equal(twin(hidden), torch.relu(answer))
    torch.testing.assert_close(block(hidden), torch.relu(answer + added))


def test_pieces_of_torchvisions_network_make_the_whole() -> None:
    network = build_residual(18, 4).eval()
    images = torch.rand(1, 3, 32, 32)
    blocks = [place.block for place in blocks_of(network)]
    logits = head_of(network)(run_blocks(blocks, stem_of(network)(images)))
    assert torch.equal(logits, network(images))


def test_blocks_that_change_the_shape_are_known_in_both_arms() -> None:
    with torch.device("meta"):
        networks = [build_residual(50, 4), build_plain_twin(50, 4)]
    changing = [
        [place.index for place in blocks_of(network) if place.changes_shape]
        for network in networks
    ]
    assert changing[0] == changing[1] == [0, 3, 7, 13]


WIDTHS = {18: 512, 50: 2048}


@pytest.mark.parametrize(("variant", "width"), WIDTHS.items())
def test_freeze_trains_one_more_than_the_width_for_each_class(
    variant: int, width: int
) -> None:
    with torch.device("meta"):
        network = get_model(f"resnet{variant}")
        replace_head(network, 10)
    apply_strategy(network, STRATEGIES["freeze"])
    assert trainable_parameters(network) == (width + 1) * 10
    assert network.fc.in_features == width


REQUEST = NetworkRequest(variant=18, classes=3, stem="small", seed=0)


@pytest.mark.usefixtures("small_resnets")
def test_the_same_request_gives_the_same_network_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first = build_network(REQUEST)
    torch.manual_seed(2)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    second = build_network(REQUEST)
    assert torch.equal(first.fc.weight, second.fc.weight)
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    assert torch.equal(torch.rand(1), drawn)  # the global state was left alone


@pytest.mark.usefixtures("small_resnets")
def test_small_maps_are_computed_densely_with_the_same_answers() -> None:
    network = build_network(REQUEST).eval()
    last = network.get_submodule("layer4.0.conv2")
    assert type(last) is SmallMapConvolution
    images = torch.randn(2, 3, 32, 32)
    densely = network(images)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.__class__ = nn.Conv2d
    torch.testing.assert_close(densely, network(images))


@pytest.mark.usefixtures("small_resnets")
def test_weights_are_loaded_before_the_head_is_replaced() -> None:
    source = build_network(NetworkRequest(variant=18, classes=7, stem="small", seed=5))
    network = build_network(REQUEST, Weights("file:x", "0", source.state_dict()))
    assert torch.equal(network.layer1[0].conv1.weight, source.layer1[0].conv1.weight)
    assert network.fc.out_features == 3


@pytest.mark.usefixtures("small_resnets")
@pytest.mark.parametrize(
    ("name", "side"), [("imagenet", 8), ("small", 8), ("cifar", 32)]
)
def test_each_stem_reduces_the_image_by_what_it_says(name: str, side: int) -> None:
    network = build_network(NetworkRequest(variant=18, classes=3, stem=name, seed=0))
    stem = nn.Sequential(network.conv1, network.maxpool)
    assert stem(torch.zeros(1, 3, 32, 32)).shape[-1] == side


@pytest.mark.usefixtures("small_resnets")
@pytest.mark.parametrize("name", STEMS)
def test_small_images_pass_every_stem_in_training(name: str) -> None:
    network = build_network(NetworkRequest(variant=18, classes=3, stem=name, seed=0))
    assert network.train()(torch.rand(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.usefixtures("small_resnets")
def test_zero_gamma_starts_each_block_as_the_identity_and_can_be_left_out() -> None:
    started = build_network(REQUEST)
    assert gammas(started).abs().sum() == 0
    assert gammas(build_network(replace(REQUEST, zero_gamma=False))).min() == 1


def gammas(network: ResNet) -> torch.Tensor:
    blocks = [
        block for name in ("layer1", "layer4") for block in getattr(network, name)
    ]
    return torch.cat([block.bn2.weight.detach() for block in blocks])


def test_a_stem_is_found_by_the_width_of_the_weights_convolution() -> None:
    assert stem_that_fits(7, "auto").name == "imagenet"
    assert stem_that_fits(3, "auto").name == "small"
    assert stem_that_fits(3, "cifar").name == "cifar"


def test_a_stem_that_does_not_fit_the_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="--stem small: its convolution is 3 wide"):
        stem_that_fits(7, "small")
    with pytest.raises(UsageError, match="no stem of imagenet, small, cifar fits"):
        stem_that_fits(5, "auto")
