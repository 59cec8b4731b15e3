from pathlib import Path

import pytest
import torch

from resnet_bench.engine.weights.origins import (
    WeightsSource,
    parse_weights,
)
from resnet_bench.engine.weights.starting import (
    network_input,
    resolve_auto,
    starting_point,
    suite_checkpoint,
)
from resnet_bench.engine.weights.suite import Checkpoint
from resnet_bench.errors import UsageError


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return folder


def test_auto_is_the_suite_unless_every_variant_is_cached(hub: Path) -> None:
    auto = parse_weights("auto")
    assert resolve_auto(auto, (18, 34)) == WeightsSource("suite")
    (hub / "resnet18-f37072fd.pth").touch()
    assert resolve_auto(auto, (18, 34)) == WeightsSource("suite")
    assert resolve_auto(auto, (18,)) == WeightsSource("imagenet", "V1")
    (hub / "resnet34-b627a593.pth").touch()
    assert resolve_auto(auto, (18, 34)) == WeightsSource("imagenet", "V1")


def test_what_was_asked_for_is_left_as_it_is(hub: Path) -> None:
    (hub / "resnet18-f37072fd.pth").touch()
    assert resolve_auto(parse_weights("suite"), (18,)) == WeightsSource("suite")


def test_the_suites_weights_come_from_the_cache_with_their_cost(
    made: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNET_BENCH_CACHE", str(made.path.parent))
    recipe = made.training.recipe
    start = starting_point(parse_weights("suite"), 18, recipe, verify=True)
    assert start.weights.sha256 == made.sha256
    assert start.source_steps == made.training.steps
    assert start.source_seconds == made.training.training_seconds


def test_a_checkpoint_of_another_variant_is_refused(made: Checkpoint) -> None:
    named = parse_weights(f"suite:{made.path}")
    assert suite_checkpoint(named, 18, None).sha256 == made.sha256
    with pytest.raises(UsageError, match="the checkpoint is of ResNet-18"):
        suite_checkpoint(named, 34, None)


def test_random_weights_cost_nothing_to_know() -> None:
    start = starting_point(parse_weights("random"), 18, verify=True)
    assert start.weights.origin == "random"
    assert start.weights.state is None


def chosen(
    weights: str, stem: str = "auto", size: int | None = None
) -> tuple[str, object]:
    made = network_input(parse_weights(weights), (18,), stem, size, verify=True)
    return made.stem.name, made.image_size


def test_stem_and_size_follow_from_weights_and_image_size(tmp_path: Path) -> None:
    assert chosen("imagenet") == ("imagenet", None)
    assert chosen("imagenet", size=32) == ("imagenet", 32)
    assert chosen("suite") == ("small", 32)
    assert chosen("random", size=224) == ("imagenet", 224)
    assert chosen("random", stem="cifar") == ("cifar", 32)


def test_stem_and_size_follow_from_a_files_first_convolution(tmp_path: Path) -> None:
    seven, three = tmp_path / "seven.pth", tmp_path / "three.pth"
    torch.save({"conv1.weight": torch.ones(64, 3, 7, 7)}, seven)
    torch.save({"conv1.weight": torch.ones(64, 3, 3, 3)}, three)
    assert chosen(f"file:{seven}") == ("imagenet", None)
    assert chosen(f"file:{three}", stem="cifar") == ("cifar", 32)


def test_stem_and_size_follow_from_a_named_checkpoint(made: Checkpoint) -> None:
    assert chosen(f"suite:{made.path}") == ("small", 8)
    with pytest.raises(UsageError, match="--stem imagenet"):
        chosen(f"suite:{made.path}", stem="imagenet")


def test_a_stem_that_contradicts_the_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="--stem small"):
        chosen("imagenet", stem="small")


def test_a_file_without_the_first_convolution_is_of_another_architecture(
    tmp_path: Path,
) -> None:
    path = tmp_path / "other.pth"
    torch.save({"features.weight": torch.ones(3)}, path)
    with pytest.raises(UsageError, match=r"another architecture: conv1\.weight"):
        chosen(f"file:{path}")
