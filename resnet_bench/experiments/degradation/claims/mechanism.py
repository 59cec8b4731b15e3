"""Claims about the image sizes that a network accepts."""

from collections.abc import Sequence

from resnet_bench.experiments.degradation.claims import lessons
from resnet_bench.experiments.degradation.claims.evidence import words
from resnet_bench.experiments.degradation.claims.evidence_part import BySeed, Evidence
from resnet_bench.experiments.degradation.claims.rules import (
    Case,
    Claim,
    Criterion,
    Relation,
    Scale,
)


def once(evidence: Evidence) -> Sequence[Case]:
    """Judge the run's one table of sizes."""
    return [Case(words=words(evidence))]


def resnet_refusals(evidence: Evidence, case: Case) -> BySeed:
    """Return how many image sizes a network with global pooling refuses."""
    refused = evidence.refused_sizes("adaptive")
    return {0: float(sum(refused))} if refused else {}


def lenet_acceptances(evidence: Evidence, case: Case) -> BySeed:
    """Return how many image sizes a network that flattens accepts."""
    refused = evidence.refused_sizes("flatten")
    return {0: float(len(refused) - sum(refused))} if refused else {}


SIZE_CLAIMS = (
    Claim(
        name="anysize-pooling",
        study="anysize",
        title="a ResNet takes any image size",
        sentence=(
            "With global average pooling, a residual network accepts every image size "
            "that was tried and answers with the same number of classes."
        ),
        refuted="With global average pooling, a network refused an image size.",
        lesson=lessons.ANY_SIZE,
        supporting="Lin et al. 2014, section 3.2",
        contradicting="",
        criteria=(
            Criterion(
                statistic="image sizes refused with global average pooling",
                samples=resnet_refusals,
                relation=Relation.AT_MOST,
                margin=0.0,
                unit="",
                scale=Scale.EXACT,
            ),
        ),
        cases=once,
    ),
    Claim(
        name="anysize-flatten",
        study="anysize",
        title="control: LeNet takes one size",
        sentence=(
            "Control: LeNet, which flattens instead, accepts the one image size that "
            "it was built for."
        ),
        refuted="LeNet, which flattens instead, accepts more than one image size.",
        lesson=lessons.LIKE_LENET,
        supporting="LeCun et al. 1998, section II.B: inputs of 32×32",
        contradicting="",
        criteria=(
            Criterion(
                statistic="image sizes accepted where the last maps are flattened",
                samples=lenet_acceptances,
                relation=Relation.AT_MOST,
                margin=1.0,
                unit="",
                scale=Scale.EXACT,
            ),
        ),
        cases=once,
    ),
)
