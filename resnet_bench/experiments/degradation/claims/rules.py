"""Which networks of a run a claim is judged on."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from resnet_bench.catalogue import DATASETS
from resnet_bench.experiments.degradation.claims.evidence import BySeed, Evidence
from resnet_bench.statistics.estimates import mean_interval, ratio_interval
from resnet_bench.statistics.intervals import Interval


@dataclass(frozen=True)
class Lesson:
    """A sentence of the tutorial: its section, its words, and English ones."""

    section: int
    original: str
    translation: str


TWENTY_BEATS_TEN = Lesson(
    1, "20层网络比10层好", "A network of 20 layers is better than one of 10."
)
FIFTY_IS_WORSE = Lesson(
    1,
    "50层网络反而比20层差了！",
    "A network of 50 layers turns out worse than one of 20!",
)
NOT_OVERFITTING = Lesson(1, "不是过拟合", "It is not overfitting.")
CANNOT_BE_TRAINED = Lesson(1, "根本训练不动", "It simply cannot be trained.")
GRADIENT_IS_SPENT = Lesson(
    1,
    "信息（梯度）传到底层已经没力气了",
    "The information (the gradient) has no strength left when it gets to the bottom.",
)
THOUSAND_LAYERS = Lesson(
    1, "100层甚至1000层都能训练！", "100 and even 1000 layers can be trained!"
)
ONE_MORE_X = Lesson(1, "就多了一个 +x ！", "There is just one +x more!")
X_PASSES = Lesson(
    1,
    "不管F(x)学没学到东西，x都能直接传过去",
    "Whether F(x) has learned something or not, x gets through.",
)
SHORTCUT_TO_OUTPUT = Lesson(
    2,
    '让输入可以"抄近路"到输出！',
    "It lets the input take a shortcut to the output!",
)
ZERO_PLUS_X = Lesson(3, "输出 = 0 + x = x", "Output = 0 + x = x.")
LEARNED_NOTHING = Lesson(
    3,
    "中间的层什么都没学到（输出≈0）",
    "The layers in between learned nothing (their output is about 0).",
)
NO_WORSE = Lesson(
    3,
    "至少不会比没加这些层更差",
    "At least no worse than without these added layers.",
)
NEVER_WORSE = Lesson(3, "永远不会变差！", "It never gets worse!")
WHY_HUNDRED = Lesson(
    3,
    "这就是为什么ResNet可以做到100+层",
    "This is why ResNet can reach more than 100 layers.",
)
ANY_SIZE = Lesson(
    4,
    "全局平均池化（不管图片多大，变成1×1）",
    "Global average pooling (however large the image, it becomes 1×1).",
)
LIKE_LENET = Lesson(4, "和LeNet的套路完全一样", "Exactly the same pattern as LeNet's.")


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
        shortcut
        for shortcut, depth in (("residual", residual), ("plain", plain))
        if not depth
    ]
    lacks = f"no {' and no '.join(lacking)} network trained" if lacking else ""
    return [Case(residual or 0, plain or 0, words=words(evidence), lacks=lacks)]
