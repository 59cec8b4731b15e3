"""What can differ between two networks of one depth, as plain data without torch."""

from dataclasses import dataclass
from typing import Literal

Shortcut = Literal["option-a", "option-b", "convolution", "none"]
Initialisation = Literal["he", "dirac"]


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
