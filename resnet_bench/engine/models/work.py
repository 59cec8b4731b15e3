"""How much a model computes per image, counted without computing it."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

#: Layers whose outputs count as activations (Radosavovic et al. 2020, "Designing
#: Network Design Spaces", section 3, counts convolutions; fully connected layers
#: are added so that their share of the work is not without any).
COUNTED_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True)
class Work:
    """What one image costs in a forward pass, and how many numbers a model holds.

    `activations` are the elements that convolutions and fully connected layers put
    out; `moved` those that all operators read and write, weights left out; `classes`
    the numbers that the model returns per image.
    """

    parameters: int
    multiply_adds: int
    activations: int
    moved: int
    classes: int

    @property
    def flop(self) -> int:
        """Floating point operations; a multiplication with addition counts two."""
        return 2 * self.multiply_adds


def work_of(model: nn.Module, image_size: int) -> Work:
    """Count the work of a model for images of three channels and that size.

    Counts on the meta device, where shapes are known but nothing is computed. A
    model that needs real numbers to run is called once instead.
    """
    try:
        return _count(copy.deepcopy(model).to("meta"), image_size)
    except RuntimeError:
        return _count(model, image_size)


def device_of(model: nn.Module) -> torch.device:
    """Return where the model's parameters are; the CPU for a model without any."""
    return next((each.device for each in model.parameters()), torch.device("cpu"))


def parameter_count(model: nn.Module) -> int:
    """Return the number of learnt values."""
    return sum(parameter.numel() for parameter in model.parameters())


@dataclass(frozen=True)
class Counted:
    """Work, and the output that it produced."""

    work: Work
    output: torch.Tensor


def work_between(module: nn.Module, images: torch.Tensor) -> Counted:
    """Count a piece of a network on the meta device, given what comes into it."""
    return _count_on(copy.deepcopy(module).to("meta"), images)


def _count(model: nn.Module, image_size: int) -> Work:
    image = torch.zeros(1, 3, image_size, image_size, device=device_of(model))
    return _count_on(model, image).work


def _count_on(model: nn.Module, image: torch.Tensor) -> Counted:
    training = model.training
    model.eval()
    counter = FlopCounterMode(display=False)
    traffic = TrafficMode(model)
    with _counting_outputs(model) as outputs, counter, traffic, torch.no_grad():
        answer = model(image)
    model.train(training)
    work = Work(
        parameters=parameter_count(model),
        multiply_adds=counter.get_total_flops() // 2,
        activations=sum(outputs),
        moved=traffic.elements,
        classes=answer.shape[1],
    )
    return Counted(work, answer)


class TrafficMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the elements that operators read and write, if none stay in a cache.

    A view moves nothing. Weights and statistics are left out: whatever the number of
    images, they are read once.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0
        self._resident = [*model.parameters(), *model.buffers()]
        self._known = set(map(id, self._resident))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operator and add what it moves."""
        output = func(*args, **(kwargs or {}))
        read = [each for each in tree_leaves(args) if isinstance(each, torch.Tensor)]
        if func.is_view:
            self._keep_in_mind(read, output)
            return output
        written = tree_leaves(output)
        self.elements += sum(
            each.numel()
            for each in (*read, *written)
            if isinstance(each, torch.Tensor) and id(each) not in self._known
        )
        return output

    def _keep_in_mind(self, read: list[torch.Tensor], view: torch.Tensor) -> None:
        """Take a view of weights, such as their transpose, for weights."""
        if any(id(each) in self._known for each in read):
            self._resident.append(view)  # an id is free again once its owner is gone
            self._known.add(id(view))


@contextmanager
def _counting_outputs(model: nn.Module) -> Iterator[list[int]]:
    """Collect the number of elements that each counted layer puts out."""
    sizes: list[int] = []

    def note(_: nn.Module, __: object, output: torch.Tensor) -> None:
        sizes.append(output.numel())

    hooks = [
        layer.register_forward_hook(note)
        for layer in model.modules()
        if isinstance(layer, COUNTED_LAYERS)
    ]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()
