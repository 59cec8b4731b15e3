"""Training on resident tensors: a trainer that advances, pauses and resumes.

    trainer = Trainer(model, data.train, data.normalisation, plan)
    for step in trainer.pause_at((0, 1, 10, 100)):
        ...                       # `step` steps are done; look, but do not touch
    trainer.curve                 # one point per epoch

No step waits for the device: an epoch's batches are drawn and uploaded when it
begins, losses and errors are read when it ends. On CUDA the whole step can be replayed
as a graph. The same seed gives the same bits on the CPU with one thread (see
`seeding.compute_deterministically`).
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnet_bench.engine.data.batches import Augmentation, BatchOrder, Draws
from resnet_bench.engine.data.splits import Normalisation, Split
from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.engine.training.replay import Replay, leave_as_it_was

#: Share of the steps in which the one-cycle rate climbs (Smith and Topin 2018 let it
#: climb longer; 30 % is torch's OneCycleLR).
ONE_CYCLE_WARM_UP = 0.3

#: Share of the steps in which the cosine rate climbs.
COSINE_WARM_UP = 0.05

#: He et al. 2015, section 4.2.
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4

#: 32k and 48k of 64k iterations (He et al. 2015, section 4.2).
PAPER_DROPS = (0.5, 0.75)

#: Deep networks start at a tenth of the rate until the training error is below 80 %
#: (He et al. 2015, section 4.2, for 110 layers; about 400 iterations there).
PAPER_WARM_UP_DEPTH = 110
PAPER_WARM_UP_FACTOR = 0.1
PAPER_WARM_UP_ERROR_PERCENT = 80.0

#: The latest end of that warm-up, as a share of the steps: a network that never gets
#: below 80 % must not stay in its warm-up for ever.
PAPER_WARM_UP_LIMIT = 1 / 16

Optimizer = Literal["sgd", "adam"]


def one_cycle(progress: float) -> float:
    """Climb from 1/25 of the peak, then fall along a cosine to nearly nothing."""
    if progress < ONE_CYCLE_WARM_UP:
        return _between(0.04, 1.0, progress / ONE_CYCLE_WARM_UP)
    rest = (progress - ONE_CYCLE_WARM_UP) / (1 - ONE_CYCLE_WARM_UP)
    return _between(1.0, 4e-6, rest)


def cosine(progress: float) -> float:
    """Climb in a straight line for 5 % of the steps, then fall along a cosine."""
    if progress < COSINE_WARM_UP:
        return max(progress / COSINE_WARM_UP, 0.01)
    return _between(1.0, 0.0, (progress - COSINE_WARM_UP) / (1 - COSINE_WARM_UP))


def paper(progress: float) -> float:
    """Divide by 10 at a half and at three quarters of the steps."""
    return 0.1 ** sum(progress >= drop for drop in PAPER_DROPS)


def constant(progress: float) -> float:
    """Keep the peak."""
    return 1.0


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine wave from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


#: Rate over its peak as a function of progress (0 at the first step, below 1).
SHAPES: dict[str, Callable[[float], float]] = {
    "one-cycle": one_cycle,
    "cosine": cosine,
    "paper": paper,
    "constant": constant,
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A recipe's learning rate over `steps` steps with peak `peak`.

    `waits` puts the paper's warm-up for deep networks in front: a tenth of the rate
    until the training error falls below 80 %, for a sixteenth of the steps at most.
    """

    shape: str
    steps: int
    peak: float
    waits: bool = False

    def rate(self, step: int, warm: bool = True) -> float:
        """Return the rate of a step, from 0; `warm`: the warm-up has ended."""
        rate = self.peak * SHAPES[self.shape](step / self.steps)
        if self.waits and not warm and step < self.latest_warm_up_end:
            return rate * PAPER_WARM_UP_FACTOR
        return rate

    @property
    def latest_warm_up_end(self) -> int:
        """The step at which a waiting warm-up ends in any case."""
        return max(1, round(self.steps * PAPER_WARM_UP_LIMIT)) if self.waits else 0


def schedule_for(recipe: str, steps: int, peak: float, depth: int = 0) -> Schedule:
    """Return the schedule of a recipe; `depth` decides about the paper's warm-up."""
    waits = recipe == "paper" and depth >= PAPER_WARM_UP_DEPTH
    return Schedule(shape=recipe, steps=steps, peak=peak, waits=waits)


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How to train: everything but the model and the data.

    `seed` decides the order of the batches and the augmentation. `keep_last_batch`
    also trains on an epoch's incomplete last batch unless it holds a single image,
    from which batch norm learns nothing.
    """

    schedule: Schedule
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    augmentation: Augmentation = "none"
    seed: int = 0
    keep_last_batch: bool = False
    channels_last: bool = False
    autocast: torch.dtype | None = None


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that train at `rate_factor` times the schedule's rate."""

    parameters: Sequence[nn.Parameter]
    rate_factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EpochSummary:
    """Training loss and error over one epoch, while weights changed.

    `step` steps are done. `loss` is None where it was not finite.
    """

    epoch: int
    step: int
    learning_rate: float
    loss: float | None
    error_percent: float


def make_optimizer(
    groups: Sequence[ParameterGroup], plan: TrainingPlan, *, capturable: bool = False
) -> torch.optim.Optimizer:
    """Return the plan's optimizer over the groups, `rate_factor` kept in each.

    `capturable`: a CUDA graph can hold its steps.
    """
    parameters: list[dict[str, Any]] = [
        {"params": list(group.parameters), "rate_factor": group.rate_factor}
        for group in groups
    ]
    if plan.optimizer == "adam":
        return torch.optim.Adam(
            parameters, weight_decay=WEIGHT_DECAY, fused=True, capturable=capturable
        )
    return torch.optim.SGD(
        parameters,
        lr=plan.schedule.peak,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )


class Trainer:
    """Trains a model step by step over resident tensors.

    `model` is trained in place on the device where `split` lies. `groups` limits or
    scales what is trained (default: every parameter that requires a gradient).
    `set_mode` puts the model into its training mode before each epoch (a frozen
    backbone stays in eval mode that way). `clock` returns seconds. Several `ranks`
    share every batch: gradients and the curve are those of the whole batch. `graphs`
    (`torch.cuda` or a stand-in) lets the step be recorded and replayed as a CUDA graph.
    """

    def __init__(
        self,
        model: nn.Module,
        split: Split,
        normalisation: Normalisation,
        plan: TrainingPlan,
        *,
        groups: Sequence[ParameterGroup] | None = None,
        set_mode: Callable[[nn.Module], object] = nn.Module.train,
        clock: Callable[[], float] = time.perf_counter,
        ranks: Ranks = ALONE,
        graphs: Any = None,
    ) -> None:
        self.model = model
        self.ranks = ranks
        self.split = split
        self.normalisation = normalisation
        self.plan = plan
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(
            groups or [ParameterGroup(trained)], plan, capturable=graphs is not None
        )
        self.set_mode = set_mode
        self.clock = clock
        self.order = BatchOrder(
            split, plan.batch_size, plan.seed, plan.keep_last_batch, plan.augmentation
        )
        self.step = 0
        self.seconds = 0.0
        self.peak_bytes: int | None = None
        self.warm = False
        self.diverged_at_step: int | None = None
        self.curve: list[EpochSummary] = []
        if plan.channels_last:
            model.to(memory_format=torch.channels_last)
        self._forward = ranks.wrap(model)
        self._replay = Replay(self._step, self._changed, graphs) if graphs else None
        self._make_room(rates=self._on_cuda or graphs is not None)

    @property
    def _on_cuda(self) -> bool:
        return self.split.labels.is_cuda

    def _make_room(self, *, rates: bool) -> None:
        """Make the tensors for an epoch's losses and, if asked for, rates.

        A rate in a tensor is changed without waiting, and a graph reads it anew.
        """
        device = self.split.labels.device
        self._losses = torch.zeros(self.order.batches, device=device)
        self._errors = torch.zeros_like(self._losses, dtype=torch.int64)
        self._images = 0
        count = len(self.optimizer.param_groups) if rates else 0
        self._rates = list(torch.zeros(count, device=device))

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.plan.schedule.steps

    @property
    def diverged(self) -> bool:
        """Whether a loss was not finite; training has stopped there."""
        return self.diverged_at_step is not None

    def pause_at(self, pauses: Iterable[int] = ()) -> Iterator[int]:
        """Train to the end, yielding the number of finished steps at each pause.

        Always yields at the last step; a training that diverges ends without
        another pause. Time spent by the caller is not counted in `seconds`.
        """
        last = self.steps
        stops = sorted({p for p in pauses if self.step <= p < last} | {last})
        for stop in stops:
            self.advance(stop - self.step)
            if self.diverged:
                return
            yield stop

    def train(self) -> None:
        """Train to the end, or until the loss is no longer finite."""
        self.advance(self.steps - self.step)

    def advance(self, steps: int) -> None:
        """Take `steps` more steps; stops early after an epoch that diverged."""
        if self._on_cuda:
            torch.cuda.reset_peak_memory_stats(self.split.labels.device)
        started = self.clock()
        self.set_mode(self.model)
        for _ in range(steps):
            self._take_step()
            if self.order.at_epoch_end or self.step == self.steps:
                self._end_epoch()
                if self.diverged:
                    break
        self._synchronise()
        self.seconds += self.clock() - started
        if self._on_cuda:
            peak = torch.cuda.max_memory_allocated(self.split.labels.device)
            self.peak_bytes = max(self.peak_bytes or 0, peak)

    def prepare(self) -> None:
        """Start CUDA, compile and record what only a first step would have to.

        Leaves no trace: weights, statistics and random states stay as they are.
        """
        self.set_mode(self.model)
        # A graph must hold the tensors of the rates, not the numbers of a first step.
        self._set_rate(self.plan.schedule.rate(self.step, self.warm))
        example = self.order.example()
        if self._replay is not None:
            self._replay.record(*example.tensors.values())
        else:
            leave_as_it_was(lambda: self._step(**example.tensors), self._changed)
            self.optimizer.zero_grad(set_to_none=True)
        self._synchronise()

    def _changed(self) -> list[Tensor]:
        """Return what a step changes: weights, statistics, the optimizer's state."""
        kept = self.optimizer.state.values()
        momenta = [each for state in kept for each in state.values()]
        own = [*self.model.parameters(), *self.model.buffers()]
        return own + [each for each in momenta if isinstance(each, Tensor)]

    def _take_step(self) -> None:
        self._set_rate(self.plan.schedule.rate(self.step, self.warm))
        draws = self.order.next()
        if self._replay is None:
            loss, errors = self._step(**draws.tensors)
        else:
            loss, errors = self._replay(*draws.tensors.values())
        place = self.order.taken - 1
        self._losses[place].copy_(loss)
        self._errors[place].copy_(errors)
        self._images += len(self.ranks.shard(draws.indices))
        self.step += 1

    def _set_rate(self, rate: float) -> None:
        for place, group in enumerate(self.optimizer.param_groups):
            own = rate * group["rate_factor"]
            group["lr"] = self._rates[place].fill_(own) if self._rates else own

    def _step(
        self,
        indices: Tensor,
        shifts: Tensor | None = None,
        flips: Tensor | None = None,
        crops: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Train on a batch; returns its loss and the number of errors."""
        images, labels = self._batch(Draws(indices, shifts, flips, crops))
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(
            images.device.type, self.plan.autocast, enabled=bool(self.plan.autocast)
        ):
            logits = self._forward(images)
            loss = cross_entropy(logits, labels)
            if not self.ranks.alone:
                loss = loss * self.ranks.weight(len(labels), len(indices))
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach(), (logits.detach().argmax(1) != labels).sum()

    def _batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        drawn = self.split.drawn(draws.indices, draws.crops)
        images = self.normalisation.apply(drawn)
        # Ranks draw for the whole batch, so that each image is what it would be alone.
        images = self.ranks.shard(draws.augment(images))
        if self.plan.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images, self.ranks.shard(self.split.labels[draws.indices])

    def _end_epoch(self) -> None:
        """Read losses and errors back from the device, once per epoch."""
        steps = self.order.taken
        losses = self.ranks.mean_of(self._losses[:steps].cpu())
        errors = self.ranks.total(int(self._errors[:steps].sum()))
        images = self.ranks.total(self._images)
        broken = torch.nonzero(~losses.isfinite()).flatten()
        if len(broken):
            first = self.step - len(losses) + int(broken[0]) + 1
            self.diverged_at_step = first
        summary = EpochSummary(
            epoch=len(self.curve) + 1,
            step=self.step,
            learning_rate=self.plan.schedule.rate(self.step - 1, self.warm),
            loss=None if len(broken) else float(losses.mean()),
            error_percent=100 * errors / images,
        )
        self.curve.append(summary)
        self.warm = self.warm or summary.error_percent < PAPER_WARM_UP_ERROR_PERCENT
        self._images = 0

    def _synchronise(self) -> None:
        """Wait for the device that trains, so that `seconds` is the work's time."""
        if self._on_cuda:
            torch.cuda.synchronize(self.split.labels.device)

    def state_dict(self) -> dict[str, Any]:
        """Return all that resuming needs: weights, optimizer, order, random state.

        To be taken between `advance` calls; with `load_state_dict` the training
        goes on as if it had not been interrupted, bit for bit.
        """
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "order": self.order.state_dict(),
            "global_draw": torch.get_rng_state(),
            "step": self.step,
            "warm": self.warm,
            "seconds": self.seconds,
            "curve": [vars(summary).copy() for summary in self.curve],
            "losses": self._losses.clone(),
            "errors": self._errors.clone(),
            "images": self._images,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a `state_dict()`, with the same model, data and plan."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.order.load_state_dict(state["order"])
        torch.set_rng_state(state["global_draw"])
        self.step = state["step"]
        self.warm = state["warm"]
        self.seconds = state["seconds"]
        self.curve = [EpochSummary(**point) for point in state["curve"]]
        self._losses.copy_(state["losses"])
        self._errors.copy_(state["errors"])
        self._images = state["images"]
        if self._replay is not None:
            self._replay.forget()
