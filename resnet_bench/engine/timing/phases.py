"""The parts of a training step and of inference, each with its exact boundaries."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import nn

from resnet_bench.engine.devices import Device
from resnet_bench.engine.runtimes.base import Terms, convert
from resnet_bench.engine.timing.clock import Clock, seconds_of

#: Small enough that hundreds of steps on one batch stay finite; time does not
#: depend on it.
LEARNING_RATE = 1e-4
MOMENTUM = 0.9


@dataclass(frozen=True)
class Setting:
    """How a model is run, whatever the model.

    With `autocast` weights and images stay float32 and operators compute in
    `dtype`; without it everything is in `dtype`. `runtime` says what another runtime
    than torch is asked for; images are float32 then.
    """

    device: Device
    batch_size: int
    image_size: int
    dtype: torch.dtype = torch.float32
    autocast: bool = False
    channels_last: bool = False
    compiled: bool = False
    cuda_graphs: bool = False
    seed: int = 0
    runtime: Terms | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a batch of images."""
        return (self.batch_size, 3, self.image_size, self.image_size)

    @property
    def storage(self) -> torch.dtype:
        """The format in which weights and images are kept."""
        return torch.float32 if self.autocast else self.dtype

    @property
    def memory_format(self) -> torch.memory_format:
        """The order of the axes in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def context(self) -> AbstractContextManager[object]:
        """Return what surrounds the model and its loss."""
        if not self.autocast:
            return nullcontext()
        return torch.autocast(self.device.kind, dtype=self.dtype)


@dataclass(frozen=True)
class Batch:
    """Images (N, 3, H, W) and their classes (N), made once and on the device."""

    images: torch.Tensor
    targets: torch.Tensor


def make_batch(setting: Setting, classes: int) -> Batch:
    """Draw images from a normal distribution, never zeros, and targets uniformly."""
    source = torch.Generator().manual_seed(setting.seed)
    images = torch.randn(setting.shape, generator=source)
    targets = torch.randint(classes, (setting.batch_size,), generator=source)
    device = setting.device.torch
    return Batch(
        images=images.to(device, setting.storage).to(
            memory_format=setting.memory_format
        ),
        targets=targets.to(device),
    )


def place(model: nn.Module, setting: Setting) -> nn.Module:
    """Put the model on the device in the setting's format, order and compilation.

    Another runtime than torch gets it as it is, in float32 on the CPU.
    """
    if setting.runtime is not None:
        return convert(lambda: model, setting.shape, setting.runtime)
    model = model.to(setting.device.torch, setting.storage)
    if setting.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if not setting.compiled:
        return model
    mode = "reduce-overhead" if setting.cuda_graphs else "default"
    compiled: nn.Module = torch.compile(model, mode=mode)  # type: ignore[assignment]
    return compiled


def set_training(model: nn.Module, training: bool) -> None:
    """Switch the model's mode if it is in the other one."""
    if model.training is not training:
        model.train(training)


@dataclass
class Training:
    """A model with all that a training step needs.

    Float16 under autocast gets a gradient scaler, as it is trained in practice. On
    CUDA the optimizer is one kernel: its many small ones would wait for the host.
    """

    model: nn.Module
    batch: Batch
    setting: Setting
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)

    def __post_init__(self) -> None:
        """Make the optimizer, and the scaler where it is needed."""
        setting = self.setting
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=LEARNING_RATE,
            momentum=MOMENTUM,
            fused=setting.device.is_cuda or None,
        )
        scaled = setting.autocast and setting.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(setting.device.kind, enabled=scaled)

    def forward(self) -> torch.Tensor:
        """Call the model in training mode; returns (N, classes)."""
        output: torch.Tensor = self.model(self.batch.images)
        return output

    def loss(self, output: torch.Tensor) -> torch.Tensor:
        """Return the mean cross entropy, in float32 as autocast would have it."""
        return nn.functional.cross_entropy(output.float(), self.batch.targets)

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of the loss."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Let the optimizer change the weights."""
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def forget(self) -> None:
        """Set all gradients to None."""
        self.optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class SplitStep:
    """A training step with a clock mark between its parts.

    Forgetting the last gradients is no part of any phase, so that `backward` always
    writes to fresh memory on a fresh graph.
    """

    training: Training
    phases: tuple[str, ...] = ("forward", "loss", "backward", "optimizer")
    block: str | None = None

    def call(self, clock: Clock) -> Sequence[float]:
        """Make one step and return the seconds of each phase."""
        training = self.training
        set_training(training.model, True)
        training.forget()
        with training.setting.context():
            marks = [clock.begin()]
            output = training.forward()
            marks.append(clock.mark())
            loss = training.loss(output)
            marks.append(clock.mark())
        training.backward(loss)
        marks.append(clock.mark())
        training.update()
        marks.append(clock.mark())
        return clock.between(marks)

    def work(self) -> None:
        """Make one step without marks."""
        WholeStep(self.training).work()


@dataclass(frozen=True)
class WholeStep:
    """A training step timed as one, forgetting gradients included."""

    training: Training
    phases: tuple[str, ...] = ("step",)
    block: str | None = "train"

    def call(self, clock: Clock) -> Sequence[float]:
        """Make one step and return its seconds."""
        return seconds_of(self.work, clock)

    def work(self) -> None:
        """Make one step without timing or waiting."""
        training = self.training
        set_training(training.model, True)
        training.forget()
        with training.setting.context():
            loss = training.loss(training.forward())
        training.backward(loss)
        training.update()


@dataclass(frozen=True)
class MarkedStep:
    """A training step timed as one with marks between its parts, for the CPU.

    There a mark waits for nothing, so one step answers for the whole and the parts.
    """

    training: Training
    phases: tuple[str, ...] = (*SplitStep.phases, *WholeStep.phases)
    block: str | None = WholeStep.block

    def call(self, clock: Clock) -> Sequence[float]:
        """Make one step and return the seconds of each phase and of the whole."""
        begin = clock.begin()
        parts = SplitStep(self.training).call(clock)
        return [*parts, *clock.between([begin, clock.mark()])]

    def work(self) -> None:
        """Make one step without marks."""
        WholeStep(self.training).work()


@dataclass(frozen=True)
class Inference:
    """The model in evaluation mode, without anything for gradients.

    torch.compile does not trace inference mode reliably, so it gets `no_grad`.
    """

    model: nn.Module
    batch: Batch
    setting: Setting
    phases: tuple[str, ...] = ("inference",)
    block: str | None = "inference"

    def call(self, clock: Clock) -> Sequence[float]:
        """Call the model once and return its seconds."""
        set_training(self.model, False)
        with self._without_gradients(), self.setting.context():
            return seconds_of(lambda: self.model(self.batch.images), clock)

    def work(self) -> None:
        """Call the model once without timing or waiting."""
        set_training(self.model, False)
        with self._without_gradients(), self.setting.context():
            self.model(self.batch.images)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the model's logits for other images, in float32 on the CPU."""
        setting = self.setting
        placed = images.to(setting.device.torch, setting.storage)
        set_training(self.model, False)
        with self._without_gradients(), setting.context():
            answer: torch.Tensor = self.model(
                placed.to(memory_format=setting.memory_format)
            )
        return answer.to("cpu", torch.float32, copy=True)

    def _without_gradients(self) -> AbstractContextManager[object]:
        return torch.no_grad() if self.setting.compiled else torch.inference_mode()
