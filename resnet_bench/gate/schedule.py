"""Which side runs when: seeded, so that a resumed check repeats the same pairs."""

import random
from dataclasses import dataclass
from typing import Literal

Side = Literal["base", "head"]

SIDES: tuple[Side, ...] = ("base", "head")

#: Both blocks cancel a linear drift of the machine's speed within the block.
BLOCKS: dict[str, tuple[Side, ...]] = {
    "ABBA": ("base", "head", "head", "base"),
    "BAAB": ("head", "base", "base", "head"),
}


@dataclass(frozen=True)
class PairOrder:
    """The order of one pair: which side starts first, and its blocks of legs."""

    pair: int
    blocks: tuple[str, ...]
    first_started: Side

    @property
    def legs(self) -> tuple[Side, ...]:
        """The sides in the order in which their legs run."""
        return tuple(side for block in self.blocks for side in BLOCKS[block])


def pair_order(seed: int, pair: int, blocks: int = 1) -> PairOrder:
    """Return the order of pair number `pair`; it depends on nothing else."""
    generator = random.Random(f"{seed}:{pair}")
    # Another pair of processes tells more than another block within this one.
    return PairOrder(
        pair=pair,
        blocks=tuple(generator.choice(tuple(BLOCKS)) for _ in range(blocks)),
        first_started=generator.choice(("base", "head")),
    )
