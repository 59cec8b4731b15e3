"""How a claim is judged: intervals over paired seeds against fixed margins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnet_bench.experiments.degradation.claims.evidence import Evidence
from resnet_bench.experiments.degradation.claims.rules import (
    Case,
    Claim,
    Criterion,
    Scale,
    Verdict,
)
from resnet_bench.statistics.estimates import SEEDS_FOR_P_VALUE, sign_flip_p
from resnet_bench.statistics.intervals import Interval


@dataclass(frozen=True)
class Finding:
    """A criterion as a run has it; `interval` is None where no seed has the networks.

    `p_value` is the sign-flip test's, from 6 seeds on; it never decides.
    """

    criterion: Criterion
    statistic: str
    margin: float
    interval: Interval | None
    verdict: Verdict
    p_value: float | None = None

    @property
    def seeds(self) -> int:
        """The seeds that have every network the criterion needs."""
        return self.interval.samples if self.interval else 0

    @property
    def measured(self) -> str:
        """The estimate with its interval and the rule, as short as it can be."""
        unit = f" {self.criterion.unit}".rstrip()
        rule = f"{self.criterion.relation} {number(self.margin)}{unit}"
        if self.interval is None:
            return f"— {rule}"
        if self.criterion.scale is Scale.EXACT:
            return f"{number(self.interval.estimate)} {rule}"
        return f"{bracketed(_clean(self.interval, unit))} {rule}"

    @property
    def reason(self) -> str:
        """What was found, and why it decides or does not."""
        found = f"{self.statistic}: {self.measured}"
        if self.interval is None:
            return f"{self.statistic}: no seed has every network that this needs"
        if self.seeds < self.criterion.scale.least_seeds:
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


def find(criterion: Criterion, evidence: Evidence, case: Case) -> Finding:
    """Return what the run says about one criterion."""
    by_seed = {} if case.lacks else criterion.samples(evidence, case)
    margin = criterion.margin_for(evidence.dataset)
    statistic = case.fill(criterion.statistic)
    samples = [by_seed[seed] for seed in sorted(by_seed)]
    if not samples:
        return Finding(criterion, statistic, margin, None, Verdict.INCONCLUSIVE)
    interval = criterion.scale.interval(samples)
    verdict = Verdict.INCONCLUSIVE
    if len(samples) >= criterion.scale.least_seeds:
        verdict = criterion.relation.verdict(interval, margin)
    p_value = None
    if criterion.difference and len(samples) >= SEEDS_FOR_P_VALUE:
        p_value = sign_flip_p(samples)
    return Finding(criterion, statistic, margin, interval, verdict, p_value)


def judge(claim: Claim, evidence: Evidence, case: Case) -> Judged:
    """Return the claim's verdict; `control` is looked at by `with_control`."""
    findings = tuple(find(criterion, evidence, case) for criterion in claim.criteria)
    why = case.lacks or "; ".join(finding.reason for finding in findings)
    return Judged(claim, case, findings, _joint(findings), why)


def _joint(findings: Sequence[Finding]) -> Verdict:
    """Return SUPPORTED if all criteria hold, REFUTED if one surely does not."""
    verdicts = {finding.verdict for finding in findings}
    if verdicts == {Verdict.SUPPORTED}:
        return Verdict.SUPPORTED
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    return Verdict.INCONCLUSIVE


def with_control(judged: Judged, verdicts: Mapping[str, Verdict]) -> Judged:
    """Return `judged`, its support withdrawn if its positive control failed."""
    control = judged.claim.control
    failed = control and verdicts.get(control) is not Verdict.SUPPORTED
    if not failed or judged.verdict is not Verdict.SUPPORTED:
        return judged
    why = f"the control {control} is not supported; {judged.why}"
    return Judged(judged.claim, judged.case, judged.findings, Verdict.INCONCLUSIVE, why)


def number(value: float) -> str:
    """Return a number with three significant digits at most; extremes as powers."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 1e4 or 0 < size < 1e-3:
        digits, _, exponent = f"{value:.{1 if size > 1 else 0}e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    if size >= 100:
        return f"{value:.0f}"
    text = f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"
    if float(text) == 0:
        return "0"
    return text.rstrip("0").rstrip(".")


def bracketed(interval: Interval) -> str:
    """Return an estimate with its bounds, or with a question mark for none."""
    if math.isinf(interval.low) or math.isinf(interval.high):
        return f"{number(interval.estimate)} [?]"
    low, high = number(interval.low), number(interval.high)
    return f"{number(interval.estimate)} [{low}, {high}]"


def _clean(interval: Interval, unit: str) -> Interval:
    """Return percentages without dust: rounded to hundredths."""
    if not unit:
        return interval
    return Interval(
        round(interval.estimate, 2),
        round(interval.low, 2),
        round(interval.high, 2),
        interval.samples,
    )


def known(value: float) -> float | None:
    """Return a finite number, or None: JSON has no infinity."""
    return value if math.isfinite(value) else None
