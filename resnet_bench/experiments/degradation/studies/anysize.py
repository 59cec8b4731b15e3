"""anysize: what image sizes does a network accept?"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from resnet_bench.experiments.degradation.grid import Grid
from resnet_bench.experiments.degradation.records import DegradationCell, SizeCheck
from resnet_bench.experiments.degradation.studies.base import Study

if TYPE_CHECKING:
    from torch import nn

#: Heights and widths in pixels; one is neither square nor a power of two.
SIZES = ((32, 32), (64, 64), (97, 131), (224, 224))


class AnySize(Study):
    """Shows images of several sizes to untrained networks."""

    name = "anysize"
    question = "what image sizes does a network accept?"
    records = (SizeCheck,)

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield one cell that trains nothing."""
        yield replace(grid.base, task=self.name, depth=grid.reference)

    def examine(self, cell: DegradationCell) -> Iterator[SizeCheck]:
        """Yield what each network answers to one image of each size."""
        from resnet_bench.engine.models.cifar import build_cifar_network
        from resnet_bench.engine.models.description import LeNet
        from resnet_bench.engine.models.design import NetworkDesign
        from resnet_bench.engine.models.resnets import build_residual

        cifar = build_cifar_network(NetworkDesign(depth=cell.depth, channels=3))
        yield from check(cifar, f"residual-{cell.depth}", "adaptive")
        yield from check(build_residual(18, 10), "ResNet-18", "adaptive")
        yield from check(LeNet(channels=3), "LeNet", "flatten")


def check(
    network: "nn.Module", name: str, pooling: Literal["adaptive", "flatten"]
) -> Iterator[SizeCheck]:
    """Yield the shape of the output, or the first line of what was raised."""
    import torch

    network.eval()
    for height, width in SIZES:
        shape: tuple[int, ...] | None = None
        raised = None
        try:
            with torch.inference_mode():
                shape = tuple(network(torch.zeros(1, 3, height, width)).shape)
        except RuntimeError as error:
            raised = str(error).splitlines()[0]
        yield SizeCheck(
            network=name,
            pooling=pooling,
            height=height,
            width_pixels=width,
            accepted=shape is not None,
            output_shape=shape,
            raised=raised,
        )
