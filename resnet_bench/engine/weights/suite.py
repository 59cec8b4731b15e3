"""Source-task checkpoints: trained once, kept in the cache, checked on loading."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.models import ResNet

from resnet_bench.engine.cache import locked
from resnet_bench.engine.data import ImageData
from resnet_bench.engine.data.transfer import TargetRequest, load_target
from resnet_bench.engine.models.resnets import NetworkRequest, build_network
from resnet_bench.engine.training.evaluation import evaluate
from resnet_bench.engine.training.finetuning import FitSettings, make_trainer
from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.engine.weights.files import (
    Weights,
    load_tensors,
    read_metadata,
    save_tensors,
    sha256_of,
)
from resnet_bench.engine.weights.origins import SourceRecipe
from resnet_bench.errors import InputOutputError, UsageError

#: Under this name a checkpoint's metadata keeps what is told of it, as JSON.
_ENTRY = "resnet_bench_source"


@dataclass(frozen=True, kw_only=True)
class SourceTraining:
    """A checkpoint's recipe, its data, and the result of its training."""

    recipe: SourceRecipe
    data_sha256: str
    tensors_sha256: str
    steps: int
    training_seconds: float
    source_accuracy_percent: float


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint on disk: the sha256 is of the whole file."""

    path: Path
    sha256: str
    training: SourceTraining
    reused: bool

    def weights(self) -> Weights:
        """Read the weights; raises InputOutputError when they were altered."""
        state = load_tensors(self.path)
        if tensors_sha256(state) != self.training.tensors_sha256:
            raise InputOutputError(
                f"{self.path}: the weights have changed since they were saved; remove "
                "the file to train them again"
            )
        origin = f"suite:{self.training.recipe.dataset}"
        return Weights(origin, self.sha256, state)


@dataclass(frozen=True, kw_only=True)
class SourceRun:
    """A recipe with where it is carried out: device and data folder."""

    recipe: SourceRecipe
    device: str
    data_dir: Path | None = None
    download: bool = False
    skip_bad_images: bool = False


def train_or_reuse(run: SourceRun, folder: Path) -> Checkpoint:
    """Return the recipe's checkpoint in `folder`, trained first if it is not there.

    Two processes that want the same one wait for each other. Raises UsageError for
    the source data, InputOutputError for the folder or an altered file.
    """
    path = folder / run.recipe.file_name
    with locked(path):
        reused = path.exists()
        if not reused:
            _train(run, path)
        return dataclasses.replace(read_checkpoint(path), reused=reused)


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint's metadata.

    Raises UsageError when the file is missing or was not written by `pretrain`.
    """
    if not path.is_file():
        raise UsageError(
            f"--weights suite:{path}: there is no such file; "
            "'resnet-bench pretrain' trains one"
        )
    entry = read_metadata(path).get(_ENTRY)
    try:
        told = json.loads(entry or "")
        recipe = SourceRecipe(**told.pop("recipe"))
        training = SourceTraining(recipe=recipe, **told)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"--weights suite:{path}: not written by 'resnet-bench pretrain'; "
            f"use file:{path}"
        ) from error
    return Checkpoint(path=path, sha256=sha256_of(path), training=training, reused=True)


def tensors_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the hash of all tensors with their names, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def source_data(run: SourceRun) -> ImageData:
    """Return the source's data on the CPU; raises UsageError as `load_target`."""
    return load_target(
        TargetRequest(
            name=run.recipe.dataset,
            image_size=run.recipe.image_size,
            data_dir=run.data_dir,
            download=run.download,
            skip_bad_images=run.skip_bad_images,
        )
    )


def network_request(recipe: SourceRecipe, data: ImageData) -> NetworkRequest:
    """Return which network a recipe trains on its data."""
    return NetworkRequest(
        variant=recipe.variant,
        classes=len(data.classes),
        stem=recipe.stem,
        seed=recipe.seed,
    )


def fit_settings(recipe: SourceRecipe) -> FitSettings:
    """Return how a recipe trains."""
    return FitSettings(
        epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
    )


def _train(run: SourceRun, path: Path) -> None:
    recipe = run.recipe
    data = source_data(run)
    network = build_network(network_request(recipe, data))
    told = _train_network(network, run, data)
    metadata = {_ENTRY: json.dumps(told, sort_keys=True)}
    save_tensors(path, network.state_dict(), metadata)


def _train_network(network: ResNet, run: SourceRun, data: ImageData) -> dict[str, Any]:
    recipe = run.recipe
    on_device = data.to(run.device)
    network.to(run.device)
    settings = fit_settings(recipe)
    trainer = make_trainer(network, STRATEGIES["scratch"], on_device, settings)
    trainer.train()
    if trainer.diverged:
        raise UsageError(
            f"training on {recipe.dataset} diverged at step "
            f"{trainer.diverged_at_step}: give a smaller learning rate"
        )
    test = evaluate(network, on_device.test, on_device.normalisation)
    training = SourceTraining(
        recipe=recipe,
        data_sha256=data.sha256(),
        tensors_sha256=tensors_sha256(network.state_dict()),
        steps=trainer.step,
        training_seconds=trainer.seconds,
        source_accuracy_percent=test.accuracy_percent,
    )
    return dataclasses.asdict(training)
