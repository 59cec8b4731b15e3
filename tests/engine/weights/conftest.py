"""A checkpoint that is trained once for all tests of this folder."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_bench.engine.weights.origins import SourceRecipe
from resnet_bench.engine.weights.suite import Checkpoint, SourceRun, train_or_reuse
from tests.engine.tiny import build_small_resnets

RECIPE = SourceRecipe(
    variant=18,
    dataset="digits-0-4",
    image_size=8,
    epochs=1,
    batch_size=256,
    learning_rate=0.01,
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    with pytest.MonkeyPatch.context() as patch:
        build_small_resnets(patch)
        run = SourceRun(recipe=RECIPE, device="cpu")
        return train_or_reuse(run, tmp_path_factory.mktemp("trained"))


@pytest.fixture
def made(trained: Checkpoint, tmp_path: Path) -> Checkpoint:
    """A copy of the checkpoint in the test's own folder."""
    shutil.copy(trained.path, tmp_path)
    return replace(trained, path=tmp_path / trained.path.name)
