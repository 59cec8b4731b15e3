"""What a claim is: a sentence, and criteria with margins fixed before any run."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from resnet_bench.experiments.degradation.claims.evidence_part import BySeed, Evidence
from resnet_bench.experiments.degradation.claims.lessons import Lesson
from resnet_bench.statistics.estimates import (
    mean_interval,
    ratio_interval,
)
from resnet_bench.statistics.intervals import Interval


class Verdict(StrEnum):
    """What a run says about a claim."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"


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
            return ratio_interval(samples, [1.0] * len(samples))
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


@dataclass(frozen=True)
class Case:
    """The networks that a claim is judged on; depth 0 where the run lacks them.

    `words` fill the places in the claim's sentences; `lacks` says what is missing.
    """

    deep: int = 0
    other: int = 0
    multiple: int = 1
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


#: What stands for a depth that the grid lacks: of a network, and of its layers.
MISSING = {"deep": ("deeper", "more"), "other": ("shallower", "fewer")}


def _describe_missing(text: str, name: str) -> str:
    """Put words in the place of the networks that `name` would have named."""
    adjective, count = MISSING[name]
    place = rf"\{{{name}\}}"
    text = re.sub(rf"the trained (plain|residual)-{place}", r"a trained \1 net", text)
    text = re.sub(rf"(plain|residual)-{place}", rf"a {adjective} \1 net", text)
    return re.sub(place, count, text)


#: What a claim compares: a number per seed, from the run and the case's networks.
Samples = Callable[[Evidence, Case], BySeed]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One quantity that must lie on one side of one margin.

    `margins` holds exceptions by data set. A quantity that is a paired difference
    (`difference`) can be tested by flipping signs.
    """

    statistic: str
    samples: Samples
    relation: Relation
    margin: float
    unit: str
    margins: Mapping[str, float] = field(default_factory=dict)
    scale: Scale = Scale.MEAN
    difference: bool = False

    def margin_for(self, dataset: str) -> float:
        """Return the margin that was fixed for a data set."""
        return self.margins.get(dataset, self.margin)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that a run can support or refute; all its criteria must hold.

    `lesson` is the tutorial's sentence; `refuted` says what is so when the claim is
    not. `supporting` and `contradicting` name papers. `cases` lists the networks it
    is judged on in a run; `control` names a claim without whose support this one's
    would mean nothing.
    """

    name: str
    study: str
    title: str
    sentence: str
    refuted: str
    lesson: Lesson
    supporting: str
    contradicting: str
    criteria: tuple[Criterion, ...]
    cases: Callable[[Evidence], Sequence[Case]]
    control: str = ""
