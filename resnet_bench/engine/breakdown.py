"""A training step cut into the network's parts, each timed forward and backward.

The parts run one after the other on detached inputs, so that the backward pass of
each is a call of its own. What is computed is what the whole network computes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from resnet_bench.engine.clock import Clock
from resnet_bench.engine.phases import Training, set_training
from resnet_bench.engine.work import Work, work_between
from resnet_bench.errors import UsageError


@dataclass(frozen=True)
class Part:
    """A piece of a network that takes the output of the piece before it."""

    name: str
    module: nn.Module


def stages_of(model: nn.Module, name: str) -> list[Part]:
    """Return stem, layer1 to layer4 and fc, or the children of an nn.Sequential.

    Raises UsageError for a model whose parts do not follow one another.
    """
    if isinstance(model, ResNet):
        return [
            Part(
                "stem", nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
            ),
            *(Part(f"layer{n}", getattr(model, f"layer{n}")) for n in range(1, 5)),
            Part("fc", nn.Sequential(model.avgpool, nn.Flatten(1), model.fc)),
        ]
    if isinstance(model, nn.Sequential):
        return [Part(child, module) for child, module in model.named_children()]
    raise UsageError(
        f"--breakdown: {name} is neither a ResNet of torchvision nor an nn.Sequential, "
        "so its parts are not known to follow one another"
    )


def layers_of(model: nn.Module, name: str) -> list[Part]:
    """Return the stages with each residual stage cut into its blocks."""
    return [
        piece for stage in stages_of(model, name) for piece in _blocks(stage, model)
    ]


def _blocks(stage: Part, model: nn.Module) -> list[Part]:
    if not isinstance(model, ResNet) or not stage.name.startswith("layer"):
        return [stage]
    children = stage.module.named_children()
    return [Part(f"{stage.name}.{number}", block) for number, block in children]


#: By the detail asked for: what cuts a model into parts.
CUTS: dict[str, Callable[[nn.Module, str], list[Part]]] = {
    "stage": stages_of,
    "layer": layers_of,
}


def forward_phase(part: str) -> str:
    """Return the phase under which a part's forward pass is timed."""
    return f"{part}:forward"


def backward_phase(part: str) -> str:
    """Return the phase under which a part's backward pass is timed."""
    return f"{part}:backward"


@dataclass(frozen=True)
class PartedStep:
    """Forward and backward through all parts, with a clock mark after each."""

    training: Training
    pieces: Sequence[Part]
    parts: tuple[str, ...] = ()
    block: str | None = None

    @property
    def phases(self) -> tuple[str, ...]:
        """Parts forward, then the loss, then parts backward from the last one."""
        names = [part.name for part in self.pieces]
        return (
            *map(forward_phase, names),
            "parts:loss",
            *map(backward_phase, reversed(names)),
        )

    def call(self, clock: Clock) -> Sequence[float]:
        """Make one pass and return the seconds of each phase."""
        training = self.training
        set_training(training.model, True)
        training.forget()
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        with training.setting.context():
            marks = [clock.begin()]
            for piece in self.pieces:
                before = outputs[-1] if outputs else training.batch.images
                # As in the whole network, images need no gradient.
                inputs.append(before.detach().requires_grad_(bool(outputs)))
                outputs.append(piece.module(inputs[-1]))
                marks.append(clock.mark())
            last = outputs[-1].detach().requires_grad_()
            training.backward(training.loss(last))
            marks.append(clock.mark())
        gradient = last.grad
        for start, end in zip(reversed(inputs), reversed(outputs), strict=True):
            torch.autograd.backward(end, gradient)
            gradient = start.grad
            marks.append(clock.mark())
        return clock.between(marks)

    def work(self) -> None:
        """Make one pass without timing it."""
        self.training.backward(self.training.loss(self.training.forward()))


def work_of_parts(pieces: Sequence[Part], image_size: int) -> dict[str, Work]:
    """Count each part's parameters, multiply-adds and activations per image."""
    images = torch.zeros(1, 3, image_size, image_size, device="meta")
    found: dict[str, Work] = {}
    for piece in pieces:
        counted = work_between(piece.module, images)
        found[piece.name] = counted.work
        images = counted.output
    return found
