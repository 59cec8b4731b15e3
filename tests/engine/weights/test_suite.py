import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from resnet_bench.engine.cache import cache_folder, locked
from resnet_bench.engine.weights import suite as suite_checkpoints
from resnet_bench.engine.weights.files import (
    load_tensors,
    read_metadata,
    save_tensors,
    sha256_of,
)
from resnet_bench.engine.weights.origins import SourceRecipe
from resnet_bench.engine.weights.suite import (
    Checkpoint,
    SourceRun,
    read_checkpoint,
    train_or_reuse,
)
from resnet_bench.errors import InputOutputError, UsageError
from tests.engine.tiny import SMALL_WIDTH
from tests.engine.weights.conftest import RECIPE

pytestmark = pytest.mark.usefixtures("small_resnets")


def source(recipe: SourceRecipe) -> SourceRun:
    return SourceRun(recipe=recipe, device="cpu")


def test_a_checkpoint_tells_recipe_data_and_hashes_and_is_reused(
    made: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not made.reused
    assert made.sha256 == sha256_of(made.path)
    assert made.path.name == made.training.recipe.file_name
    assert len(made.training.data_sha256) == 64
    assert made.training.steps == 3
    assert made.training.training_seconds > 0

    monkeypatch.delattr(suite_checkpoints, "_train")  # it must not be needed again
    again = train_or_reuse(source(made.training.recipe), made.path.parent)
    assert again.reused
    assert again.sha256 == made.sha256
    weights = again.weights()
    assert weights.origin == "suite:digits-0-4"
    assert weights.sha256 == made.sha256
    assert weights.state is not None
    assert weights.state["fc.weight"].shape == (5, SMALL_WIDTH)


def test_the_same_recipe_gives_the_same_weights(
    made: Checkpoint, tmp_path: Path
) -> None:
    first = made.training
    second = train_or_reuse(source(first.recipe), tmp_path / "again").training
    assert first.tensors_sha256 == second.tensors_sha256


def test_every_part_of_a_recipe_changes_the_file_name() -> None:
    names = {
        SourceRecipe(variant=18, **{field: value}).file_name  # type: ignore[arg-type]
        for field, value in {
            "dataset": "digits",
            "stem": "cifar",
            "image_size": 16,
            "epochs": 7,
            "learning_rate": 0.2,
            "batch_size": 8,
            "seed": 1,
        }.items()
    }
    assert len(names | {SourceRecipe(variant=18).file_name}) == 8


def test_altered_weights_are_noticed(made: Checkpoint) -> None:
    state = load_tensors(made.path)
    state["conv1.weight"][0, 0, 0, 0] += 1
    save_tensors(made.path, state, read_metadata(made.path))
    with pytest.raises(InputOutputError, match="have changed since they were saved"):
        read_checkpoint(made.path).weights()


@pytest.mark.parametrize("metadata", [{}, {"resnet_bench_source": '{"a": 1}'}])
def test_a_file_that_pretrain_did_not_write_is_refused(
    metadata: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    save_tensors(path, {"w": torch.ones(2)}, metadata)
    with pytest.raises(UsageError, match="not written by 'resnet-bench pretrain'"):
        read_checkpoint(path)


def test_a_missing_checkpoint_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'resnet-bench pretrain' trains one"):
        read_checkpoint(tmp_path / "absent.safetensors")


def test_a_training_that_diverges_leaves_no_checkpoint(tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=2, batch_size=128, learning_rate=1e38)
    with pytest.raises(UsageError, match="diverged at step"):
        train_or_reuse(source(recipe), tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_second_process_waits_for_the_first_ones_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    code = (
        "import fcntl, sys\n"
        "lock = open(sys.argv[1], 'w')\n"
        "try:\n"
        "    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError:\n"
        "    print('waits')\n"
    )
    command = [sys.executable, "-c", code, f"{path}.lock"]
    with locked(path):
        inside = subprocess.run(command, capture_output=True, text=True, check=True)
    after = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (inside.stdout, after.stdout) == ("waits\n", "")


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/resnet-bench")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert cache_folder() == Path("/shared/resnet-bench")
    monkeypatch.setenv("RESNET_BENCH_CACHE", "/own")
    assert cache_folder() == Path("/own")
