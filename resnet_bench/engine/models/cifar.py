"""The CIFAR family of He et al. 2015 (arXiv 1512.03385, section 4.2), with variants.

Submodules are named as torchvision names them (conv1, bn1, layer1…3, fc; conv1, bn1,
conv2, bn2, downsample in a block), so that whatever looks into a network reads this
family and torchvision's alike.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from resnet_bench.engine.models.design import NetworkDesign, Shortcut

#: Stages of the family; each after the first doubles channels and halves the map.
STAGES = 3


class PaddedShortcut(nn.Module):
    """Option A: every second pixel, new channels zero, no parameters."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W) as (N, C + new, H / stride, W / stride)."""
        kept = images[:, :, :: self.stride, :: self.stride]
        return pad(kept, (0, 0, 0, 0, 0, self.new_channels))


class Projection(nn.Conv2d):
    """A 1x1 convolution without bias that picks its pixels before it computes.

    The same function as torch's strided convolution. That one's weight gradient
    writes past its memory with fewer than 8 channels in channels last on a processor
    with AVX2 and without AVX-512 (seen with torch 2.14.1, oneDNN 3.12).
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__(channels_in, channels, 1, stride, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Return (N, C, H, W) as (N, K, H / stride, W / stride)."""
        rows, columns = self.stride
        return conv2d(input[:, :, ::rows, ::columns], self.weight)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions F with y = relu(lambda x + F(x)), or relu(F(x)) if plain.

    `shortcut_scale` is lambda. A block without a shortcut has `shortcut_scale` 0 and
    the same parameters, so both take one `state_dict`.
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int, design: NetworkDesign
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(channels_in, channels, stride, design)
        self.bn1 = _norm(channels, design)
        self.conv2 = _convolution(channels, channels, 1, design)
        self.bn2 = _norm(channels, design)
        self.changes_shape = stride != 1 or channels_in != channels
        self.shortcut_scale = (
            0.0 if design.shortcut == "none" else design.shortcut_scale
        )
        self.downsample = _DOWNSAMPLE[design.shortcut](channels_in, channels, stride)

    def residual(self, images: Tensor) -> Tensor:
        """Return F(x)."""
        hidden = torch.relu_(self.bn1(self.conv1(images)))
        answer: Tensor = self.bn2(self.conv2(hidden))
        return answer

    def shortcut(self, images: Tensor) -> Tensor:
        """Return lambda x, brought to the shape of F(x)."""
        kept: Tensor = images if self.downsample is None else self.downsample(images)
        return kept if self.shortcut_scale == 1 else self.shortcut_scale * kept

    def forward(self, images: Tensor) -> Tensor:
        """Return the block's output for images (N, C, H, W)."""
        answer = self.residual(images)
        if self.shortcut_scale != 0:
            answer = answer + self.shortcut(images)
        return torch.relu_(answer)


class PreActivationBlock(BasicBlock):
    """Batch norm and ReLU before each convolution (He et al. 2016, Fig. 1b)."""

    def __init__(
        self, channels_in: int, channels: int, stride: int, design: NetworkDesign
    ) -> None:
        super().__init__(channels_in, channels, stride, design)
        self.bn1 = _norm(channels_in, design)

    def residual(self, images: Tensor) -> Tensor:
        """Return F(x)."""
        hidden = self.conv1(torch.relu_(self.bn1(images)))
        answer: Tensor = self.conv2(torch.relu_(self.bn2(hidden)))
        return answer

    def forward(self, images: Tensor) -> Tensor:
        """Return x + F(x), without a nonlinearity after the addition."""
        answer = self.residual(images)
        if self.shortcut_scale == 0:
            return answer
        return answer + self.shortcut(images)


class CifarNetwork(nn.Module):
    """Stem, three stages of n blocks, global average pool and one linear layer."""

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        self.design = design
        width = design.width
        self.conv1 = _convolution(design.channels, width, 1, design)
        # A pre-activation network normalises inside its blocks and at the end.
        last = width * 2 ** (STAGES - 1)
        self.bn1 = _norm(last if design.pre_activation else width, design)
        self.layer1 = _stage(width, width, 1, design)
        self.layer2 = _stage(width, 2 * width, 2, design)
        self.layer3 = _stage(2 * width, last, 2, design)
        self.fc = nn.Linear(last, design.classes)

    def stem(self, images: Tensor) -> Tensor:
        """Return the input of the first block."""
        hidden: Tensor = self.conv1(images)
        return hidden if self.design.pre_activation else torch.relu_(self.bn1(hidden))

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits (N, classes) from the output of the last block."""
        if self.design.pre_activation:
            hidden = torch.relu_(self.bn1(hidden))
        logits: Tensor = self.fc(hidden.mean((2, 3)))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, C, H, W) of any size."""
        hidden = self.stem(images)
        return self.head(self.layer3(self.layer2(self.layer1(hidden))))


def build_cifar_network(
    design: NetworkDesign, draw: torch.Generator | None = None
) -> CifarNetwork:
    """Return a network of `design` with fresh weights.

    The weights depend on `draw` and on nothing that has no parameters: a plain and
    a residual (option A) network of one seed are equal bit for bit.
    """
    network = CifarNetwork(design)
    initialise(network, design, draw or torch.Generator().manual_seed(0))
    return network


def initialise(
    network: nn.Module, design: NetworkDesign, draw: torch.Generator
) -> None:
    """Draw the weights: normal with variance 2 / fan-in (He et al. 2015, 1502.01852).

    The linear layer is uniform within 1 / sqrt(fan-in), torch's own default. Dirac
    convolutions keep what is random where the shape changes.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=draw)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=draw)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, BasicBlock):
            _change_initial_block(module, design)


def _change_initial_block(block: BasicBlock, design: NetworkDesign) -> None:
    if design.initialisation == "dirac":
        for convolution in (block.conv1, block.conv2):
            if convolution.in_channels == convolution.out_channels:
                nn.init.dirac_(convolution.weight)
    if design.zero_last_scale and isinstance(block.bn2, nn.BatchNorm2d):
        nn.init.zeros_(block.bn2.weight)


def _convolution(
    channels_in: int, channels: int, stride: int, design: NetworkDesign
) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in, channels, 3, stride, padding=1, bias=not design.batch_norm
    )


def _norm(channels: int, design: NetworkDesign) -> nn.Module:
    return nn.BatchNorm2d(channels) if design.batch_norm else nn.Identity()


def _stage(
    channels_in: int, channels: int, stride: int, design: NetworkDesign
) -> nn.Sequential:
    block = PreActivationBlock if design.pre_activation else BasicBlock
    rest = design.blocks_per_stage - 1
    return nn.Sequential(
        block(channels_in, channels, stride, design),
        *(block(channels, channels, 1, design) for _ in range(rest)),
    )


def _no_projection(channels_in: int, channels: int, stride: int) -> nn.Module | None:
    """Option A, and what a plain block keeps in the place of its shortcut."""
    if channels_in == channels and stride == 1:
        return None
    return PaddedShortcut(channels - channels_in, stride)


def _projection_where_needed(
    channels_in: int, channels: int, stride: int
) -> nn.Module | None:
    """Option B: a projection where the shape changes."""
    if channels_in == channels and stride == 1:
        return None
    return _projection(channels_in, channels, stride)


def _projection(channels_in: int, channels: int, stride: int) -> nn.Module:
    convolution = Projection(channels_in, channels, stride)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))


_DOWNSAMPLE: dict[Shortcut, Callable[[int, int, int], nn.Module | None]] = {
    "option-a": _no_projection,
    "none": _no_projection,
    "option-b": _projection_where_needed,
    "convolution": _projection,
}
