"""Claims about how well networks train: rows of data, margins fixed before any run."""

from resnet_bench.experiments.degradation.claims import rules as cases
from resnet_bench.experiments.degradation.claims import rules as lessons
from resnet_bench.experiments.degradation.claims.evidence import (
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
)
from resnet_bench.experiments.degradation.grid import FEW_IMAGES
from resnet_bench.experiments.degradation.records import Shortcut

#: Percentage points of training error that degradation must exceed; on the small
#: digits, whose budgets are short, ten times what larger data sets must show.
DEGRADATION_POINTS = 1.0
DIGITS_POINTS = {"digits": 10.0, "digits-0-4": 10.0, "digits-5-9": 10.0}

#: Percentage points of training error that depth may cost the residual network.
RESIDUAL_POINTS = 1.0

#: Percentage points by which a gap of test over training error has grown.
GAP_POINTS = 1.0


def growth(evidence: Evidence, case: Case, shortcut: Shortcut) -> BySeed:
    """Return the training error at the deep depth minus that at the reference."""
    deep = Network(shortcut, case.deep, budget=case.multiple)
    reference = Network(shortcut, evidence.reference, budget=case.multiple)
    return minus(evidence.error(deep), evidence.trained_error(reference))


def plain_growth(evidence: Evidence, case: Case) -> BySeed:
    """Return what depth costs the plain network, in points of training error."""
    return growth(evidence, case, "plain")


def residual_growth(evidence: Evidence, case: Case) -> BySeed:
    """Return what depth costs the residual network, in points of training error."""
    return growth(evidence, case, "residual")


def excess(evidence: Evidence, case: Case) -> BySeed:
    """Return D: what depth costs the plain network beyond the residual one."""
    return minus(plain_growth(evidence, case), residual_growth(evidence, case))


def excess_shrinks(evidence: Evidence, case: Case) -> BySeed:
    """Return D after one budget minus D after the longer one, same seeds."""
    return minus(excess(evidence, Case(case.deep)), excess(evidence, case))


def shallow_excess(evidence: Evidence, case: Case) -> BySeed:
    """Return the shallow plain network's error minus the reference's."""
    shallow = evidence.error(Network("plain", case.other))
    return minus(shallow, evidence.trained_error(Network("plain", case.deep)))


def gap_growth(evidence: Evidence, case: Case) -> BySeed:
    """Return how much wider the deep plain network's gap is than the reference's."""
    reference = evidence.gap(Network("plain", evidence.reference))
    return minus(evidence.gap(Network("plain", case.deep)), reference)


def few_images_gap_growth(evidence: Evidence, case: Case) -> BySeed:
    """Return how much wider the gap is when a few images are learned by heart."""
    few = Network("plain", case.deep, train_images=FEW_IMAGES)
    return minus(evidence.gap(few), evidence.gap(Network("plain", case.deep)))


def residual_error(evidence: Evidence, case: Case) -> BySeed:
    """Return the residual network's training error in percent."""
    return evidence.error(Network("residual", case.deep))


def plain_error(evidence: Evidence, case: Case) -> BySeed:
    """Return the plain network's training error in percent."""
    return evidence.error(Network("plain", case.deep))


EXCESS = Criterion(
    statistic=(
        "D = (plain-{deep} − plain-{reference}) − (residual-{deep} − "
        "residual-{reference}), training error"
    ),
    samples=excess,
    relation=Relation.ABOVE,
    margin=DEGRADATION_POINTS,
    margins=DIGITS_POINTS,
    unit="pp",
    difference=True,
)

DEPTH_CLAIMS = (
    Claim(
        name="depth-degradation",
        study="depth",
        title="only plain-{deep} degrades",
        sentence=(
            "After {steps} steps on {dataset}, {deep} layers instead of {reference} "
            "cost the plain network clearly more training error than the residual "
            "network of identical initial weights, and cost the residual one nothing."
        ),
        refuted=(
            "After {steps} steps on {dataset}, plain-{deep} has not fallen behind "
            "residual-{deep} as claimed, or residual-{deep} has degraded too."
        ),
        lesson=lessons.FIFTY_IS_WORSE,
        supporting="He et al. 2015, section 4.2 and Fig. 6",
        contradicting="",
        criteria=(
            EXCESS,
            Criterion(
                statistic="residual-{deep} − residual-{reference}, training error",
                samples=residual_growth,
                relation=Relation.BELOW,
                margin=RESIDUAL_POINTS,
                unit="pp",
                difference=True,
            ),
        ),
        cases=cases.each_deep,
    ),
    Claim(
        name="depth-helps-at-first",
        study="depth",
        title="plain-{deep} beats plain-{other}",
        sentence=(
            "After {steps} steps on {dataset}, the plain network of {deep} layers has "
            "a lower training error than that of {other}."
        ),
        refuted=(
            "After {steps} steps on {dataset}, the plain network of {deep} layers has "
            "a higher training error than that of {other}."
        ),
        lesson=lessons.TWENTY_BEATS_TEN,
        supporting="Simonyan and Zisserman 2015, Table 3",
        contradicting="",
        criteria=(
            Criterion(
                statistic="plain-{other} − plain-{deep}, training error",
                samples=shallow_excess,
                relation=Relation.ABOVE,
                margin=0.0,
                unit="pp",
                difference=True,
            ),
        ),
        cases=cases.shallowest,
    ),
    Claim(
        name="budget-untrainable",
        study="depth",
        title="{multiple}× steps: plain-{deep} behind",
        sentence=(
            "Even after {multiple} times {steps} steps on {dataset}, depth costs "
            "plain-{deep} clearly more training error than residual-{deep}: it cannot "
            "be trained in that budget, rather than being slow."
        ),
        refuted=(
            "After {multiple} times {steps} steps on {dataset}, plain-{deep} has "
            "caught up: it trained slowly; that it cannot be trained is not so."
        ),
        lesson=lessons.CANNOT_BE_TRAINED,
        supporting="He et al. 2015, section 4.1, footnote on 3 times the iterations",
        contradicting="Xiao et al. 2018: 10,000 plain layers can be trained",
        criteria=(EXCESS,),
        cases=cases.each_budget,
    ),
    Claim(
        name="budget-shrinks",
        study="depth",
        title="{multiple}× steps: difference shrinks",
        sentence=(
            "With {multiple} times {steps} steps on {dataset}, the difference that "
            "depth makes between plain-{deep} and residual-{deep} shrinks."
        ),
        refuted=(
            "With {multiple} times {steps} steps on {dataset}, the difference that "
            "depth makes between plain-{deep} and residual-{deep} does not shrink."
        ),
        lesson=lessons.CANNOT_BE_TRAINED,
        supporting="",
        contradicting="He et al. 2015, section 4.1, footnote on 3 times the iterations",
        criteria=(
            Criterion(
                statistic="D after 1× minus D after {multiple}× the steps",
                samples=excess_shrinks,
                relation=Relation.ABOVE,
                margin=DEGRADATION_POINTS,
                unit="pp",
                difference=True,
            ),
        ),
        cases=cases.each_budget,
    ),
)

OVERFITTING_CLAIMS = (
    Claim(
        name="overfitting-absent",
        study="overfitting",
        title="plain-{deep} does not overfit",
        sentence=(
            "After {steps} steps on {dataset}, plain-{deep} is worse than "
            "plain-{reference} on the training set itself, and its gap between test "
            "and training error has not grown: this is not overfitting."
        ),
        refuted=(
            "After {steps} steps on {dataset}, plain-{deep} is no worse than "
            "plain-{reference} on the training set, or its gap between test and "
            "training error has grown: overfitting is not ruled out."
        ),
        lesson=lessons.NOT_OVERFITTING,
        supporting="He et al. 2015, section 1 and Fig. 1",
        contradicting="",
        criteria=(
            Criterion(
                statistic="plain-{deep} − plain-{reference}, training error",
                samples=plain_growth,
                relation=Relation.ABOVE,
                margin=0.0,
                unit="pp",
                difference=True,
            ),
            Criterion(
                statistic=(
                    "(test − training error) of plain-{deep} minus that of "
                    "plain-{reference}"
                ),
                samples=gap_growth,
                relation=Relation.BELOW,
                margin=GAP_POINTS,
                unit="pp",
                difference=True,
            ),
        ),
        cases=cases.deepest,
        control="overfitting-control",
    ),
    Claim(
        name="overfitting-control",
        study="overfitting",
        title=f"control: {FEW_IMAGES} images do overfit",
        sentence=(
            f"Positive control: trained on {FEW_IMAGES} images for {{steps}} steps, "
            "plain-{deep} does overfit, and the gap between test and training error "
            "shows it."
        ),
        refuted=(
            f"Positive control failed: even {FEW_IMAGES} images leave no gap between "
            "test and training error, so that this run could not see overfitting."
        ),
        lesson=lessons.NOT_OVERFITTING,
        supporting="Zhang et al. 2017, section 2: networks learn small sets by heart",
        contradicting="",
        criteria=(
            Criterion(
                statistic=(
                    f"(test − training error) with {FEW_IMAGES} images minus that "
                    "with all, plain-{deep}"
                ),
                samples=few_images_gap_growth,
                relation=Relation.ABOVE,
                margin=GAP_POINTS,
                unit="pp",
                difference=True,
            ),
        ),
        cases=cases.at_few_images,
    ),
)
