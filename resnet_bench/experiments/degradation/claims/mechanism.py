"""Claims about the image sizes that a network accepts."""

from collections.abc import Sequence

from resnet_bench.experiments.degradation.claims import rules as cases
from resnet_bench.experiments.degradation.claims import rules as lessons
from resnet_bench.experiments.degradation.claims.evidence import (
    BySeed,
    Evidence,
    Network,
    minus,
    over,
)
from resnet_bench.experiments.degradation.claims.rules import (
    Case,
    Claim,
    Criterion,
    Relation,
    Scale,
    words,
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


#: Training loss that further steps may cost the net with identity blocks added.
LOSS_MARGIN = 0.02

#: Points of error that deleting one block costs: residual at most, plain at least.
RESIDUAL_LESION = 2.0
PLAIN_LESION = 20.0


def inserted_difference(evidence: Evidence, case: Case) -> BySeed:
    """Return how far blocks that learned nothing move the residual net's logits."""
    network = Network("residual", case.deep)
    return evidence.insertion(network, "largest_logit_difference")


def loss_after_insertion(evidence: Evidence, case: Case) -> BySeed:
    """Return the extended net's later training loss minus the untouched net's."""
    network = Network("residual", case.deep)
    extended = evidence.insertion(network, "loss_extended_later")
    return minus(extended, evidence.insertion(network, "loss_untouched_later"))


def plain_insertion(evidence: Evidence, case: Case) -> BySeed:
    """Return what the same insertion costs the plain network, in points of error."""
    network = Network("plain", case.deep)
    after = evidence.insertion(network, "error_after_percent")
    return minus(after, evidence.insertion(network, "error_before_percent"))


def response_with_depth(evidence: Evidence, case: Case) -> BySeed:
    """Return the deep residual net's mean response over the reference's."""
    deep = evidence.response(Network("residual", case.deep))
    return over(deep, evidence.response(Network("residual", evidence.reference)))


def response_of_shortcuts(evidence: Evidence, case: Case) -> BySeed:
    """Return the residual net's mean response over the plain net's, same depth."""
    residual = evidence.response(Network("residual", evidence.reference))
    return over(residual, evidence.response(Network("plain", evidence.reference)))


def residual_deletion(evidence: Evidence, case: Case) -> BySeed:
    """Return the residual net's median loss from deleting one block."""
    return evidence.deletion(Network("residual", case.deep))


def plain_deletion(evidence: Evidence, case: Case) -> BySeed:
    """Return the plain net's median loss from deleting one block."""
    return evidence.deletion(Network("plain", case.other))


IDENTITY_CLAIMS = (
    Claim(
        name="identity-exact",
        study="identity",
        title="block of F = 0 is the identity",
        sentence=(
            "Blocks that learned nothing (a last batch-norm scale of 0), put into the "
            "trained residual-{deep}, leave every logit as it was, to the last bit."
        ),
        refuted=(
            "Blocks that learned nothing, put into the trained residual-{deep}, change "
            "its logits."
        ),
        lesson=lessons.ZERO_PLUS_X,
        supporting="He et al. 2015, section 3.1; Goyal et al. 2017, section 5.1",
        contradicting="",
        criteria=(
            Criterion(
                statistic="largest difference of logits, with and without the blocks",
                samples=inserted_difference,
                relation=Relation.AT_MOST,
                margin=0.0,
                unit="",
                scale=Scale.EXACT,
            ),
        ),
        cases=cases.at_reference,
    ),
    Claim(
        name="identity-never-worse",
        study="identity",
        title="more layers never hurt",
        sentence=(
            "Trained on for the same further steps, residual-{deep} with blocks added "
            "ends at a training loss no higher than that of the net left as it was."
        ),
        refuted=(
            "Trained on for the same further steps, residual-{deep} with blocks added "
            "ends at a higher training loss than the net left as it was: added layers "
            "can make it worse."
        ),
        lesson=lessons.NEVER_WORSE,
        supporting="He et al. 2015, section 1",
        contradicting="He et al. 2015, Table 6: 1202 layers test worse than 110",
        criteria=(
            Criterion(
                statistic="training loss of the extended net minus the untouched one's",
                samples=loss_after_insertion,
                relation=Relation.BELOW,
                margin=LOSS_MARGIN,
                unit="",
                difference=True,
            ),
        ),
        cases=cases.at_reference,
    ),
    Claim(
        name="identity-plain-control",
        study="identity",
        title="control: it destroys plain-{deep}",
        sentence=(
            "Control: the same blocks put into the trained plain-{deep}, where no x "
            "gets past them, destroy it."
        ),
        refuted=(
            "Control failed: the same blocks put into the trained plain-{deep} do it "
            "little harm."
        ),
        lesson=lessons.X_PASSES,
        supporting="He et al. 2015, section 3.1",
        contradicting="",
        criteria=(
            Criterion(
                statistic="rise of plain-{deep}'s training error with the blocks",
                samples=plain_insertion,
                relation=Relation.ABOVE,
                margin=PLAIN_LESION,
                unit="pp",
                difference=True,
            ),
        ),
        cases=cases.at_reference,
    ),
)

RESPONSE_CLAIMS = (
    Claim(
        name="response-small",
        study="response",
        title="residual responses are small",
        sentence=(
            "Residual functions are small: the blocks of residual-{deep} add less to "
            "what they are given than those of residual-{reference}, and these change "
            "it less than the blocks of plain-{reference}."
        ),
        refuted=(
            "Residual functions are not small: the blocks of residual-{deep} add no "
            "less than those of residual-{reference}, or these change what they are "
            "given no less than the blocks of plain-{reference}."
        ),
        lesson=lessons.LEARNED_NOTHING,
        supporting="He et al. 2015, section 4.2 and Fig. 7",
        contradicting="",
        criteria=(
            Criterion(
                statistic=(
                    "mean of ||F(x)|| / ||x||, residual-{deep} over "
                    "residual-{reference}"
                ),
                samples=response_with_depth,
                relation=Relation.BELOW,
                margin=1.0,
                unit="",
                scale=Scale.RATIO,
            ),
            Criterion(
                statistic=(
                    "mean of ||F(x)|| / ||x||, residual-{reference} over "
                    "plain-{reference}"
                ),
                samples=response_of_shortcuts,
                relation=Relation.BELOW,
                margin=1.0,
                unit="",
                scale=Scale.RATIO,
            ),
        ),
        cases=cases.deepest,
    ),
)

LESION_CLAIMS = (
    Claim(
        name="lesion-residual-robust",
        study="lesion",
        title="residual-{deep} survives a lesion",
        sentence=(
            "Deleting one block costs the trained residual-{deep} less than 2 points "
            "of error at the median and the trained plain-{other} more than 20: x "
            "takes the shortcut around what is missing."
        ),
        refuted=(
            "Deleting one block costs the trained residual-{deep} more than 2 points "
            "of error at the median, or the trained plain-{other} less than 20."
        ),
        lesson=lessons.SHORTCUT_TO_OUTPUT,
        supporting="Veit et al. 2016, section 4.1",
        contradicting="",
        criteria=(
            Criterion(
                statistic="median rise of the error, residual-{deep} less one block",
                samples=residual_deletion,
                relation=Relation.BELOW,
                margin=RESIDUAL_LESION,
                unit="pp",
            ),
            Criterion(
                statistic="median rise of the error, plain-{other} less one block",
                samples=plain_deletion,
                relation=Relation.ABOVE,
                margin=PLAIN_LESION,
                unit="pp",
            ),
        ),
        cases=cases.trained,
    ),
)

BLOCK_CLAIMS = (
    *IDENTITY_CLAIMS,
    *RESPONSE_CLAIMS,
    *LESION_CLAIMS,
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
