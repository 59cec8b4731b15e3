"""gradients: does the gradient vanish, explode or shatter on its way down?

Everything is measured on a copy of the network, so that a look leaves no trace.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from resnet_bench.engine.data.splits import Split
from resnet_bench.engine.models.blocks import LayerPlace, layers_of
from resnet_bench.engine.training.evaluation import batch_norms
from resnet_bench.experiments.degradation.measures.network import Subject, finite
from resnet_bench.experiments.degradation.records import (
    GradientSummary,
    LayerGradient,
)

#: Batches whose gradients are compared, and how many times smaller they are than the
#: training's. Two are enough: a layer's gradient has hundreds of elements at least,
#: over which their difference averages. Four whole ones took a fifth of the training.
BATCHES = 2
SMALLER = 2

#: Lines between two images, and points on each: from one image half the way to the
#: other, a 64th of it apart (Balduzzi et al. 2017 use a grid of inputs in one
#: dimension).
LINES = 2
LINE_POINTS = 33
LINE_END = 0.5


@dataclass
class LayerTrace:
    """What one layer's gradients were over the batches."""

    place: LayerPlace
    weight_gradients: list[Tensor] = field(default_factory=list)
    input_norms: list[float] = field(default_factory=list)

    def record(self, moment: str, step: int) -> LayerGradient:
        """Return the layer's record."""
        gradients = torch.stack(self.weight_gradients)
        mean = gradients.mean(0)
        weight_norm = float(self.place.layer.weight.detach().norm())
        return LayerGradient(
            moment=moment,
            step=step,
            layer=self.place.index,
            name=self.place.name,
            block=self.place.block_index,
            stage=self.place.stage,
            batches=len(gradients),
            weight_norm=weight_norm,
            weight_gradient_norm=finite(mean.norm()),
            relative_weight_gradient=_ratio(float(mean.norm()), weight_norm),
            input_gradient_norm=finite(self.input_norm),
            signal_to_noise=_signal_to_noise(gradients),
            batch_cosine=_mean_cosine(gradients),
        )

    @property
    def input_norm(self) -> float:
        """Mean over the batches of the norm of dL/dx per image."""
        return sum(self.input_norms) / len(self.input_norms)


def observe(
    subject: Subject, moment: str, step: int
) -> Iterator[LayerGradient | GradientSummary]:
    """Yield every layer's gradient at this moment, then the whole network's."""
    network = copy.deepcopy(subject.model)
    _average_over_batches(network)
    batches = _batches(subject)
    traces = [LayerTrace(place) for place in layers_of(network)]
    losses = [_look(network, batch, traces, subject) for batch in batches]
    for trace in traces:
        yield trace.record(moment, step)
    yield GradientSummary(
        moment=moment,
        step=step,
        batches=len(batches),
        loss=finite(sum(losses) / len(losses)),
        bottom_over_top=bottom_over_top(traces),
        shattering_correlation=shattering_correlation(network, subject),
    )


def _average_over_batches(network: nn.Module) -> None:
    """Let batch norm keep the mean statistics of what the network is shown from now."""
    for norm in batch_norms(network):
        norm.reset_running_stats()
        norm.momentum = None


def _batches(subject: Subject) -> list[Split]:
    """Return fixed training batches, none of them incomplete."""
    size = min(max(2, subject.cell.batch_size // SMALLER), len(subject.train))
    count = max(1, min(BATCHES, len(subject.train) // size))
    sample = subject.sample(count * size)
    starts = range(0, count * size, size)
    return [
        Split(sample.images[start:][:size], sample.labels[start:][:size])
        for start in starts
    ]


def _look(
    network: nn.Module, batch: Split, traces: Sequence[LayerTrace], subject: Subject
) -> float:
    """Run one batch forward and backward in train mode and note what arrives."""
    inputs: dict[int, Tensor] = {}
    hooks = [_keep_input(trace.place, inputs) for trace in traces]
    network.train()
    network.zero_grad(set_to_none=True)
    images = subject.data.normalisation.apply(batch.images).requires_grad_()
    try:
        loss = cross_entropy(network(images), batch.labels)
    finally:
        for hook in hooks:
            hook.remove()
    loss.backward()  # type: ignore[no-untyped-call]
    for trace in traces:
        trace.weight_gradients.append(_gradient(trace.place.layer.weight).flatten())
        gradient = _gradient(inputs[trace.place.index])
        trace.input_norms.append(_norm_per_image(gradient))
    return float(loss.detach())


def _keep_input(
    place: LayerPlace, inputs: dict[int, Tensor]
) -> torch.utils.hooks.RemovableHandle:
    def keep(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        arguments[0].retain_grad()
        inputs[place.index] = arguments[0]

    return place.layer.register_forward_pre_hook(keep)


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad.detach()


def _norm_per_image(gradient: Tensor) -> float:
    """Root mean square over images of the norm, freed of the batch's 1 / N."""
    norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)
    return float(len(gradient) ** 0.5 * norm)


def bottom_over_top(traces: Sequence[LayerTrace]) -> float | None:
    """Return ||dL/dx|| at the first block's input over that at the last block's."""
    entries = [
        trace
        for trace in traces
        if trace.place.block is not None and trace.place.name.endswith("conv1")
    ]
    return _ratio(entries[0].input_norm, entries[-1].input_norm)


def _ratio(numerator: float, denominator: float) -> float | None:
    return finite(numerator / denominator) if denominator else None


def _signal_to_noise(gradients: Tensor) -> float | None:
    """Norm of the mean over the root mean square distance from it."""
    if len(gradients) < 2:
        return None
    mean = gradients.mean(0)
    variance = (gradients - mean).square().sum() / (len(gradients) - 1)
    return _ratio(float(mean.norm()), float(variance.sqrt()))


def _mean_cosine(gradients: Tensor) -> float | None:
    """Mean cosine over all pairs of batches."""
    if len(gradients) < 2:
        return None
    first, second = torch.triu_indices(len(gradients), len(gradients), 1)
    return finite(cosine_similarity(gradients[first], gradients[second]).mean())


def shattering_correlation(network: nn.Module, subject: Subject) -> float | None:
    """Return the mean cosine of input gradients at neighbouring points of lines.

    Batch norm takes the statistics of the batches that were looked at before, so that
    the points of a line do not change one another.
    """
    normalisation = subject.data.normalisation
    network.eval().requires_grad_(False)
    ends = normalisation.apply(subject.sample(2 * LINES).images[: 2 * LINES])
    shares = torch.linspace(0, LINE_END, LINE_POINTS, device=ends.device)
    lines = [
        start + shares.view(-1, 1, 1, 1) * (end - start)
        for start, end in zip(ends[::2], ends[1::2], strict=False)
    ]
    points = torch.cat(lines).requires_grad_()
    # One output on each line, the same at all points: what the first is taken for.
    logits = network(points).view(len(lines), LINE_POINTS, -1)
    outputs = [line[:, int(line[0].argmax())].sum() for line in logits]
    gradient = torch.autograd.grad(outputs, points)[0].flatten(1)
    gradients = gradient.view(len(lines), LINE_POINTS, -1)
    return finite(cosine_similarity(gradients[:, :-1], gradients[:, 1:], dim=2).mean())
