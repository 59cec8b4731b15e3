"""Claims about what could be trained: by construction, deeper, and otherwise."""

from resnet_bench.experiments.degradation.claims import rules as cases
from resnet_bench.experiments.degradation.claims import rules as lessons
from resnet_bench.experiments.degradation.claims.evidence import (
    TRAINED_PERCENT,
    BySeed,
    Evidence,
    Network,
    minus,
)
from resnet_bench.experiments.degradation.claims.rules import (
    Case,
    Claim,
    Criterion,
    Relation,
    Samples,
    Scale,
)
from resnet_bench.experiments.degradation.claims.training import (
    plain_error,
    residual_error,
)

#: Largest difference of logits between a net and its extension by identity layers.
SAME_LOGITS = 1e-4


def above_constructed(evidence: Evidence, case: Case) -> BySeed:
    """Return the deep plain network's error by SGD minus that of the constructed."""
    constructed = evidence.construction(case.deep, "constructed_error_percent")
    return minus(plain_error(evidence, case), constructed)


def constructed_logits(evidence: Evidence, case: Case) -> BySeed:
    """Return how far the constructed net's logits are from the shallow net's."""
    return evidence.construction(case.deep, "largest_logit_difference")


def worse_than_identity(treatment: str) -> Samples:
    """Return how much higher the error is with another shortcut than with +x."""

    def samples(evidence: Evidence, case: Case) -> BySeed:
        other = evidence.error(Network("residual", case.deep, treatment))
        return minus(other, residual_error(evidence, case))

    return samples


def scaled_above_convolution(evidence: Evidence, case: Case) -> BySeed:
    """Return the error with half of x minus that with a convolution of x."""
    half = evidence.error(Network("residual", case.deep, "lambda-0.5"))
    name = "convolution-shortcut"
    return minus(half, evidence.error(Network("residual", case.deep, name)))


def remedied_error(treatment: str) -> Samples:
    """Return the training error of a plain network with another remedy."""

    def samples(evidence: Evidence, case: Case) -> BySeed:
        return evidence.error(Network("plain", case.deep, treatment))

    return samples


def stays_untrained(remedy: str, treatment: str) -> Criterion:
    """Return the criterion that a plain network fails in spite of a remedy."""
    return Criterion(
        statistic=f"training error of plain-{{deep}} {remedy}",
        samples=remedied_error(treatment),
        relation=Relation.ABOVE,
        margin=TRAINED_PERCENT,
        unit="%",
    )


def trains(statistic: str) -> Criterion:
    """Return the criterion that the residual network trained."""
    return Criterion(
        statistic=statistic,
        samples=residual_error,
        relation=Relation.BELOW,
        margin=TRAINED_PERCENT,
        unit="%",
    )


CONSTRUCTED_CLAIMS = (
    Claim(
        name="constructed-exists",
        study="constructed",
        title="a good plain-{deep} exists",
        sentence=(
            "A plain network of {deep} layers as good as the trained one of "
            "{reference} exists (identity layers construct it), yet {steps} steps of "
            "SGD on {dataset} end at a higher training error."
        ),
        refuted=(
            "SGD on {dataset} finds a plain-{deep} no worse than the constructed one "
            "in {steps} steps, or the construction does not keep the function."
        ),
        lesson=lessons.NO_WORSE,
        supporting="He et al. 2015, section 1: a solution by construction",
        contradicting="",
        criteria=(
            Criterion(
                statistic="plain-{deep} by SGD minus constructed, training error",
                samples=above_constructed,
                relation=Relation.ABOVE,
                margin=0.0,
                unit="pp",
                difference=True,
            ),
            Criterion(
                statistic="largest difference of logits, constructed and shallow",
                samples=constructed_logits,
                relation=Relation.AT_MOST,
                margin=SAME_LOGITS,
                unit="",
                scale=Scale.EXACT,
            ),
        ),
        cases=cases.deepest,
    ),
)

THOUSAND_CLAIMS = (
    Claim(
        name="thousand-hundred",
        study="thousand",
        title="residual-{deep} trains",
        sentence=(
            "After {steps} steps on {dataset}, the residual network of {deep} layers "
            "has trained: its training error is below 5 %."
        ),
        refuted=(
            "After {steps} steps on {dataset}, the residual network of {deep} layers "
            "has not trained: its training error is above 5 %."
        ),
        lesson=lessons.THOUSAND_LAYERS,
        supporting="He et al. 2015, Table 6",
        contradicting="",
        criteria=(trains("training error of residual-{deep}"),),
        cases=cases.at_hundred,
    ),
    Claim(
        name="thousand-layers",
        study="thousand",
        title="residual-{deep} trains",
        sentence=(
            "After {steps} steps on {dataset}, the residual network of {deep} layers "
            "(narrower where the row says so) has trained: its training error is "
            "below 5 %."
        ),
        refuted=(
            "After {steps} steps on {dataset}, the residual network of {deep} layers "
            "has not trained: its training error is above 5 %."
        ),
        lesson=lessons.THOUSAND_LAYERS,
        supporting="He et al. 2015, section 4.2, exploring over 1000 layers",
        contradicting="",
        criteria=(trains("training error of residual-{deep}"),),
        cases=cases.at_extreme,
    ),
    Claim(
        name="thousand-control",
        study="thousand",
        title="control: plain-{deep} fails",
        sentence=(
            "Control: after the same {steps} steps on {dataset}, the plain network of "
            "{deep} layers has not trained; its training error is above 5 %."
        ),
        refuted=(
            "Control: after the same {steps} steps on {dataset}, the plain network of "
            "{deep} layers has trained as well, so that the shortcut was not needed."
        ),
        lesson=lessons.THOUSAND_LAYERS,
        supporting="He et al. 2015, section 4.2: plain-110 above 60 % error",
        contradicting="Xiao et al. 2018: 10,000 plain layers can be trained",
        criteria=(
            Criterion(
                statistic="training error of plain-{deep}",
                samples=plain_error,
                relation=Relation.ABOVE,
                margin=TRAINED_PERCENT,
                unit="%",
            ),
        ),
        cases=cases.at_hundred,
    ),
)

SHORTCUT_CLAIMS = (
    Claim(
        name="shortcut-identity-best",
        study="shortcut",
        title="depth {deep}: x < conv(x) < x/2",
        sentence=(
            "After {steps} steps on {dataset}, the pure +x gives residual-{deep} the "
            "lowest training error, a 1×1 convolution of x a higher one and half of x "
            "the highest: the order of He et al. 2016, Table 1."
        ),
        refuted=(
            "After {steps} steps on {dataset}, the order of He et al. 2016, Table 1 "
            "(x, then a convolution of x, then half of x) does not hold at depth "
            "{deep}."
        ),
        lesson=lessons.ONE_MORE_X,
        supporting="He et al. 2016, Table 1",
        contradicting="",
        criteria=(
            Criterion(
                statistic="1×1 convolution of x minus x, training error",
                samples=worse_than_identity("convolution-shortcut"),
                relation=Relation.ABOVE,
                margin=0.0,
                unit="pp",
                difference=True,
            ),
            Criterion(
                statistic="half of x minus 1×1 convolution of x, training error",
                samples=scaled_above_convolution,
                relation=Relation.ABOVE,
                margin=0.0,
                unit="pp",
                difference=True,
            ),
        ),
        cases=cases.at_middle,
    ),
)

CONTROLS_CLAIMS = (
    Claim(
        name="controls-necessary",
        study="controls",
        title="only shortcuts train depth {deep}",
        sentence=(
            "After {steps} steps on {dataset}, no other remedy trains plain-{deep}: "
            "from a Dirac start, twice as wide, or with Adam its training error stays "
            "above 5 %."
        ),
        refuted=(
            "After {steps} steps on {dataset}, another remedy trains plain-{deep} as "
            "well: shortcuts are sufficient, not necessary."
        ),
        lesson=lessons.WHY_HUNDRED,
        supporting="",
        contradicting=(
            "Balduzzi et al. 2017, section 4; Zagoruyko and Komodakis 2017 (Dirac); "
            "Xiao et al. 2018"
        ),
        criteria=(
            stays_untrained("from a Dirac start", "dirac"),
            stays_untrained("twice as wide", "wide"),
            stays_untrained("with Adam", "adam"),
        ),
        cases=cases.at_middle,
    ),
)

LIMIT_CLAIMS = (
    *CONSTRUCTED_CLAIMS,
    *THOUSAND_CLAIMS,
    *SHORTCUT_CLAIMS,
    *CONTROLS_CLAIMS,
)
