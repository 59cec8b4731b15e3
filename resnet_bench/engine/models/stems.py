"""The first layers of a ResNet as rows: how fast they shrink the image.

Plain data without torch; `transfer_network` builds them.
"""

from dataclasses import dataclass

from resnet_bench.errors import UsageError


@dataclass(frozen=True)
class Stem:
    """A first convolution, and whether a max pool of stride 2 follows it."""

    name: str
    kernel_size: int
    stride: int
    pool: bool
    summary: str

    @property
    def reduction(self) -> int:
        """By how much the stem divides height and width."""
        return self.stride * (2 if self.pool else 1)


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
