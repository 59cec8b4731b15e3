"""anysize: what image sizes does a network accept?"""

from collections.abc import Iterator

import torch
from torch import nn

from resnet_bench.engine.models.cifar import build_cifar_network
from resnet_bench.engine.models.description import LeNet
from resnet_bench.engine.models.design import NetworkDesign
from resnet_bench.engine.models.resnets import build_residual
from resnet_bench.experiments.degradation.records import SizeCheck

#: Heights and widths in pixels; one is neither square nor a power of two.
SIZES = ((32, 32), (64, 64), (97, 131), (224, 224))


def observe(depth: int) -> Iterator[SizeCheck]:
    """Yield what each network answers to one image of each size."""
    cifar = build_cifar_network(NetworkDesign(depth=depth, channels=3))
    yield from check(cifar, f"residual-{depth}", "adaptive")
    yield from check(build_residual(18, 10), "ResNet-18", "adaptive")
    yield from check(LeNet(channels=3), "LeNet", "flatten")


@torch.no_grad()
def check(network: nn.Module, name: str, pooling: str) -> Iterator[SizeCheck]:
    """Yield the shape of the output, or the first line of what was raised."""
    network.eval()
    for height, width in SIZES:
        shape: tuple[int, ...] | None = None
        raised = None
        try:
            shape = tuple(network(torch.zeros(1, 3, height, width)).shape)
        except RuntimeError as error:
            raised = str(error).splitlines()[0]
        yield SizeCheck(
            network=name,
            pooling="flatten" if pooling == "flatten" else "adaptive",
            height=height,
            width_pixels=width,
            accepted=shape is not None,
            output_shape=shape,
            raised=raised,
        )
