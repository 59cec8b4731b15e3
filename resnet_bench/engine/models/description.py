"""What a network is made of: stages with their shapes, and layers counted.

The networks are torchvision's ResNets and, for contrast, the tutorial's LeNet-5.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from resnet_bench.engine.models.design import STEMS
from resnet_bench.engine.models.resnets import (
    meta_variant,
    replace_head,
    replace_stem,
    trainable_parameters,
)
from resnet_bench.engine.models.work import parameter_count, work_of
from resnet_bench.errors import UsageError

#: A network's stages by name, each as the modules that follow one another in it.
Parts = dict[str, list[nn.Module]]


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al. 1998, Fig. 2) with ReLU and average pooling.

    Its first linear layer counts on 16 x 5 x 5 numbers per image, which is what a
    32 x 32 image leaves; any other size raises RuntimeError.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) for images (N, C, 32, 32)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: what it does, and the shape (channels, height, width) it returns.

    `output` is None where the network cannot take images of that size.
    """

    name: str
    layers: str
    blocks: int
    output: tuple[int, ...] | None
    parameters: int


@dataclass(frozen=True, kw_only=True)
class LayerCounts:
    """Layers counted in every usual way, and the work of one forward pass.

    `main_path_convolutions` leaves projections and fc out, `weighted_layers` adds fc
    (the number in the name), `convolution_modules` counts every convolution,
    projections included, and `with_projections` adds fc to that. `multiply_adds` is
    None where the network cannot take images of that size.
    """

    main_path_convolutions: int
    weighted_layers: int
    projections: int
    convolution_modules: int
    with_projections: int
    blocks: int
    parameters: int
    multiply_adds: int | None


@dataclass(frozen=True, kw_only=True)
class HeadStep:
    """The last layer after one step of replacing it, and how much of it all trains."""

    step: str
    in_features: int
    out_features: int
    layer: str
    trainable_parameters: int
    total_parameters: int
    trainable_names: tuple[str, ...]


def build_resnet(variant: int, *, stem: str, shortcut: str = "residual") -> ResNet:
    """Return torchvision's ResNet, or its plain twin, without allocating weights."""
    network = meta_variant(variant, shortcut)
    with torch.device("meta"):
        replace_stem(network, STEMS[stem])
    return network


def build_lenet() -> LeNet:
    """Return LeNet-5 without allocating weights."""
    with torch.device("meta"):
        return LeNet()


def resnet_stages(network: ResNet, image_size: int) -> list[Stage]:
    """Return stem, residual stages, global pool and fc with the shapes they return.

    Raises UsageError for images too small for the network.
    """
    parts: Parts = {
        "stem": [network.conv1, network.bn1, network.relu, network.maxpool],
        **{f"layer{n}": [getattr(network, f"layer{n}")] for n in range(1, 5)},
        "global pool": [network.avgpool],
        "fc": [network.fc],
    }
    stages = _stages(network, parts, (3, image_size, image_size))
    if any(stage.output is None for stage in stages):
        accepted = "a size that the network can take"
        raise UsageError.for_option("--image-size", image_size, accepted)
    return stages


def lenet_stages(image_size: int) -> list[Stage]:
    """Return LeNet-5's stages, shapes as far as the images get.

    Only 32 px images get through its flatten.
    """
    network = build_lenet()
    layers = list(network.features)
    linear = [each for each in network.classifier if isinstance(each, nn.Linear)]
    parts: Parts = {
        "convolution 1": layers[:2],
        "pool 1": layers[2:3],
        "convolution 2": layers[3:5],
        "pool 2": layers[5:6],
        **{f"fc {n + 1}": [each] for n, each in enumerate(linear)},
    }
    return _stages(network, parts, (1, image_size, image_size))


def resnet_counts(network: ResNet, image_size: int) -> LayerCounts:
    """Return a ResNet's layers counted in every usual way, and its work."""
    modules = dict(network.named_modules())
    convolutions = [n for n, m in modules.items() if isinstance(m, nn.Conv2d)]
    projections = sum("downsample" in name for name in convolutions)
    return LayerCounts(
        main_path_convolutions=len(convolutions) - projections,
        weighted_layers=len(convolutions) - projections + 1,
        projections=projections,
        convolution_modules=len(convolutions),
        with_projections=len(convolutions) + 1,
        blocks=sum(len(getattr(network, f"layer{n}")) for n in range(1, 5)),
        parameters=parameter_count(network),
        multiply_adds=work_of(network, image_size).multiply_adds,
    )


def lenet_counts() -> LayerCounts:
    """Return LeNet-5's layers; its work is left out, it takes one channel only."""
    network = build_lenet()
    convolutions = sum(isinstance(m, nn.Conv2d) for m in network.modules())
    linear = sum(isinstance(m, nn.Linear) for m in network.modules())
    return LayerCounts(
        main_path_convolutions=convolutions,
        weighted_layers=convolutions + linear,
        projections=0,
        convolution_modules=convolutions,
        with_projections=convolutions + linear,
        blocks=0,
        parameters=parameter_count(network),
        multiply_adds=None,
    )


def head_replacement(network: ResNet, classes: int) -> list[HeadStep]:
    """Replace the last layer as the tutorial does and describe it after each step."""
    steps = [_head(network, "as built")]
    network.requires_grad_(False)
    steps.append(_head(network, "all frozen"))
    with torch.device("meta"):
        replace_head(network, classes)
    return [*steps, _head(network, "fc replaced")]


def _head(network: ResNet, step: str) -> HeadStep:
    names = tuple(name for name, p in network.named_parameters() if p.requires_grad)
    return HeadStep(
        step=step,
        in_features=network.fc.in_features,
        out_features=network.fc.out_features,
        layer=repr(network.fc),
        trainable_parameters=trainable_parameters(network),
        total_parameters=parameter_count(network),
        trainable_names=names,
    )


def _stages(
    network: nn.Module, parts: Parts, image_shape: tuple[int, int, int]
) -> list[Stage]:
    shapes = _shapes(network, [part[-1] for part in parts.values()], image_shape)
    return [
        Stage(
            name=name,
            layers=_layers(part),
            blocks=len(part[0]) if isinstance(part[0], nn.Sequential) else 0,
            output=shape,
            parameters=sum(map(parameter_count, part)),
        )
        for (name, part), shape in zip(parts.items(), shapes, strict=True)
    ]


def _shapes(
    network: nn.Module, watched: list[nn.Module], image_shape: tuple[int, int, int]
) -> list[tuple[int, ...] | None]:
    """Return the shape that each watched module returns for one image.

    None from the first layer on that cannot take what comes.
    """
    found: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        found[module] = tuple(output.shape[1:])

    handles = [each.register_forward_hook(note) for each in watched]
    with torch.no_grad(), contextlib.suppress(RuntimeError):
        network.eval()(torch.empty(1, *image_shape, device="meta"))
    for handle in handles:
        handle.remove()
    return [found.get(each) for each in watched]


def _layers(part: list[nn.Module]) -> str:
    first = part[0]
    if isinstance(first, nn.Sequential):
        return f"{len(first)} x {_block(first[0])}"
    return ", ".join(text for text in map(_words, part) if text)


def _block(block: Any) -> str:
    """Return a block's convolutions: `(3x3, 3x3) + x`, without `+ x` when plain."""
    names = ("conv1", "conv2", "conv3")
    convolutions = [getattr(block, name) for name in names if hasattr(block, name)]
    inner = ", ".join(f"{c.kernel_size[0]}x{c.kernel_size[1]}" for c in convolutions)
    kind = "bottleneck" if isinstance(block, Bottleneck) else "basic"
    plain = type(block).__name__.startswith("Plain")
    return f"({inner})" if plain else f"{kind} ({inner}) + x"


def _words(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        size, stride = module.kernel_size[0], module.stride[0]
        return f"{size}x{size} conv" + (f" stride {stride}" if stride > 1 else "")
    if isinstance(module, nn.MaxPool2d):
        return f"{module.kernel_size}x{module.kernel_size} max pool stride 2"
    if isinstance(module, nn.AvgPool2d):
        return f"{module.kernel_size}x{module.kernel_size} average pool"
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "mean over the whole map"
    if isinstance(module, nn.Linear):
        return f"linear {module.in_features} to {module.out_features}"
    return {"BatchNorm2d": "batch norm", "ReLU": "ReLU"}.get(type(module).__name__, "")
