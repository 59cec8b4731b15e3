"""Looks at blocks of trained networks: how they respond, what deleting them costs."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from resnet_bench.engine.models.blocks import (
    BlockPlace,
    LayerPlace,
    blocks_of,
    head_of,
    layers_of,
    run_blocks,
    stem_of,
    with_identity_layers,
    with_zero_scale_blocks,
)
from resnet_bench.engine.models.cifar import CifarNetwork
from resnet_bench.engine.models.small_maps import compute_small_maps_densely
from resnet_bench.engine.seeding import derived_seed, generator
from resnet_bench.engine.training.evaluation import (
    evaluate,
    in_eval_mode,
    judge,
    predict,
    recalibrate,
)
from resnet_bench.engine.training.trainer import Schedule, Trainer, TrainingPlan
from resnet_bench.experiments.degradation.measures.network import Subject, finite
from resnet_bench.experiments.degradation.records import (
    Construction,
    IdentityInsertion,
    LayerResponse,
    Lesion,
)

#: Training images on which damage and responses are measured: one is 0.4 points.
IMAGES = 256

#: Random choices for each number of deleted blocks or of swaps.
DRAWS = 3

#: Blocks put into each of the three stages of the identity study: twelve layers.
NEW_BLOCKS_PER_STAGE = 2

#: Further training of both networks: epochs, and a rate that a trained network bears.
FURTHER_EPOCHS = 1
FURTHER_RATE = 0.01

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


def lesions(subject: Subject) -> Iterator[Lesion]:
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


def responses(subject: Subject) -> Iterator[LayerResponse]:
    """Yield the response of every convolution of a trained network."""
    sample = subject.sample(IMAGES)
    images = subject.data.normalisation.apply(sample.images)
    layers = [place for place in layers_of(subject.model) if place.norm is not None]
    yield from measure_responses(subject.model, layers, images)


def measure_responses(
    model: nn.Module, layers: list[LayerPlace], images: Tensor
) -> list[LayerResponse]:
    """Return the responses of the layers to images (N, C, H, W), in eval mode.

    Read inside the hooks: the addition and the ReLU work in place afterwards.
    """
    entering: dict[int, Tensor] = {}
    found: list[LayerResponse] = []
    hooks: list[Any] = []
    for place in layers:
        if place.block is not None and place.name.endswith("conv1"):
            note = _note_input(entering, place.block.index)
            hooks.append(place.block.block.register_forward_pre_hook(note))
        if place.norm is not None:
            hooks.append(
                place.norm.register_forward_hook(_read(place, entering, found))
            )
    try:
        with in_eval_mode(model):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _note_input(
    entering: dict[int, Tensor], index: int
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def note(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        entering[index] = _norms(arguments[0])

    return note


def _read(
    place: LayerPlace, entering: dict[int, Tensor], found: list[LayerResponse]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def read(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        relative = None
        if place.block is not None and place.ends_block:
            before = entering[place.block.index].clamp_min(1e-12)
            relative = float((_norms(output) / before).mean())
        found.append(
            LayerResponse(
                layer=place.index,
                name=place.name,
                block=place.block_index,
                stage=place.stage,
                changes_shape=place.block is not None and place.block.changes_shape,
                images=len(output),
                response_std=float(output.std(correction=0)),
                relative_response=relative,
            )
        )

    return read


def _norms(hidden: Tensor) -> Tensor:
    """Return the norm of each image's hidden state."""
    norms: Tensor = torch.linalg.vector_norm(hidden.detach().flatten(1), dim=1)
    return norms


def insertion(subject: Subject) -> Iterator[IdentityInsertion]:
    """Yield what zero-scale blocks do to a trained network, at once and later."""
    if not isinstance(subject.model, CifarNetwork):
        return
    network = subject.model
    depth = network.design.depth + 6 * NEW_BLOCKS_PER_STAGE
    longer = with_zero_scale_blocks(
        network, depth, generator(subject.cell.seed, "inserted blocks")
    ).to(subject.cell.place)
    compute_small_maps_densely(longer)
    train, normalisation = subject.train, subject.data.normalisation
    logits = [predict(net, train, normalisation) for net in (network, longer)]
    before, after = (judge(each, train.labels) for each in logits)
    # What the insertion does to a plain net is over at once.
    goes_on = subject.cell.shortcut == "residual"
    yield IdentityInsertion(
        extended_depth=depth,
        further_steps=_steps(subject) if goes_on else 0,
        logits_identical=torch.equal(logits[0], logits[1]),
        largest_logit_difference=float((logits[0] - logits[1]).abs().max()),
        error_before_percent=before.error_percent,
        error_after_percent=after.error_percent,
        loss_before=before.loss,
        loss_after=after.loss,
        loss_untouched_later=_loss_later(network, subject) if goes_on else None,
        loss_extended_later=_loss_later(longer, subject) if goes_on else None,
    )


def _steps(subject: Subject) -> int:
    return FURTHER_EPOCHS * subject.trainer.order.batches


def _loss_later(network: CifarNetwork, subject: Subject) -> float | None:
    """Train a copy on, with batches that both networks see, and evaluate it clean."""
    trained = copy.deepcopy(network)
    plan = TrainingPlan(
        schedule=Schedule(shape="constant", steps=_steps(subject), peak=FURTHER_RATE),
        batch_size=subject.cell.batch_size,
        seed=derived_seed(subject.cell.seed, "further training"),
        channels_last=True,
    )
    normalisation = subject.data.normalisation
    trainer = Trainer(trained, subject.train, normalisation, plan)
    trainer.train()
    if trainer.diverged:
        return None
    recalibrate(trained, subject.train, normalisation)
    later = evaluate(trained, subject.train, normalisation)
    return None if later.loss is None else finite(later.loss)


def constructions(subject: Subject) -> Iterator[Construction]:
    """Yield, for each deeper depth, the shallow network's solution written into it."""
    network = subject.model
    if not isinstance(network, CifarNetwork) or subject.cell.shortcut != "plain":
        return
    train, normalisation = subject.train, subject.data.normalisation
    shallow = predict(network, train, normalisation)
    for depth in subject.cell.deep_depths:
        draw = generator(subject.cell.seed, "identity layers")
        deep = with_identity_layers(network, depth, draw).to(subject.cell.place)
        logits = predict(deep, train, normalisation)
        yield Construction(
            deep_depth=depth,
            images=len(train),
            largest_logit_difference=float((logits - shallow).abs().max()),
            shallow_error_percent=judge(shallow, train.labels).error_percent,
            constructed_error_percent=judge(logits, train.labels).error_percent,
        )
