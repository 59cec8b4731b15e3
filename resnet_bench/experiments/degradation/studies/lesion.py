"""lesion: what does a trained network lose with a block, or with blocks swapped?"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from resnet_bench.engine.blocks import (
    BlockPlace,
    blocks_of,
    head_of,
    in_eval_mode,
    run_blocks,
    stem_of,
)
from resnet_bench.engine.evaluation import judge
from resnet_bench.experiments.degradation.measurements import Lesion
from resnet_bench.experiments.degradation.studies.subject import Subject

#: Training images on which the damage is measured: one of them is 0.2 points.
IMAGES = 500

#: Random choices for each number of deleted blocks or of swaps.
DRAWS = 3

Damage = Literal["delete", "delete-many", "swap"]


@dataclass
class Patient:
    """A trained network taken apart, with the images it is asked about."""

    blocks: list[BlockPlace]
    model: nn.Module
    images: Tensor
    labels: Tensor
    intact_error: float = 0.0

    @property
    def removable(self) -> list[BlockPlace]:
        """Blocks that keep the shape, so that the rest fits without them."""
        return [place for place in self.blocks if not place.changes_shape]

    def error_after(self, hidden: Tensor, blocks: Sequence[nn.Module]) -> float:
        """Return the error in percent of what the blocks make of a hidden state."""
        logits = head_of(self.model)(run_blocks(blocks, hidden))
        return judge(logits, self.labels).error_percent

    def error_with(self, order: Sequence[int]) -> float:
        """Return the error of the network with its blocks in this order."""
        hidden = stem_of(self.model)(self.images)
        return self.error_after(hidden, [self.blocks[i].block for i in order])


def observe(subject: Subject) -> Iterator[Lesion]:
    """Yield every single deletion, then random deletions and swaps of several."""
    sample = subject.sample(IMAGES)
    images = subject.data.normalisation.apply(sample.images)
    patient = Patient(blocks_of(subject.model), subject.model, images, sample.labels)
    draw = random.Random(subject.cell.seed)
    with in_eval_mode(subject.model):
        patient.intact_error = patient.error_with(range(len(patient.blocks)))
        records = [
            *_single_deletions(patient),
            *_many_deletions(patient, draw),
            *_swaps(patient, draw),
        ]
    yield from records


def _single_deletions(patient: Patient) -> Iterator[Lesion]:
    """Each run starts from the state below the missing block: half the work."""
    hidden = stem_of(patient.model)(patient.images)
    for place in patient.blocks:
        if not place.changes_shape:
            above = [other.block for other in patient.blocks[place.index + 1 :]]
            error = patient.error_after(hidden, above)
            yield _record(patient, "delete", (place,), 1, 0, error)
        hidden = place.block(hidden)


def _many_deletions(patient: Patient, draw: random.Random) -> Iterator[Lesion]:
    """Delete 2, 4, 8, … blocks at random, up to half of those that can go."""
    for count in _powers_of_two(2, len(patient.removable) // 2):
        for number in range(DRAWS):
            gone = sorted(draw.sample(patient.removable, count), key=lambda p: p.index)
            lost = {place.index for place in gone}
            order = [i for i in range(len(patient.blocks)) if i not in lost]
            error = patient.error_with(order)
            yield _record(patient, "delete-many", gone, count, number, error)


def _swaps(patient: Patient, draw: random.Random) -> Iterator[Lesion]:
    """Let 1, 2, 4, … pairs of blocks of one stage change places."""
    for count in _powers_of_two(1, len(patient.removable) // 4):
        for number in range(DRAWS):
            order = list(range(len(patient.blocks)))
            swapped: list[BlockPlace] = []
            for _ in range(count):
                first, second = draw.sample(_one_stage(patient, draw), 2)
                one, other = first.index, second.index
                order[one], order[other] = order[other], order[one]
                swapped += [first, second]
            error = patient.error_with(order)
            yield _record(patient, "swap", swapped, count, number, error)


def _one_stage(patient: Patient, draw: random.Random) -> list[BlockPlace]:
    """Return the removable blocks of a random stage that has two at least."""
    stages = [
        [place for place in patient.removable if place.stage == stage]
        for stage in sorted({place.stage for place in patient.removable})
    ]
    return draw.choice([blocks for blocks in stages if len(blocks) > 1])


def _powers_of_two(first: int, last: int) -> list[int]:
    return [2**k for k in range(12) if first <= 2**k <= last]


def _record(
    patient: Patient,
    damage: Damage,
    blocks: Sequence[BlockPlace],
    count: int,
    draw: int,
    error: float,
) -> Lesion:
    stages = {place.stage for place in blocks}
    return Lesion(
        damage=damage,
        blocks=tuple(place.index for place in blocks),
        stage=stages.pop() if len(stages) == 1 else None,
        count=count,
        draw=draw,
        images=len(patient.labels),
        intact_error_percent=patient.intact_error,
        error_percent=error,
        error_rise_percent=error - patient.intact_error,
    )
