"""Options of the networks: stems of a ResNet, designs of a CIFAR network.

Plain data without torch; `resnets` and `cifar` build them.
"""

from dataclasses import dataclass
from typing import Literal

from resnet_bench.errors import UsageError

Shortcut = Literal["option-a", "option-b", "convolution", "none"]
Initialisation = Literal["he", "dirac"]


@dataclass(frozen=True)
class Stem:
    """A first convolution, and whether a max pool of stride 2 follows it."""

    name: str
    kernel_size: int
    stride: int
    pool: bool
    summary: str


STEMS = {
    row.name: row
    for row in (
        Stem("imagenet", 7, 2, True, "7x7 stride 2 and max pool (He et al. 2015)"),
        Stem("small", 3, 2, True, "3x3 stride 2 and max pool: 32 px become 8"),
        Stem("cifar", 3, 1, False, "3x3 stride 1, no pool: full resolution"),
    )
}


def stem_that_fits(kernel_size: int, asked: str) -> Stem:
    """Choose the stem for weights whose first convolution has `kernel_size`.

    `asked` is a name of STEMS or `auto`. Raises UsageError when they disagree.
    """
    if asked != "auto":
        if STEMS[asked].kernel_size != kernel_size:
            raise UsageError(
                f"--stem {asked}: its convolution is {STEMS[asked].kernel_size} wide, "
                f"that of the weights {kernel_size}; leave --stem out"
            )
        return STEMS[asked]
    for stem in STEMS.values():
        if stem.kernel_size == kernel_size:
            return stem
    raise UsageError(
        f"the weights' first convolution is {kernel_size} wide: no stem of "
        f"{', '.join(STEMS)} fits"
    )


@dataclass(frozen=True, kw_only=True)
class NetworkDesign:
    """A network of the CIFAR family of He et al. 2015 (arXiv 1512.03385, section 4.2).

    depth: weighted layers, 6n + 2.
    shortcut: "option-a" pads with zero channels and has no parameters, "option-b"
        projects with a 1x1 convolution where the shape changes, "convolution" puts
        a 1x1 convolution and batch norm on every shortcut, "none" makes it plain.
    shortcut_scale: lambda of y = lambda x + F(x) (He et al. 2016, arXiv 1603.05027,
        section 3.1); 1 is the residual network, 0 the plain one.
    width: channels of the first stage; the second has twice, the third four times.
    channels: of the input image.
    batch_norm: without it, every convolution has a bias instead.
    zero_last_scale: start the last batch norm of every block at scale zero.
    pre_activation: batch norm and ReLU before each convolution (He et al. 2016).
    initialisation: "he" is He et al. 2015 (arXiv 1502.01852), "dirac" starts every
        3x3 convolution of the blocks as the identity.
    """

    depth: int = 20
    shortcut: Shortcut = "option-a"
    shortcut_scale: float = 1.0
    width: int = 16
    channels: int = 1
    classes: int = 10
    batch_norm: bool = True
    zero_last_scale: bool = False
    pre_activation: bool = False
    initialisation: Initialisation = "he"

    @property
    def blocks_per_stage(self) -> int:
        """The n of 6n + 2."""
        return (self.depth - 2) // 6


def is_cifar_depth(depth: int) -> bool:
    """Whether `depth` is 6n + 2 with n at least 1."""
    return depth >= 8 and (depth - 2) % 6 == 0


def nearest_cifar_depths(depth: int) -> tuple[int, int]:
    """Return the two depths of the form 6n + 2 on either side of `depth`."""
    below = max(8, 6 * ((depth - 2) // 6) + 2)
    return below, below + 6
