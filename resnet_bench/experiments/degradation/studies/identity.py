"""identity: is a block that learned nothing the identity, and does it do harm?"""

import copy
from collections.abc import Iterator

import torch

from resnet_bench.engine.models.blocks import with_zero_scale_blocks
from resnet_bench.engine.models.cifar import CifarNetwork
from resnet_bench.engine.models.small_maps import compute_small_maps_densely
from resnet_bench.engine.seeding import derived_seed, generator
from resnet_bench.engine.training.evaluation import (
    Evaluation,
    evaluate,
    judge,
    predict,
    recalibrate,
)
from resnet_bench.engine.training.trainer import Schedule, Trainer, TrainingPlan
from resnet_bench.experiments.degradation.records import IdentityInsertion
from resnet_bench.experiments.degradation.studies.subject import Subject, finite

#: Blocks appended to each of the three stages: twelve layers.
NEW_BLOCKS_PER_STAGE = 2

#: Further training of both networks: epochs, and a rate that a trained network bears.
FURTHER_EPOCHS = 1
FURTHER_RATE = 0.01


def observe(subject: Subject) -> Iterator[IdentityInsertion]:
    """Yield what zero-scale blocks do to a trained network, at once and later."""
    if not isinstance(subject.model, CifarNetwork):
        return
    network = subject.model
    depth = network.design.depth + 6 * NEW_BLOCKS_PER_STAGE
    longer = with_zero_scale_blocks(
        network, depth, generator(subject.cell.seed, "inserted blocks")
    ).to(subject.cell.device)
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
    later: Evaluation = evaluate(trained, subject.train, normalisation)
    return None if later.loss is None else finite(later.loss)
