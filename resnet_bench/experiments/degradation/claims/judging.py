"""What a claim is, and how a run judges it: paired seeds against a fixed margin."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Any

from resnet_bench.experiments.degradation.claims.evidence import BySeed, Evidence
from resnet_bench.present.numbers import bracketed, compact
from resnet_bench.statistics.estimates import (
    SEEDS_FOR_P_VALUE,
    geometric_interval,
    mean_interval,
    sign_flip_p,
)
from resnet_bench.statistics.intervals import Interval
from resnet_bench.statistics.verdicts import Verdict


class Scale(Enum):
    """How the seeds' values become an interval.

    MEAN is Student's t. RATIO is Student's t on logarithms. EXACT is for what must
    hold of every network without exception: the worst value, which has no spread.
    """

    MEAN = "mean"
    RATIO = "ratio"
    EXACT = "exact"

    @property
    def least_seeds(self) -> int:
        """The seeds below which nothing can be decided."""
        return 1 if self is Scale.EXACT else 2

    def interval(self, samples: Sequence[float]) -> Interval:
        """Return the interval of at least one sample."""
        if self is Scale.RATIO:
            return geometric_interval(samples)
        if self is Scale.MEAN:
            return mean_interval(samples)
        worst = max(samples)
        return Interval(worst, worst, worst, len(samples))


class Relation(StrEnum):
    """On which side of its margin a claim says that a quantity lies."""

    ABOVE = ">"
    BELOW = "<"
    AT_MOST = "≤"

    def verdict(self, interval: Interval, margin: float) -> Verdict:
        """Return what the interval says; one that holds the margin says nothing."""
        low, high = interval.low, interval.high
        holds = {
            Relation.ABOVE: low > margin,
            Relation.BELOW: high < margin,
            Relation.AT_MOST: high <= margin,
        }
        fails = high < margin if self is Relation.ABOVE else low > margin
        if holds[self]:
            return Verdict.SUPPORTED
        return Verdict.REFUTED if fails else Verdict.INCONCLUSIVE


#: The bounds in a row of a claim whose networks no seed has.
NOTHING_MEASURED = {"estimate": None, "low": None, "high": None, "n": 0}

#: What stands for a depth that the grid lacks: of a network, and of its layers.
MISSING = {"deep": ("deeper", "more"), "other": ("shallower", "fewer")}


@dataclass(frozen=True)
class Case:
    """The networks that a claim is judged on; depth 0 where the run lacks them.

    `words` fill the places in the claim's sentences; `lacks` says what is missing.
    """

    deep: int = 0
    other: int = 0
    multiple: int = 1
    treatment: str = "standard"
    words: Mapping[str, object] = field(default_factory=dict)
    lacks: str = ""

    def fill(self, text: str) -> str:
        """Return `text` with this case's depths and words in their places.

        A network that the grid lacks is described: "a deeper plain net".
        """
        for name, depth in (("deep", self.deep), ("other", self.other)):
            if not depth:
                text = _describe_missing(text, name)
        depths = {"deep": self.deep, "other": self.other, "multiple": self.multiple}
        return text.format(**{**depths, **self.words})


def _describe_missing(text: str, name: str) -> str:
    """Put words in the place of the networks that `name` would have named."""
    adjective, count = MISSING[name]
    place = rf"\{{{name}\}}"
    text = re.sub(rf"the trained (plain|residual)-{place}", r"a trained \1 net", text)
    text = re.sub(rf"(plain|residual)-{place}", rf"a {adjective} \1 net", text)
    return re.sub(place, count, text)


#: Gives a number per seed, from the run and the case's networks.
Samples = Callable[[Evidence, Case], BySeed]


@dataclass(frozen=True)
class Statistic:
    """What is compared, in words with places for depths, and how it is computed.

    A quantity that is a paired difference can be tested by flipping signs.
    """

    words: str
    samples: Samples
    unit: str = ""
    scale: Scale = Scale.MEAN
    paired: bool = False

    def __call__(self, evidence: Evidence, case: Case) -> BySeed:
        """Return the statistic of every seed that has its networks."""
        return self.samples(evidence, case)


@dataclass(frozen=True)
class Criterion:
    """A statistic that must lie on one side of its margin.

    `margins` holds exceptions by data set.
    """

    statistic: Statistic
    relation: Relation
    margin: float
    margins: Mapping[str, float] = field(default_factory=dict)

    def margin_for(self, dataset: str) -> float:
        """Return the margin that was fixed for a data set."""
        return self.margins.get(dataset, self.margin)

    def rule(self, margin: float) -> str:
        """Return what must be so, such as `> 10 pp`."""
        return f"{self.relation} {compact(margin)} {self.statistic.unit}".rstrip()


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
class Finding:
    """A criterion as a run has it; `interval` is None where no seed has the networks.

    `p_value` is the sign-flip test's, from 6 seeds on; it never decides.
    """

    criterion: Criterion
    statistic: str
    margin: float
    interval: Interval | None = None
    verdict: Verdict = Verdict.INCONCLUSIVE
    p_value: float | None = None

    @property
    def seeds(self) -> int:
        """The seeds that have every network the criterion needs."""
        return self.interval.samples if self.interval else 0

    @property
    def measured(self) -> str:
        """The estimate with its interval and the rule, as short as it can be."""
        rule = self.criterion.rule(self.margin)
        if self.interval is None:
            return f"— {rule}"
        if self.criterion.statistic.scale is Scale.EXACT:
            return f"{compact(self.interval.estimate)} {rule}"
        return f"{bracketed(self._clean(self.interval))} {rule}"

    def _clean(self, interval: Interval) -> Interval:
        """Return percentages without dust: rounded to hundredths."""
        if not self.criterion.statistic.unit:
            return interval
        return replace(
            interval,
            estimate=round(interval.estimate, 2),
            low=round(interval.low, 2),
            high=round(interval.high, 2),
        )

    @property
    def reason(self) -> str:
        """What was found, and why it decides or does not."""
        if self.interval is None:
            return f"{self.statistic}: no seed has every network that this needs"
        found = f"{self.statistic}: {self.measured}"
        if self.seeds < self.criterion.statistic.scale.least_seeds:
            return f"{found}: one seed has no interval, at least two are needed"
        if self.verdict is Verdict.INCONCLUSIVE:
            return f"{found}: the interval holds the margin"
        return found


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict in one run, for one case."""

    claim: Claim
    case: Case
    findings: tuple[Finding, ...]
    verdict: Verdict
    why: str

    @property
    def deciding(self) -> Finding:
        """The criterion that the claim's row shows: the first."""
        return self.findings[0]

    @property
    def seeds(self) -> int:
        """The seeds behind the weakest criterion."""
        return min(finding.seeds for finding in self.findings)

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
    verdicts = {each.claim.name: each.verdict for each in judged}
    return [_with_control(each, verdicts) for each in judged]


def judge(claim: Claim, evidence: Evidence, case: Case) -> Judged:
    """Return the claim's verdict, whatever its control says."""
    findings = tuple(find(criterion, evidence, case) for criterion in claim.criteria)
    why = case.lacks or "; ".join(finding.reason for finding in findings)
    return Judged(claim, case, findings, _joint(findings), why)


def find(criterion: Criterion, evidence: Evidence, case: Case) -> Finding:
    """Return what the run says about one criterion."""
    statistic = criterion.statistic
    by_seed = {} if case.lacks else statistic(evidence, case)
    samples = [by_seed[seed] for seed in sorted(by_seed)]
    margin = criterion.margin_for(evidence.dataset)
    finding = Finding(criterion, case.fill(statistic.words), margin)
    if not samples:
        return finding
    interval = statistic.scale.interval(samples)
    verdict = Verdict.INCONCLUSIVE
    if len(samples) >= statistic.scale.least_seeds:
        verdict = criterion.relation.verdict(interval, margin)
    tested = statistic.paired and len(samples) >= SEEDS_FOR_P_VALUE
    p_value = sign_flip_p(samples) if tested else None
    return replace(finding, interval=interval, verdict=verdict, p_value=p_value)


def _joint(findings: Sequence[Finding]) -> Verdict:
    """Return SUPPORTED if all criteria hold, REFUTED if one surely does not."""
    verdicts = {finding.verdict for finding in findings}
    if verdicts == {Verdict.SUPPORTED}:
        return Verdict.SUPPORTED
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    return Verdict.INCONCLUSIVE


def _with_control(judged: Judged, verdicts: Mapping[str, Verdict]) -> Judged:
    """Return `judged`, its support withdrawn if its positive control failed."""
    control = judged.claim.control
    failed = control and verdicts.get(control) is not Verdict.SUPPORTED
    if not failed or judged.verdict is not Verdict.SUPPORTED:
        return judged
    why = f"the control {control} is not supported; {judged.why}"
    return replace(judged, verdict=Verdict.INCONCLUSIVE, why=why)


def claim_row(judged: Judged, run_id: str) -> dict[str, Any]:
    """Return a verdict as plain values; an unknown bound is None.

    Interval and margin are those of the first criterion, whose seeds `n` counts;
    `why` names every criterion, and `seeds` counts those of the weakest.
    """
    claim, finding = judged.claim, judged.deciding
    interval = finding.interval.json if finding.interval else NOTHING_MEASURED
    return {
        "study": claim.study,
        "name": claim.name,
        "claim": judged.sentence,
        "statistic": finding.statistic,
        **interval,
        "unit": finding.criterion.statistic.unit or "1",
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
        "run": run_id,
    }
