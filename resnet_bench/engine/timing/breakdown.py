"""A training step timed by part of the network, forward and backward.

The parts are timed inside of the step that they make up, with the same graph and the
same memory; taken apart, each would hold on to what the step frees on its way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from resnet_bench.engine.models.work import Work, work_between
from resnet_bench.engine.timing.clock import Clock
from resnet_bench.engine.timing.phases import Training, WholeStep, set_training
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
    """A whole training step with a clock mark wherever one part ends.

    Backward, a mark is taken when the gradient of what came into a part is complete:
    all that lies behind it has run by then, and nothing before it has begun.
    """

    training: Training
    pieces: Sequence[Part]
    block: str | None = None

    @property
    def phases(self) -> tuple[str, ...]:
        """Parts forward, the loss, parts backward from the last one, the update."""
        names = [part.name for part in self.pieces]
        return (
            *map(forward_phase, names),
            "parts:loss",
            *map(backward_phase, reversed(names)),
            "parts:optimizer",
        )

    def call(self, clock: Clock) -> Sequence[float]:
        """Make one step and return the seconds of each phase."""
        training = self.training
        set_training(training.model, True)
        training.forget()
        with training.setting.context():
            marks = [clock.begin()]

            def note(_: Tensor) -> None:
                marks.append(clock.mark())

            hidden = training.batch.images
            without_gradient = 0
            for piece in self.pieces:
                hidden = piece.module(hidden)
                marks.append(clock.mark())
                if hidden.requires_grad:
                    hidden.register_hook(note)
                else:
                    without_gradient += 1
            loss = training.loss(hidden)
        training.backward(loss)
        # The first part with weights ends now; what is before it has no backward.
        marks += [clock.mark() for _ in range(1 + without_gradient)]
        training.update()
        marks.append(clock.mark())
        return clock.between(marks)

    def work(self) -> None:
        """Make one step without timing it."""
        WholeStep(self.training).work()


def work_of_parts(pieces: Sequence[Part], image_size: int) -> dict[str, Work]:
    """Count each part's parameters, multiply-adds and activations per image."""
    images = torch.zeros(1, 3, image_size, image_size, device="meta")
    found: dict[str, Work] = {}
    for piece in pieces:
        counted = work_between(piece.module, images)
        found[piece.name] = counted.work
        images = counted.output
    return found
