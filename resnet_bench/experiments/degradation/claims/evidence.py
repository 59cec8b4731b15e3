"""Which networks of a run a claim is judged on."""

from collections.abc import Sequence

from resnet_bench.catalogue import DATASETS
from resnet_bench.experiments.degradation.claims.evidence_part import Evidence
from resnet_bench.experiments.degradation.claims.rules import Case


def words(evidence: Evidence) -> dict[str, object]:
    """Return what every claim's sentence may name: budget, data, reference depth."""
    named = DATASETS.get(evidence.dataset)
    return {
        "steps": "the budget's" if evidence.steps is None else evidence.steps,
        "dataset": named.title if named else evidence.dataset,
        "reference": evidence.reference,
        "extreme": evidence.extreme,
    }


def each_deep(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks, and before them the deepest up to 56 layers."""
    found = [Case(deep=depth, words=words(evidence)) for depth in evidence.deep]
    return found or [_nothing_deep(evidence)]


def deepest(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks only."""
    return each_deep(evidence)[-1:]


def _nothing_deep(evidence: Evidence) -> Case:
    lacks = f"the grid has no network deeper than {evidence.reference} layers"
    return Case(words=words(evidence), lacks=lacks)


def at_reference(evidence: Evidence) -> Sequence[Case]:
    """Judge the depth that deeper networks are held against."""
    return [Case(deep=evidence.reference, words=words(evidence))]


def at_few_images(evidence: Evidence) -> Sequence[Case]:
    """Judge the depth whose network also learned a few images by heart."""
    return [Case(deep=evidence.few_images_depth, words=words(evidence))]


def at_middle(evidence: Evidence) -> Sequence[Case]:
    """Judge the depth of the studies that vary the network."""
    return [Case(deep=evidence.middle, words=words(evidence))]


def at_extreme(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest network of the whole run."""
    return [Case(deep=evidence.extreme, words=words(evidence))]


def at_hundred(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks of the grid, whatever they are."""
    return [Case(deep=max(evidence.depths), words=words(evidence))]


def shallowest(evidence: Evidence) -> Sequence[Case]:
    """Hold the shallowest networks (`other`) against the reference depth."""
    shallow = min(evidence.depths)
    if shallow < evidence.reference:
        return [Case(evidence.reference, shallow, words=words(evidence))]
    lacks = f"the grid has no network shallower than {evidence.reference} layers"
    return [Case(evidence.reference, words=words(evidence), lacks=lacks)]


def each_budget(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks that a longer budget trained; none without one."""
    return [
        Case(max(depths), min(depths), multiple, words(evidence))
        for multiple in evidence.multiples
        if len(depths := evidence.budget_depths(multiple)) > 1
    ]


def trained(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks that trained: `deep` residual, `other` plain."""
    residual = evidence.deepest_trained("residual")
    plain = evidence.deepest_trained("plain")
    lacking = [
        arm for arm, depth in (("residual", residual), ("plain", plain)) if not depth
    ]
    lacks = f"no {' and no '.join(lacking)} network trained" if lacking else ""
    return [Case(residual or 0, plain or 0, words=words(evidence), lacks=lacks)]
