"""Every claim about degradation, judged on a run by margins fixed before it."""

from typing import Any

from resnet_bench.experiments.degradation.claims.evidence import Evidence
from resnet_bench.experiments.degradation.claims.judging import (
    Judged,
    judge,
    known,
    with_control,
)
from resnet_bench.experiments.degradation.claims.limits import LIMIT_CLAIMS
from resnet_bench.experiments.degradation.claims.mechanism import (
    BLOCK_CLAIMS,
    GRADIENT_CLAIMS,
    SIZE_CLAIMS,
)
from resnet_bench.experiments.degradation.claims.training import (
    DEPTH_CLAIMS,
    OVERFITTING_CLAIMS,
)
from resnet_bench.store.reading import Run

#: One row per claim, in the order in which they are shown.
CLAIMS = (
    *DEPTH_CLAIMS,
    *OVERFITTING_CLAIMS,
    *GRADIENT_CLAIMS,
    *BLOCK_CLAIMS,
    *LIMIT_CLAIMS,
    *SIZE_CLAIMS,
)


def judged_claims(run: Run) -> list[Judged]:
    """Return every claim of the studies that the run was asked for, judged."""
    evidence = Evidence(run)
    judged = [
        judge(claim, evidence, case)
        for claim in CLAIMS
        if claim.study in evidence.studies
        for case in claim.cases(evidence)
    ]
    verdicts = {each.claim.name: each.verdict for each in judged}
    return [with_control(each, verdicts) for each in judged]


def claim_row(judged: Judged, run: Run) -> dict[str, Any]:
    """Return a verdict as plain values; an unknown bound is None.

    `estimate`, `low`, `high` and `margin` are those of the first criterion;
    `why` names every criterion.
    """
    claim, finding = judged.claim, judged.deciding
    interval = finding.interval
    return {
        "study": claim.study,
        "name": claim.name,
        "claim": judged.sentence,
        "statistic": finding.statistic,
        "estimate": known(interval.estimate) if interval else None,
        "low": known(interval.low) if interval else None,
        "high": known(interval.high) if interval else None,
        "unit": finding.criterion.unit or "1",
        "relation": str(finding.criterion.relation),
        "margin": finding.margin,
        "seeds": judged.seeds,
        "sign_flip_p": finding.p_value,
        "verdict": str(judged.verdict),
        "why": judged.why,
        "conclusion": judged.conclusion,
        "tutorial_section": claim.lesson.section,
        "tutorial_sentence": claim.lesson.original,
        "tutorial_translation": claim.lesson.translation,
        "supporting": claim.supporting,
        "contradicting": claim.contradicting,
        "run": run.id,
    }
