"""Training one network on one target by one strategy, epoch by epoch."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from resnet_bench.engine.data import ImageData
from resnet_bench.engine.data.batches import augmentation_for, steps_per_epoch
from resnet_bench.engine.data.splits import is_grey
from resnet_bench.engine.models.resnets import NetworkRequest, build_network
from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.engine.training.evaluation import BatchNorm, Evaluation, evaluate
from resnet_bench.engine.training.strategies import (
    EVALUATIONS,
    STRATEGIES,
    Strategy,
    enough_epochs,
)
from resnet_bench.engine.training.trainer import (
    ParameterGroup,
    Trainer,
    TrainingPlan,
    schedule_for,
)
from resnet_bench.errors import InputOutputError, UsageError

#: Share of the training images held out to choose among learning rates.
VALIDATION_SHARE = 0.2

_ESTIMATING_STEPS = 2


def apply_strategy(network: nn.Module, strategy: Strategy) -> None:
    """Set `requires_grad` of every parameter as the strategy says."""
    norms = set(_norm_parameters(network)) if strategy.norms else set()
    for name, parameter in network.named_parameters():
        chosen = any(name.startswith(prefix) for prefix in strategy.trains)
        parameter.requires_grad = chosen or name in norms


def training_mode(strategy: Strategy) -> Callable[[nn.Module], None]:
    """Return what puts a network in train mode, its frozen batch norms in eval.

    A batch norm in train mode follows the batches even when its parameters are
    frozen; only a strategy that drifts lets that happen.
    """

    def set_mode(network: nn.Module) -> None:
        network.train()
        if not strategy.drift:
            for module in network.modules():
                if isinstance(module, BatchNorm) and not module.weight.requires_grad:
                    module.eval()

    return set_mode


def parameter_groups(network: nn.Module, strategy: Strategy) -> list[ParameterGroup]:
    """Return the trainable parameters by their factor on the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            factor = strategy.learning_rate_factor(name)
            groups.setdefault(factor, []).append(parameter)
    return [ParameterGroup(members, factor) for factor, members in groups.items()]


def _norm_parameters(network: nn.Module) -> Iterator[str]:
    for prefix, module in network.named_modules():
        if isinstance(module, BatchNorm):
            for name, _ in module.named_parameters(prefix=prefix, recurse=False):
                yield name


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to train: as many epochs as said, or more where they give too few steps.

    `extra_steps` come on top of them.
    """

    epochs: int
    least_steps: int = 0
    learning_rate: float
    batch_size: int
    seed: int
    extra_steps: int = 0
    autocast: torch.dtype | None = None
    channels_last: bool = False
    compiled: bool = False
    ranks: Ranks = ALONE


@dataclass(frozen=True, kw_only=True)
class EpochState:
    """The state of a training after `epoch` epochs; `seconds` excludes evaluation."""

    epoch: int
    step: int
    seconds: float
    train_loss: float | None
    test: Evaluation


@dataclass(frozen=True, kw_only=True)
class RateChoice:
    """The chosen learning rate, and each one's result on held-out training images."""

    learning_rate: float
    accuracy_percent: dict[str, float]


def make_trainer(
    network: nn.Module, strategy: Strategy, data: ImageData, settings: FitSettings
) -> Trainer:
    """Return a trainer that trains what the strategy says, in the mode it says.

    An incomplete last batch is trained on too, unless it is a single image.
    """
    apply_strategy(network, strategy)
    batches = steps_per_epoch(len(data.train), settings.batch_size, keep_last=True)
    epochs = enough_epochs(settings.epochs, settings.least_steps, batches)
    steps = batches * epochs + settings.extra_steps
    plan = TrainingPlan(
        schedule=schedule_for("one-cycle", steps, settings.learning_rate),
        batch_size=settings.batch_size,
        augmentation=augmentation_for("auto", _stored_channels(data), flips=data.flips),
        seed=settings.seed,
        keep_last_batch=True,
        channels_last=settings.channels_last,
        autocast=settings.autocast,
    )
    groups = parameter_groups(network, strategy)
    trained: nn.Module = network
    if settings.compiled:
        trained = cast(nn.Module, torch.compile(network))
    trainer = Trainer(
        trained,
        data.train,
        data.normalisation,
        plan,
        groups=groups,
        set_mode=training_mode(strategy),
        ranks=settings.ranks,
    )
    if settings.compiled or data.train.labels.is_cuda:
        trainer.prepare()
    return trainer


def train_epochs(
    trainer: Trainer, data: ImageData, state_file: Path | None = None
) -> Iterator[EpochState]:
    """Train to the end, evaluating now and then; nothing is chosen by it.

    With `state_file` the first rank keeps the state after every epoch but the last,
    and a training that left one there goes on from it; a finished training removes it.
    Raises UsageError when the state is of another training.
    """
    if state_file is not None:
        _resume(trainer, state_file)
    keeps = state_file if trainer.ranks.writes else None
    batches = trainer.order.batches
    epochs = math.ceil(trainer.steps / batches)
    while trainer.step < trainer.steps and not trainer.diverged:
        trainer.advance(min(batches, trainer.steps - trainer.step))
        if keeps is not None and trainer.step < trainer.steps:
            _keep(trainer, keeps)
        epoch = len(trainer.curve)
        due = EVALUATIONS * epoch // epochs > EVALUATIONS * (epoch - 1) // epochs
        if not due and not trainer.diverged:
            continue
        yield EpochState(
            epoch=epoch,
            step=trainer.step,
            seconds=trainer.seconds,
            train_loss=trainer.curve[-1].loss,
            test=evaluate(trainer.model, data.test, data.normalisation),
        )
    if keeps is not None:
        keeps.unlink(missing_ok=True)


def seconds_per_image(
    request: NetworkRequest, data: ImageData, settings: FitSettings
) -> float:
    """Time two training steps, after one to warm up, and divide by their images."""
    network = build_network(request).to(data.train.labels.device)
    trainer = make_trainer(network, STRATEGIES["scratch"], data, settings)
    trainer.advance(1)
    before = trainer.seconds
    trainer.advance(_ESTIMATING_STEPS)
    images = min(settings.batch_size, len(data.train)) * _ESTIMATING_STEPS
    return (trainer.seconds - before) / images


def choose_rate(
    build: Callable[[], nn.Module],
    strategy: Strategy,
    data: ImageData,
    settings: FitSettings,
    rates: tuple[float, ...],
) -> RateChoice:
    """Train a fresh network at each rate and take the best on held out images.

    The validation images are a stratified fifth of the training half; the test half
    is not looked at. Ties go to the smaller loss, then to the smaller rate.
    """
    inner = _with_validation(data, settings.seed)
    found: dict[float, Evaluation] = {}
    for rate in rates:
        settings_at = replace(settings, learning_rate=rate)
        trainer = make_trainer(build(), strategy, inner, settings_at)
        trainer.train()
        found[rate] = evaluate(trainer.model, inner.test, inner.normalisation)
    best = min(rates, key=lambda rate: (found[rate].errors, _loss(found[rate]), rate))
    return RateChoice(
        learning_rate=best,
        accuracy_percent={f"{r:g}": e.accuracy_percent for r, e in found.items()},
    )


def _loss(evaluation: Evaluation) -> float:
    return float("inf") if evaluation.loss is None else evaluation.loss


def _with_validation(data: ImageData, seed: int) -> ImageData:
    order = data.train.nested_order(seed)
    held_out = max(1, round(VALIDATION_SHARE * len(order)))
    if len(order) - held_out < 2:
        raise UsageError(
            f"{len(order)} training images are too few to choose a learning rate: give "
            "one --lr"
        )
    return replace(
        data,
        train=data.train.take(order[held_out:].to(data.train.labels.device)),
        test=data.train.take(order[:held_out].to(data.train.labels.device)),
    )


def _stored_channels(data: ImageData) -> int:
    """Return 1 when all channels are copies of one: grey images have no flips."""
    return 1 if is_grey(next(data.train.batches(64))) else data.channels


def _resume(trainer: Trainer, state_file: Path) -> None:
    if not state_file.is_file():
        return
    try:
        # On the CPU: random states must be there, the rest moves by itself.
        state = torch.load(state_file, map_location="cpu", weights_only=True)
        trainer.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError, EOFError, TypeError) as error:
        raise UsageError(
            f"--checkpoint: {state_file} is damaged or belongs to another training; "
            "remove it"
        ) from error


def _keep(trainer: Trainer, state_file: Path) -> None:
    unfinished = state_file.with_name(state_file.name + ".unfinished")
    try:
        state_file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(trainer.state_dict(), unfinished)
        unfinished.replace(state_file)
    except (OSError, RuntimeError) as error:
        raise InputOutputError(f"cannot write {state_file}: {error}") from error
