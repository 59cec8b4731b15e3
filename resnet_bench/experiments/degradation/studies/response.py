"""response: how much does each block change what it is given?"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from resnet_bench.engine.models.blocks import LayerPlace, layers_of
from resnet_bench.engine.training.evaluation import in_eval_mode
from resnet_bench.experiments.degradation.records import LayerResponse
from resnet_bench.experiments.degradation.studies.subject import Subject

#: Training images over which responses are measured.
IMAGES = 256


def observe(subject: Subject) -> Iterator[LayerResponse]:
    """Yield the response of every convolution of a trained network."""
    sample = subject.sample(IMAGES)
    images = subject.data.normalisation.apply(sample.images)
    layers = [place for place in layers_of(subject.model) if place.norm is not None]
    yield from measure(subject.model, layers, images)


def measure(
    model: nn.Module, layers: list[LayerPlace], images: Tensor
) -> list[LayerResponse]:
    """Return the responses of the layers to images (N, C, H, W), in eval mode.

    Read inside the hooks: the addition and the ReLU work in place afterwards.
    """
    entering: dict[int, Tensor] = {}
    found: list[LayerResponse] = []
    hooks: list[Any] = []
    for place in layers:
        if place.block is not None and place.name.endswith("conv1"):
            note = _note_input(entering, place.block.index)
            hooks.append(place.block.block.register_forward_pre_hook(note))
        if place.norm is not None:
            hooks.append(
                place.norm.register_forward_hook(_read(place, entering, found))
            )
    try:
        with in_eval_mode(model):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _note_input(
    entering: dict[int, Tensor], index: int
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def note(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        entering[index] = _norms(arguments[0])

    return note


def _read(
    place: LayerPlace, entering: dict[int, Tensor], found: list[LayerResponse]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def read(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        relative = None
        if place.block is not None and place.ends_block:
            before = entering[place.block.index].clamp_min(1e-12)
            relative = float((_norms(output) / before).mean())
        found.append(
            LayerResponse(
                layer=place.index,
                name=place.name,
                block=place.block_index,
                stage=place.stage,
                changes_shape=place.block is not None and place.block.changes_shape,
                images=len(output),
                response_std=float(output.std(correction=0)),
                relative_response=relative,
            )
        )

    return read


def _norms(hidden: Tensor) -> Tensor:
    """Return the norm of each image's hidden state."""
    norms: Tensor = torch.linalg.vector_norm(hidden.detach().flatten(1), dim=1)
    return norms
