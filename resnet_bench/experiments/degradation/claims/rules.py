"""How the seeds of a run decide a criterion: counted, tested, or by the worst."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum

from resnet_bench.experiments.degradation.claims.evidence import BySeed, Case, Evidence
from resnet_bench.present.numbers import bracketed, compact
from resnet_bench.statistics.estimates import (
    geometric_interval,
    logarithms,
    mean_interval,
    mean_p,
)
from resnet_bench.statistics.intervals import Interval
from resnet_bench.statistics.verdicts import (
    ERROR,
    LEAST_SEEDS,
    Verdict,
    fisher_p,
    most,
    needed,
    seeds_that_decide,
)

#: Errors below this are at the floor: they round to 0 %.
FLOOR_PERCENT = 0.5

#: Differences of errors up to this many percentage points are none.
SAME_POINTS = 1.0


class Rule(Enum):
    """How values by seed decide whether a criterion holds.

    COUNTED: it holds in most seeds, by the exact binomial test. FISHER: it holds in
    more seeds of the second arm than of the first, by Fisher's exact test. T and LOG_T:
    Student's t of the values or of their logarithms, with Holm's correction for
    all t tests of the study. WORST: it holds of every value, without exception.
    """

    COUNTED = "counted"
    FISHER = "Fisher"
    T = "t"
    LOG_T = "t of logarithms"
    WORST = "worst"

    @property
    def tests_means(self) -> bool:
        """Whether it is one of the t tests."""
        return self in (Rule.T, Rule.LOG_T)

    @property
    def least_seeds(self) -> int:
        """The seeds below which nothing can be decided."""
        return 2 if self.tests_means else 1 if self is Rule.WORST else LEAST_SEEDS


class Relation(StrEnum):
    """On which side of its margin a claim says that a quantity lies."""

    ABOVE = ">"
    BELOW = "<"
    AT_MOST = "≤"

    def holds(self, value: float, margin: float) -> bool:
        """Return whether a value lies on that side."""
        if self is Relation.ABOVE:
            return value > margin
        return value < margin or (self is Relation.AT_MOST and value == margin)


#: Gives a number per seed, from the run and the case's networks.
Samples = Callable[[Evidence, Case], BySeed]

#: Gives the errors of two networks: the one claimed to be worse, and the better one.
Arms = Callable[[Evidence, Case], tuple[BySeed, BySeed]]


@dataclass(frozen=True)
class Statistic:
    """What is compared, in words with places for depths, and how it is decided.

    With `arms` (errors in percent of two networks claimed to differ) the verdict can be
    NO DIFFERENCE or AT FLOOR. `image_points` gives half of the 95 % interval that a
    small test set leaves to the mean over seeds, in points; None where it is unknown.
    """

    words: str
    samples: Samples
    unit: str = ""
    rule: Rule = Rule.COUNTED
    arms: Arms | None = None
    image_points: Callable[[Evidence, Case], float | None] | None = None

    def __call__(self, evidence: Evidence, case: Case) -> BySeed:
        """Return the statistic of every seed that has its networks."""
        return self.samples(evidence, case)


@dataclass(frozen=True)
class Criterion:
    """A statistic that must lie on one side of its margin.

    `margins` holds exceptions by data set. With Rule.FISHER the margin is that of each
    arm's error, below which its network has trained.
    """

    statistic: Statistic
    relation: Relation
    margin: float
    margins: Mapping[str, float] = field(default_factory=dict)

    def margin_for(self, dataset: str) -> float:
        """Return the margin that was fixed for a data set."""
        return self.margins.get(dataset, self.margin)

    def bound(self, margin: float) -> str:
        """Return what must be so, such as `> 10 pp`."""
        return f"{self.relation} {compact(margin)} {self.statistic.unit}".rstrip()


@dataclass(frozen=True)
class Finding:
    """A criterion as a run has it.

    `values` are the statistic's by seed, `arms` the errors of both networks where they
    are claimed to differ. `p_value` is two-sided: Fisher's, or of the t test, adjusted
    by Holm; None for the other rules.
    """

    criterion: Criterion
    words: str
    margin: float
    values: BySeed = field(default_factory=dict)
    arms: tuple[BySeed, BySeed] = ({}, {})
    image_points: float | None = None
    p_value: float | None = None

    @property
    def rule(self) -> Rule:
        """How it is decided."""
        return self.criterion.statistic.rule

    @property
    def seeds(self) -> int:
        """The seeds that have every network the criterion needs, of the weaker arm."""
        if self.rule is Rule.FISHER:
            return min(map(len, self.arms))
        return len(self.values)

    @property
    def samples(self) -> list[float]:
        """The values in the order of their seeds."""
        return [self.values[seed] for seed in sorted(self.values)]

    @property
    def holding(self) -> int:
        """The seeds in which the criterion holds; of the second arm with FISHER."""
        if self.rule is Rule.FISHER:
            return sum(self.trained[1])
        return sum(self._on_its_side(self.samples))

    @property
    def interval(self) -> Interval | None:
        """The mean with its t interval, for the rules that test one."""
        if not self.values or not self.rule.tests_means:
            return None
        made = geometric_interval if self.rule is Rule.LOG_T else mean_interval
        return made(self.samples)

    @property
    def estimate(self) -> float | None:
        """One number for all seeds: mean, worst value or, where counted, the median."""
        if not self.values:
            return None
        if self.interval is not None:
            return self.interval.estimate
        if self.rule is Rule.WORST:
            return max(self.samples)
        return statistics.median(self.samples)

    @property
    def verdict(self) -> Verdict:
        """What the seeds say of the criterion."""
        if self.seeds < self.rule.least_seeds:
            return Verdict.NO_VERDICT
        decided = self._decided()
        if decided is Verdict.SUPPORTED or self.criterion.statistic.arms is None:
            return decided
        return self._alike() or decided

    def _on_its_side(self, values: Sequence[float]) -> list[bool]:
        relation = self.criterion.relation
        return [relation.holds(value, self.margin) for value in values]

    def _decided(self) -> Verdict:
        if self.rule is Rule.COUNTED:
            counted = most(self.holding, self.seeds)
            return Verdict.INCONCLUSIVE if self._images_are_too_few() else counted
        if self.rule is Rule.WORST:
            holds = self.holding == self.seeds
            return Verdict.SUPPORTED if holds else Verdict.REFUTED
        if self.p_value is None or self.p_value > ERROR:
            return Verdict.INCONCLUSIVE
        if self.rule is Rule.FISHER:
            first, second = self.trained
            holds = sum(second) / len(second) > sum(first) / len(first)
        else:
            holds = self.criterion.relation.holds(self.estimate or 0.0, self.margin)
        return Verdict.SUPPORTED if holds else Verdict.REFUTED

    def _images_are_too_few(self) -> bool:
        """Whether the test images' error could move the mean over the margin."""
        if self.criterion.statistic.image_points is None:
            return False
        distance = abs(statistics.fmean(self.samples) - self.margin)
        return self.image_points is None or distance <= self.image_points

    @property
    def trained(self) -> tuple[list[bool], list[bool]]:
        """Which seeds of each arm have trained."""
        first, second = (self._on_its_side(list(arm.values())) for arm in self.arms)
        return first, second

    def _alike(self) -> Verdict | None:
        """Return in which way two networks that are claimed to differ do not."""
        worse, better = self.arms
        both = [max(worse[seed], better[seed]) for seed in worse.keys() & better]
        low = sum(error < FLOOR_PERCENT for error in both)
        if most(low, len(both)) is Verdict.SUPPORTED:
            return Verdict.AT_FLOOR
        same = sum(abs(value) <= SAME_POINTS for value in self.samples)
        alike = most(same, len(self.samples)) is Verdict.SUPPORTED
        return Verdict.NO_DIFFERENCE if alike else None

    @property
    def measured(self) -> list[str]:
        """What was found against what must be so, and why that decides nothing."""
        if not self.values:
            return [f"— {self.criterion.bound(self.margin)}"]
        return list(filter(None, (self._found(), self._because())))

    def _found(self) -> str:
        bound = self.criterion.bound(self.margin)
        if self.rule is Rule.FISHER:
            first, second = self.trained
            trained = f"{sum(first)}/{len(first)} trained"
            return f"{trained} against {sum(second)}/{len(second)}"
        if self.rule is Rule.WORST:
            return f"{compact(self.estimate or 0.0)} {bound}"
        if self.interval is not None:
            return f"{bracketed(_clean(self.interval, self._unit))} {bound}"
        if self.verdict is Verdict.NO_VERDICT:
            listed = ", ".join(compact(round(value, 2)) for value in self.samples)
            return f"{listed} {self._unit}".rstrip()
        counted = f"{self.holding}/{self.seeds} {bound}"
        return f"{counted}, median {compact(round(self.estimate or 0.0, 2))}"

    @property
    def _unit(self) -> str:
        return self.criterion.statistic.unit

    def _because(self) -> str:
        """Return why there is no plain yes or no; empty where there is."""
        verdict = self.verdict
        if verdict is Verdict.AT_FLOOR:
            return "both at 0 %"
        if verdict is Verdict.NO_DIFFERENCE:
            return f"within {compact(SAME_POINTS)} pp"
        if verdict is Verdict.NO_VERDICT:
            return f"{self.rule.least_seeds} seeds needed"
        if verdict is not Verdict.INCONCLUSIVE:
            return ""
        if self.p_value is not None:
            return f"p = {compact(round(self.p_value, 3))}"
        if self._images_are_too_few():
            points = self.image_points
            known = "unknown" if points is None else f"±{compact(round(points, 1))} pp"
            return f"test images {known}"
        return f"{needed(self.seeds)} needed"

    @property
    def reason(self) -> str:
        """What was found, and why it decides or does not."""
        if not self.values:
            return f"{self.words}: no seed has all networks needed"
        return f"{self.words}: {', '.join(self.measured)}"

    @property
    def wanted_seeds(self) -> int | None:
        """The seeds that would decide if more were like these; None if unknown."""
        if self.verdict is Verdict.NO_VERDICT:
            return max(3, self.rule.least_seeds)
        counted = self.rule is Rule.COUNTED and not self._images_are_too_few()
        if self.verdict is Verdict.INCONCLUSIVE and counted:
            return seeds_that_decide(self.holding / self.seeds, self.seeds)
        return None


def _clean(interval: Interval, unit: str) -> Interval:
    """Return percentages without dust: rounded to hundredths."""
    if not unit:
        return interval
    return replace(
        interval,
        estimate=round(interval.estimate, 2),
        low=round(interval.low, 2),
        high=round(interval.high, 2),
    )


def find(criterion: Criterion, evidence: Evidence, case: Case) -> Finding:
    """Return what the run says about one criterion, p-values not yet adjusted."""
    statistic = criterion.statistic
    margin = criterion.margin_for(evidence.dataset)
    finding = Finding(criterion, case.fill(statistic.words), margin)
    if case.lacks:
        return finding
    finding = replace(finding, values=statistic(evidence, case))
    if statistic.arms is not None:
        finding = replace(finding, arms=statistic.arms(evidence, case))
    if statistic.image_points is not None:
        points = statistic.image_points(evidence, case)
        finding = replace(finding, image_points=points)
    return replace(finding, p_value=_p_value(finding))


def _p_value(finding: Finding) -> float | None:
    if finding.seeds < finding.rule.least_seeds:
        return None
    if finding.rule is Rule.FISHER:
        return fisher_p(*finding.trained)
    if finding.rule is Rule.LOG_T:
        margin = float(logarithms([finding.margin])[0])
        return mean_p(logarithms(finding.samples), margin)
    if finding.rule is Rule.T:
        return mean_p(finding.samples, finding.margin)
    return None
