"""What a claim is, and how a run judges it by rules and margins fixed before."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from resnet_bench.experiments.degradation.claims.evidence import Case, Evidence
from resnet_bench.experiments.degradation.claims.rules import Criterion, Finding, find
from resnet_bench.present.numbers import duration
from resnet_bench.statistics.verdicts import Verdict, holm

#: The bounds in a row whose rule has no interval.
NO_BOUNDS = {"low": None, "high": None}

#: Verdicts of one criterion that a claim takes over, the strongest first.
STRONGEST = (
    Verdict.REFUTED,
    Verdict.AT_FLOOR,
    Verdict.NO_DIFFERENCE,
    Verdict.NO_VERDICT,
    Verdict.INCONCLUSIVE,
)


@dataclass(frozen=True)
class Lesson:
    """A sentence of the tutorial: its section, its words, and English ones."""

    section: int
    original: str
    translation: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that a run can support or refute; all its criteria must hold.

    `lesson` is the tutorial's sentence; `refuted` says what is so when the claim is
    not; `explained` is said on docs/claims.md only. `supporting` and `contradicting`
    name papers. `cases` lists the networks it is judged on in a run; `control` names
    a claim without whose support this one's would mean nothing.
    """

    name: str
    study: str
    title: str
    sentence: str
    refuted: str
    lesson: Lesson
    criteria: Sequence[Criterion]
    cases: Callable[[Evidence], Sequence[Case]]
    explained: str = ""
    supporting: str = ""
    contradicting: str = ""
    control: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim with what a run found of it, for one case.

    `failed_control` names the control whose support is missing; `advice` says how many
    seeds would decide, and how long they take.
    """

    claim: Claim
    case: Case
    findings: tuple[Finding, ...]
    failed_control: str = ""
    advice: str = ""

    @property
    def verdict(self) -> Verdict:
        """SUPPORTED if all criteria hold, else the strongest that is said of one."""
        found = {finding.verdict for finding in self.findings}
        if found != {Verdict.SUPPORTED}:
            return next(verdict for verdict in STRONGEST if verdict in found)
        return Verdict.INCONCLUSIVE if self.failed_control else Verdict.SUPPORTED

    @property
    def why(self) -> str:
        """What was found, by criterion, and what would decide."""
        if self.case.lacks:
            return self.case.lacks
        reasons = [finding.reason for finding in self.findings]
        if self.failed_control:
            reasons.insert(0, f"the control {self.failed_control} is not supported")
        return "; ".join([*reasons, *([self.advice] if self.advice else [])])

    @property
    def deciding(self) -> Finding:
        """The criterion that the claim's row shows: the first."""
        return self.findings[0]

    @property
    def seeds(self) -> int:
        """The seeds behind the weakest criterion."""
        return min(finding.seeds for finding in self.findings)

    @property
    def wanted_seeds(self) -> int | None:
        """The seeds that would decide; None where it is decided or nobody knows."""
        if self.verdict not in (Verdict.NO_VERDICT, Verdict.INCONCLUSIVE):
            return None
        wanted = [finding.wanted_seeds for finding in self.findings]
        return None if self.case.lacks else max(filter(None, wanted), default=None)

    @property
    def sentence(self) -> str:
        """The claim in words, with its budget and depths."""
        return self.case.fill(self.claim.sentence)

    @property
    def title(self) -> str:
        """The claim in a few words."""
        return self.case.fill(self.claim.title)

    @property
    def conclusion(self) -> str:
        """What the run says, in one sentence."""
        if self.verdict is Verdict.SUPPORTED:
            return self.sentence
        if self.verdict is Verdict.REFUTED:
            return self.case.fill(self.claim.refuted)
        return f"Open: {self.sentence} ({self.why})"


def judge_all(claims: Sequence[Claim], evidence: Evidence) -> list[Judged]:
    """Return every claim of the studies that the run was asked for, judged."""
    judged = [
        judge(claim, evidence, case)
        for claim in claims
        if claim.study in evidence.studies
        for case in claim.cases(evidence)
    ]
    corrected = list(_corrected(judged))
    supported = {
        each.claim.name for each in corrected if each.verdict is Verdict.SUPPORTED
    }
    controlled = [
        replace(each, failed_control=control)
        if (control := each.claim.control) and control not in supported
        else each
        for each in corrected
    ]
    return [replace(each, advice=advice(each, evidence)) for each in controlled]


def judge(claim: Claim, evidence: Evidence, case: Case) -> Judged:
    """Return what the run found, without regard to other claims."""
    on = evidence.on(case.dataset)
    findings = tuple(find(criterion, on, case) for criterion in claim.criteria)
    return Judged(claim, case, findings)


def _corrected(judged: Sequence[Judged]) -> Iterator[Judged]:
    """Yield the claims with the p of t tests adjusted for all those of their study."""
    tests: dict[str, list[tuple[int, int]]] = {}
    p_values: dict[tuple[int, int], float] = {}
    for row, each in enumerate(judged):
        for number, finding in enumerate(each.findings):
            if finding.rule.tests_means and finding.p_value is not None:
                tests.setdefault(each.claim.study, []).append((row, number))
                p_values[row, number] = finding.p_value
    for places in tests.values():
        adjusted = holm([p_values[place] for place in places])
        p_values |= dict(zip(places, adjusted, strict=True))
    for row, each in enumerate(judged):
        findings = tuple(
            replace(finding, p_value=p_values.get((row, number), finding.p_value))
            for number, finding in enumerate(each.findings)
        )
        yield replace(each, findings=findings)


def advice(judged: Judged, evidence: Evidence) -> str:
    """Return how many seeds would decide and how long they take; empty if unknown."""
    if judged.wanted_seeds is None:
        return ""
    # --seeds holds for every network: none must lose some.
    seeds = max(judged.wanted_seeds, evidence.most_seeds)
    seconds = evidence.seconds_with(seeds)
    takes = "" if seconds is None else f", about {duration(seconds)}"
    return f"--seeds {seeds} could decide{takes}"


def claim_row(judged: Judged, run_id: str) -> dict[str, Any]:
    """Return a verdict as plain values; an unknown bound is None.

    Statistic, estimate and margin are those of the first criterion; `test` is the rule
    that decides it, `holding` counts the seeds in which it holds and `p_value` is
    Fisher's or that of the t test, adjusted by Holm. `why` names every criterion, and
    `seeds` counts those of the weakest.
    """
    claim, finding = judged.claim, judged.deciding
    bounds = finding.interval.json if finding.interval else NO_BOUNDS
    return {
        "study": claim.study,
        "name": claim.name,
        "claim": judged.sentence,
        "statistic": finding.words,
        "test": finding.rule.value,
        "holding": finding.holding,
        **bounds,
        "estimate": finding.estimate,
        "n": finding.seeds,
        "unit": finding.criterion.statistic.unit or "1",
        "relation": str(finding.criterion.relation),
        "margin": finding.margin,
        "seeds": judged.seeds,
        "p_value": finding.p_value,
        "verdict": str(judged.verdict),
        "why": judged.why,
        "conclusion": judged.conclusion,
        "tutorial_section": claim.lesson.section,
        "tutorial_sentence": claim.lesson.original,
        "tutorial_translation": claim.lesson.translation,
        "supporting": claim.supporting,
        "contradicting": claim.contradicting,
        "run": run_id,
    }
