"""lesion: what does a trained network lose with a block, or with blocks swapped?"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from resnet_bench.engine.models.blocks import (
    BlockPlace,
    blocks_of,
    head_of,
    run_blocks,
    stem_of,
)
from resnet_bench.engine.training.evaluation import in_eval_mode, judge
from resnet_bench.experiments.degradation.records import Lesion
from resnet_bench.experiments.degradation.studies.subject import Subject

#: Training images on which the damage is measured: one of them is 0.4 points.
IMAGES = 256

#: Random choices for each number of deleted blocks or of swaps.
DRAWS = 3

Kind = Literal["delete", "delete-many", "swap"]


@dataclass(frozen=True)
class Damage:
    """Blocks to delete or to swap, and what is left: indices in their new order."""

    kind: Kind
    blocks: tuple[BlockPlace, ...]
    count: int
    draw: int
    order: tuple[int, ...]

    @property
    def unharmed(self) -> int:
        """How many blocks at the bottom are as they were."""
        here = enumerate(self.order)
        return next((place for place, i in here if i != place), len(self.order))


def observe(subject: Subject) -> Iterator[Lesion]:
    """Yield every single deletion, then random deletions and swaps of several.

    Nothing of a network that has not learned: it has nothing to lose.
    """
    if not subject.learned:
        return
    sample = subject.sample(IMAGES)
    images = subject.data.normalisation.apply(sample.images)
    blocks = blocks_of(subject.model)
    draw = random.Random(subject.cell.seed)
    damages = [
        *_single_deletions(blocks),
        *_many_deletions(blocks, draw),
        *_swaps(blocks, draw),
    ]
    with in_eval_mode(subject.model):
        intact, errors = _errors(subject.model, damages, images, sample.labels)
    for damage, error in zip(damages, errors, strict=True):
        yield _record(damage, intact, error, len(images))


def _errors(
    model: nn.Module, damages: Sequence[Damage], images: Tensor, labels: Tensor
) -> tuple[float, list[float]]:
    """Return the error in percent of the whole model, and of each damaged one.

    The whole model runs once; where a damage begins, what is left goes on from there.
    """
    blocks = [place.block for place in blocks_of(model)]
    head = head_of(model)
    errors = [0.0] * len(damages)
    hidden = stem_of(model)(images)
    for place in range(len(blocks) + 1):
        for number, damage in enumerate(damages):
            if damage.unharmed == place:
                left = [blocks[i] for i in damage.order[place:]]
                logits = head(run_blocks(left, hidden))
                errors[number] = judge(logits, labels).error_percent
        hidden = run_blocks(blocks[place : place + 1], hidden)
    return judge(head(hidden), labels).error_percent, errors


def _removable(blocks: Sequence[BlockPlace]) -> list[BlockPlace]:
    """Return the blocks that keep the shape, so that the rest fits without them."""
    return [place for place in blocks if not place.changes_shape]


def _single_deletions(blocks: Sequence[BlockPlace]) -> Iterator[Damage]:
    for place in _removable(blocks):
        yield _deletion("delete", blocks, [place], 0)


def _many_deletions(
    blocks: Sequence[BlockPlace], draw: random.Random
) -> Iterator[Damage]:
    """Delete 2, 4, 8, … blocks at random, up to half of those that can go."""
    removable = _removable(blocks)
    for count in _powers_of_two(2, len(removable) // 2):
        for number in range(DRAWS):
            gone = sorted(draw.sample(removable, count), key=lambda p: p.index)
            yield _deletion("delete-many", blocks, gone, number)


def _deletion(
    kind: Kind, blocks: Sequence[BlockPlace], gone: Sequence[BlockPlace], draw: int
) -> Damage:
    lost = {place.index for place in gone}
    order = tuple(i for i in range(len(blocks)) if i not in lost)
    return Damage(kind, tuple(gone), len(gone), draw, order)


def _swaps(blocks: Sequence[BlockPlace], draw: random.Random) -> Iterator[Damage]:
    """Let 1, 2, 4, … pairs of blocks of one stage change places."""
    removable = _removable(blocks)
    for count in _powers_of_two(1, len(removable) // 4):
        for number in range(DRAWS):
            order = list(range(len(blocks)))
            swapped: list[BlockPlace] = []
            for _ in range(count):
                first, second = draw.sample(_one_stage(removable, draw), 2)
                one, other = first.index, second.index
                order[one], order[other] = order[other], order[one]
                swapped += [first, second]
            yield Damage("swap", tuple(swapped), count, number, tuple(order))


def _one_stage(
    removable: Sequence[BlockPlace], draw: random.Random
) -> list[BlockPlace]:
    """Return the removable blocks of a random stage that has two at least."""
    stages = [
        [place for place in removable if place.stage == stage]
        for stage in sorted({place.stage for place in removable})
    ]
    return draw.choice([blocks for blocks in stages if len(blocks) > 1])


def _powers_of_two(first: int, last: int) -> list[int]:
    return [2**k for k in range(12) if first <= 2**k <= last]


def _record(damage: Damage, intact: float, error: float, images: int) -> Lesion:
    stages = {place.stage for place in damage.blocks}
    return Lesion(
        damage=damage.kind,
        blocks=tuple(place.index for place in damage.blocks),
        stage=stages.pop() if len(stages) == 1 else None,
        count=damage.count,
        draw=damage.draw,
        images=images,
        intact_error_percent=intact,
        error_percent=error,
        error_rise_percent=error - intact,
    )
