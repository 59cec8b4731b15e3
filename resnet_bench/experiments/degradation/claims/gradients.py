"""Claims about the gradient on its way down through a plain network."""

from resnet_bench.experiments.degradation.claims import evidence as cases
from resnet_bench.experiments.degradation.claims import lessons
from resnet_bench.experiments.degradation.claims.evidence_part import (
    BySeed,
    Evidence,
    Network,
)
from resnet_bench.experiments.degradation.claims.rules import (
    Case,
    Claim,
    Criterion,
    Relation,
    Scale,
)

#: Ratios of the gradient at the bottom over that at the top, at step 0: below the
#: first it vanishes, above the second it explodes, between them it is healthy.
VANISHING = 0.1
EXPLODING = 10.0


def gradient_ratio(evidence: Evidence, case: Case) -> BySeed:
    """Return the plain net's gradient at the bottom over that at the top, step 0."""
    return evidence.gradient_ratio(Network("plain", case.deep))


def gradient_imbalance(evidence: Evidence, case: Case) -> BySeed:
    """Return the larger of the gradient's ratio and its inverse."""
    ratios = gradient_ratio(evidence, case)
    return {seed: max(ratio, 1 / ratio) for seed, ratio in ratios.items()}


GRADIENT_RATIO = (
    "||dL/dx|| at the first block over that at the last, plain-{deep}, step 0"
)

GRADIENT_CLAIMS = (
    Claim(
        name="gradients-vanish",
        study="gradients",
        title="gradient fades in plain-{deep}",
        sentence=(
            "Before training, the gradient of plain-{deep} with batch norm fades on "
            "its way down: at the bottom it is less than a tenth of that at the top."
        ),
        refuted=(
            "Before training, the gradient of plain-{deep} with batch norm does not "
            "fade on its way down."
        ),
        lesson=lessons.GRADIENT_IS_SPENT,
        supporting="Glorot and Bengio 2010, section 4 (without batch norm)",
        contradicting="He et al. 2015, section 4.1; Yang et al. 2019",
        criteria=(
            Criterion(
                statistic=GRADIENT_RATIO,
                samples=gradient_ratio,
                relation=Relation.BELOW,
                margin=VANISHING,
                unit="",
                scale=Scale.RATIO,
            ),
        ),
        cases=cases.deepest,
    ),
    Claim(
        name="gradients-explode",
        study="gradients",
        title="gradient explodes in plain-{deep}",
        sentence=(
            "Before training, the gradient of plain-{deep} with batch norm explodes: "
            "at the bottom it is more than ten times that at the top."
        ),
        refuted=(
            "Before training, the gradient of plain-{deep} with batch norm does not "
            "explode on its way down."
        ),
        lesson=lessons.GRADIENT_IS_SPENT,
        supporting="Yang et al. 2019: batch norm makes gradients explode at the start",
        contradicting="He et al. 2015, section 4.1",
        criteria=(
            Criterion(
                statistic=GRADIENT_RATIO,
                samples=gradient_ratio,
                relation=Relation.ABOVE,
                margin=EXPLODING,
                unit="",
                scale=Scale.RATIO,
            ),
        ),
        cases=cases.deepest,
    ),
    Claim(
        name="gradients-healthy",
        study="gradients",
        title="gradient healthy in plain-{deep}",
        sentence=(
            "Before training, the gradient of plain-{deep} with batch norm is healthy: "
            "bottom and top differ by less than ten times, either way."
        ),
        refuted=(
            "Before training, the gradient of plain-{deep} with batch norm is not "
            "healthy: bottom and top differ by more than ten times."
        ),
        lesson=lessons.GRADIENT_IS_SPENT,
        supporting="He et al. 2015, section 4.1: healthy norms with batch norm",
        contradicting="Yang et al. 2019; Balduzzi et al. 2017",
        criteria=(
            Criterion(
                statistic=(
                    "||dL/dx|| at the first block against that at the last, the "
                    "larger over the smaller, plain-{deep}, step 0"
                ),
                samples=gradient_imbalance,
                relation=Relation.BELOW,
                margin=EXPLODING,
                unit="",
                scale=Scale.RATIO,
            ),
        ),
        cases=cases.deepest,
    ),
)
