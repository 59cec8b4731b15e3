"""Studies that look inside networks: gradients, responses, lesions, insertions."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from resnet_bench.experiments.degradation.grid import Grid
from resnet_bench.experiments.degradation.records import (
    Construction,
    DegradationCell,
    GradientSummary,
    IdentityInsertion,
    LayerGradient,
    LayerResponse,
    Lesion,
)
from resnet_bench.experiments.degradation.studies.base import Study
from resnet_bench.records import Record

if TYPE_CHECKING:
    from resnet_bench.experiments.degradation.measures.network import Subject


class Constructed(Study):
    """Writes the shallow plain network's solution into deeper ones."""

    name = "constructed"
    question = "could the deep plain network be as good as the shallow one?"
    records = (Construction,)

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield a shallow plain network to extend, and the deep ones trained by SGD."""
        yield from grid.networks(grid.depths, ("plain",))

    def completed(self, cell: DegradationCell, grid: Grid) -> DegradationCell:
        """Return the cell with the depths to which its network is extended."""
        if cell.depth != grid.reference:
            return cell
        deep = tuple(depth for depth in grid.depths if depth > cell.depth)
        return replace(cell, deep_depths=deep)

    def observe(self, subject: "Subject") -> Iterator[Record]:
        """Yield how good each extended network is."""
        from resnet_bench.experiments.degradation.measures.blocks import constructions

        return constructions(subject)


class Gradients(Study):
    """Looks at every layer's gradient before, during and after training."""

    name = "gradients"
    question = "does the gradient vanish, explode or shatter on its way down?"
    takes_imagenet = True
    records = (LayerGradient, GradientSummary)
    pauses = (0, 1, 10, 100)

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield every depth; some without batch norm or with zero gamma."""
        yield from super().networks(grid)
        wanted = grid.sizes.gradient_depths
        if wanted and grid.base.family == "cifar":
            depths = [depth for depth in wanted if depth in grid.depths]
            depths = depths or [grid.reference]
            yield from grid.networks(depths, treatment="no-batch-norm")
            yield from grid.networks(depths, ("residual",), "zero-gamma")

    def extra_steps(self, cell: DegradationCell) -> float:
        """Return what five looks cost."""
        return 20

    def look(self, subject: "Subject", moment: str, step: int) -> Iterator[Record]:
        """Yield every layer's gradient, then the whole network's."""
        from resnet_bench.experiments.degradation.measures.gradients import observe

        return observe(subject, moment, step)


class Identity(Study):
    """Puts blocks that learned nothing into trained networks of the reference depth.

    The plain network is the negative control.
    """

    name = "identity"
    question = "is a block that learned nothing the identity?"
    records = (IdentityInsertion,)

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield the reference depth."""
        yield from grid.networks([grid.reference], seeds=grid.other_seeds)

    def extra_steps(self, cell: DegradationCell) -> float:
        """Return what the further training of two networks costs."""
        return 50 if cell.shortcut == "residual" else 0

    def observe(self, subject: "Subject") -> Iterator[Record]:
        """Yield what the insertion changes, at once and later."""
        from resnet_bench.experiments.degradation.measures.blocks import insertion

        return insertion(subject)


class Response(Study):
    """Measures how strongly each layer answers."""

    name = "response"
    question = "how much does each block change its input?"
    takes_imagenet = True
    records = (LayerResponse,)

    def observe(self, subject: "Subject") -> Iterator[Record]:
        """Yield the response of every convolution."""
        from resnet_bench.experiments.degradation.measures.blocks import responses

        return responses(subject)


class Lesions(Study):
    """Deletes and swaps blocks of trained networks."""

    name = "lesion"
    question = "what does a trained network lose without one block?"
    takes_imagenet = True
    records = (Lesion,)

    def extra_steps(self, cell: DegradationCell) -> float:
        """Return what a pass for each damage costs."""
        return cell.depth / 6

    def observe(self, subject: "Subject") -> Iterator[Record]:
        """Yield the error with every damage."""
        from resnet_bench.experiments.degradation.measures.blocks import lesions

        return lesions(subject)
