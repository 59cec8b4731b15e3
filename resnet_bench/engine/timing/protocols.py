"""Takes times by other projects' rules, in place of this project's sampler."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import ClassVar

import torch
from torch import nn

from resnet_bench.engine.timing.clock import Clock
from resnet_bench.engine.timing.phases import (
    Inference,
    Training,
    WholeStep,
    set_training,
)
from resnet_bench.engine.timing.sampling import Sampler, Visit, add_call
from resnet_bench.engine.timing.workload import Workload

#: timm's `benchmark.py`: --num-warm-iter and --num-bench-iter, and its SGD
#: (`create_optimizer_v2`: Nesterov, momentum 0.9).
TIMM_WARMUP, TIMM_CALLS = 10, 40
TIMM_LEARNING_RATE, TIMM_MOMENTUM = 1e-4, 0.9


@dataclass
class ProtocolSampler(Sampler):
    """Takes everything in one visit, by another project's rules.

    `take` makes the calls and returns warm-up and samples.
    """

    take: Callable[[Clock], "Taken"] = field(kw_only=True)
    once: ClassVar[bool] = True

    @property
    def follows_marks(self) -> bool:
        """A protocol measures throughput by its own rule, or not at all."""
        return False

    def warm_up(self) -> None:
        """Do nothing: the protocol has its own warm-up."""

    def _visit(self) -> Visit:
        """Follow the protocol once."""
        begin = self.clock.begin()
        taken = self.take(self.clock)
        self.warmup = taken.warmup
        taken.seconds = self._since(begin)
        return taken


@dataclass
class Taken(Visit):
    """The result of a protocol: a visit, and the warm-up before it."""

    warmup: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class TimmStep:
    """timm's training step: forgetting gradients is outside, targets are inside.

    With `split` there is a mark behind the forward and the backward pass (its
    `--detail`). Under autocast the loss and the backward pass are inside of it.
    """

    training: Training
    split: bool

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of one call."""
        return ("forward", "backward", "optimizer") if self.split else ("step",)

    @property
    def block(self) -> str | None:
        """Whole steps give the throughput."""
        return None if self.split else "train"

    def call(self, clock: Clock) -> Sequence[float]:
        """Make one step and return the seconds of its phases."""
        training = self.training
        set_training(training.model, True)
        training.forget()
        marks = [clock.begin()]
        with training.setting.context():
            output = training.forward()
            if self.split:
                marks.append(clock.mark())
            loss = nn.functional.cross_entropy(output, _targets(output))
            loss.backward()  # type: ignore[no-untyped-call]
            if self.split:
                marks.append(clock.mark())
        training.optimizer.step()
        marks.append(clock.mark())
        return clock.between(marks)


def _targets(output: torch.Tensor) -> torch.Tensor:
    images, classes = output.shape
    empty = torch.empty((images,), device=output.device, dtype=torch.long)
    return empty.random_(classes)


def timm(workload: Workload, clock: Clock) -> Taken:
    """Time inference and training as timm's `benchmark.py` does."""
    taken = Taken()
    if workload.inference is not None:
        _timm_run(workload.inference, clock, taken, TIMM_WARMUP)
    if workload.training is not None:
        training = workload.training
        training.optimizer = torch.optim.SGD(
            training.model.parameters(),
            lr=TIMM_LEARNING_RATE,
            momentum=TIMM_MOMENTUM,
            nesterov=True,
        )
        _timm_run(TimmStep(training, split=False), clock, taken, TIMM_WARMUP)
        # Whole steps have warmed the same code up.
        _timm_run(TimmStep(training, split=True), clock, taken, 0)
    return taken


def _timm_run(
    unit: Inference | TimmStep, clock: Clock, taken: Taken, warmup: int
) -> None:
    for _ in range(warmup):
        add_call(taken.warmup, unit.phases, unit.call(clock))
    begin = clock.begin()
    calls = [unit.call(clock) for _ in range(TIMM_CALLS)]
    seconds = clock.between([begin, clock.mark()])[0]
    for call in calls:
        add_call(taken.samples, unit.phases, call)
    if unit.block is not None:
        taken.rates[unit.block] = [TIMM_CALLS / seconds]


def torch_timer(workload: Workload, clock: Clock) -> Taken:
    """Time with `torch.utils.benchmark.Timer`, on its own clock.

    A sample is the mean of a block; backward is what it adds to forward and loss.
    """
    del clock
    taken = Taken()
    if workload.training is not None:
        taken.samples |= _timed_training(workload.training)
    if workload.inference is not None:
        taken.samples["inference"] = _block_means(workload.inference.work)
    return taken


def _timed_training(training: Training) -> dict[str, list[float]]:
    set_training(training.model, True)

    def forward() -> torch.Tensor:
        with training.setting.context():
            return training.forward()

    def loss() -> torch.Tensor:
        with training.setting.context():
            return training.loss(training.forward())

    def backward() -> None:
        training.forget()
        training.backward(loss())

    before = median(_block_means(loss))
    return {
        "forward": _block_means(forward),
        "backward": [seconds - before for seconds in _block_means(backward)],
        "step": _block_means(WholeStep(training).work),
    }


def _block_means(statement: Callable[[], object]) -> list[float]:
    """Return the seconds of a call, block by block."""
    # Here, since it brings torch's C++ builder, which complains of a missing GPU.
    from torch.utils.benchmark import Timer

    timer = Timer(
        "statement()",
        globals={"statement": statement},
        num_threads=torch.get_num_threads(),
    )
    return [float(seconds) for seconds in timer.blocked_autorange().times]


#: What takes the times of a workload, by the name of the protocol.
TAKERS: dict[str, Callable[[Workload, Clock], Taken]] = {
    "timm": timm,
    "torch-timer": torch_timer,
}
