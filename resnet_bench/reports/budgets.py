"""Which variant for which budget of time: one rule for `recommend` and the report."""

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from resnet_bench.catalogue import INT8, RUNTIMES, TORCH, VARIANTS
from resnet_bench.experiments.finetune.view.groups import Group, groups_of, whole
from resnet_bench.experiments.speed.settings import OWN
from resnet_bench.experiments.speed.view.rows import SWITCHES
from resnet_bench.experiments.speed.view.tables import bounded
from resnet_bench.present.published import reference
from resnet_bench.present.tables import Table
from resnet_bench.reports.pooling import (
    Expected,
    Observed,
    Pool,
    Row,
    Spread,
    expected,
    pools_of,
    spread_between,
)
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.checking import OddContentError, naming
from resnet_bench.store.reading import Run

#: Rows in int8 are mentioned from this share of images on, on which their first choice
#: is that of float32.
LEAST_AGREEMENT = 0.9

#: torchvision's accuracies are for this image size.
IMAGENET_SIZE = 224


@dataclass(frozen=True)
class Accuracy:
    """A top-1 accuracy in percent, for images of one size, and where it is from.

    `weights` names torchvision's weights, or how the network was fine-tuned.
    """

    percent: float
    weights: str
    image_size: int
    published: bool

    @property
    def origin(self) -> str:
        """Whose figure it is, in words."""
        if self.published:
            return f"ImageNet top-1 of torchvision's {self.weights}, not measured here"
        return f"measured here: {self.weights}"


#: What is known of each variant's accuracy.
Accuracies = Mapping[int, Accuracy]


def published_accuracies() -> dict[int, Accuracy]:
    """Return the accuracy of each variant's best published weights."""
    table = reference("torchvision_weights").sort_values("acc1_percent")
    return {
        int(row["variant"]): Accuracy(
            row["acc1_percent"], row["weights"], IMAGENET_SIZE, published=True
        )
        for row in table.to_dict("records")
        if row["variant"] in VARIANTS
    }


def finetuned_accuracies(runs: Iterable[Run]) -> dict[int, Accuracy]:
    """Return each variant's best strategy in the first of `finetune`'s runs.

    Of one run only: accuracies on two tasks are not set against each other.
    """
    for run in runs:
        # `report` names odd runs.
        with contextlib.suppress(OddContentError), naming(run):
            if found := _best_of(run):
                return found
    return {}


def _best_of(run: Run) -> dict[int, Accuracy]:
    dataset = str(run.config.get("dataset") or "the run's images")
    most = [each for each in whole(groups_of(run)) if _counts(each)]
    found: dict[int, Accuracy] = {}
    for group in sorted(most, key=lambda each: -each.accuracy.estimate):
        found.setdefault(int(group.variant or 0), _found(group, dataset))
    return found


def _counts(group: Group) -> bool:
    return group.variant is not None and not group.is_control


def _found(group: Group, dataset: str) -> Accuracy:
    return Accuracy(
        group.accuracy.estimate,
        f"{group.strategy} on {dataset}, {group.accuracy.samples} seeds",
        int(group.rows[0]["image_size"]),
        published=False,
    )


#: What is timed for each goal: the call, and how many images a second go through.
CALLS = {"infer": "inference", "train": "step"}
RATES = {"infer": "inference_images_per_second", "train": "train_images_per_second"}

#: What is done to images, with the words that stand before their number.
VERBS = {"infer": "infer", "train": "train on"}

#: Least chance of staying within the budget for each degree of certainty, surest
#: first: 0.975 is where a 95 % interval ends on one side.
CERTAINTIES = {"sure": 0.975, "likely": 0.8, "borderline": 0.5}
UNLIKELY = "unlikely"


def images(number: int) -> str:
    """Return a number of images in words."""
    return "one image" if number == 1 else f"{number} images"


@dataclass(frozen=True)
class Budget:
    """The seconds that a call may take, or an image where throughput is asked for.

    `goal` is `infer` or `train`; a call is on `batch_size` images.
    """

    seconds: float
    goal: str = "infer"
    per_image: bool = False
    batch_size: int = 1

    @property
    def words(self) -> str:
        """The budget as the user gave it."""
        if self.per_image:
            rate = f"{1 / self.seconds:g} images per second"
            return f"{VERBS[self.goal]} at least {rate}, {self.batch_size} at a time"
        called = f"{VERBS[self.goal]} {images(self.batch_size)}"
        return f"{called} within {1e3 * self.seconds:g} ms"

    @property
    def column(self) -> str:
        """The column of a table that holds what the budget limits."""
        return "image_seconds" if self.per_image else "call_seconds"

    def time_of(self, row: Row) -> Interval | None:
        """Return the seconds that a row took of what the budget limits."""
        found = row.get((RATES if self.per_image else CALLS)[self.goal])
        if not found:
            return None
        bounds = [found["low"], found["high"]]
        low, high = bounds if None not in bounds else (0.0, math.inf)
        made = Interval(found["estimate"], low, high, found["n"])
        return made.inverse if self.per_image else made


@dataclass(frozen=True)
class Candidate:
    """A variant in one setting, its accuracy, and the seconds that a budget limits.

    `slowest_tenth` is p90 over the usual time where a call is limited and it is known.
    """

    pool: Pool
    accuracy: Accuracy
    spread: Spread
    expected: Expected
    slowest_tenth: float | None = None

    @property
    def row(self) -> Row:
        """The newest row of the setting."""
        return self.pool.row

    @property
    def variant(self) -> int:
        """The variant: 18, 34, 50, 101 or 152."""
        return int(self.row["variant"])

    @property
    def batch_size(self) -> int:
        """The images of a call."""
        return int(self.row["batch_size"])

    @property
    def title(self) -> str:
        """The variant's name."""
        return VARIANTS[self.variant].title

    @property
    def setting(self) -> str:
        """What a call does: batch, number format, layout, compilation."""
        row = self.row
        named = [words for name, words in SWITCHES.items() if row.get(name)]
        runtime = row.get("runtime") or TORCH
        named = [*named, *([] if runtime == TORCH else [RUNTIMES[runtime].title])]
        return ", ".join([f"batch {row['batch_size']}", str(row["dtype"]), *named])

    @property
    def seconds(self) -> Interval:
        """What another process takes, with the bounds that 95 % of them keep."""
        return self.expected.interval

    @property
    def seconds_per_image(self) -> Interval:
        """The seconds of a call over the images of its batch."""
        return self.seconds.times(1 / self.batch_size)

    @property
    def p90_seconds(self) -> float | None:
        """What nine of ten calls take at most, where a budget is judged on that."""
        return self.slowest_tenth and self.slowest_tenth * self.expected.seconds

    def chance(self, budget_seconds: float) -> float:
        """Return how probable it is that another process stays within the budget."""
        return self.expected.chance(budget_seconds / (self.slowest_tenth or 1.0))

    def certainty(self, budget_seconds: float) -> str:
        """Return how likely the budget is kept; few visits are never sure."""
        word = certainty(self.chance(budget_seconds))
        return word if self.pool.bounded or word == UNLIKELY else "borderline"

    def known_chance(self, budget_seconds: float) -> float | None:
        """Return the chance; None with too few visits."""
        return self.chance(budget_seconds) if self.pool.bounded else None

    def columns(self, name: str, seconds: Interval) -> dict[str, Any]:
        """Return the candidate as columns of a table, its seconds under `name`."""
        return {
            "model": self.title,
            "setting": self.setting,
            **bounded(name, seconds),
            "p90_seconds": self.p90_seconds,
            "top1_percent": self.accuracy.percent,
            "weights": self.accuracy.weights,
            "verdict": self.pool.verdict,
            "runs": self.pool.runs,
        }


def certainty(chance: float) -> str:
    """Return in one word how likely a budget is kept."""
    return next((word for word, at in CERTAINTIES.items() if chance >= at), UNLIKELY)


#: Calls of inference on one image, whatever time they take.
ANY_TIME = Budget(math.inf)


def candidates(
    observed: Iterable[Observed],
    accuracies: Accuracies,
    pair_spread: float | None,
    budget: Budget = ANY_TIME,
) -> list[Candidate]:
    """Return each setting whose time is measured and whose accuracy is known.

    A row counts at the image size that its accuracy is for; rows of any batch do, and
    all of them tell of the spread between processes. `pair_spread` is what `noise`
    measured of it. Rows in int8 are left out: what it does to the accuracy is not
    known.
    """
    known = [each for each in observed if each.row.get("dtype") != INT8]
    return _candidates(known, accuracies, pair_spread, budget)


def quantised(
    observed: Iterable[Observed],
    accuracies: Accuracies,
    pair_spread: float | None,
    budget: Budget,
) -> list[Candidate]:
    """Return the settings in int8 whose first choices mostly are those of float32.

    Their `accuracy` is that of the weights before they were quantised.
    """
    alike = [
        each
        for each in observed
        if each.row.get("dtype") == INT8
        and (each.row.get("top1_agreement") or 0.0) >= LEAST_AGREEMENT
    ]
    return _candidates(alike, accuracies, pair_spread, budget)


def _candidates(
    observed: Iterable[Observed],
    accuracies: Accuracies,
    pair_spread: float | None,
    budget: Budget,
) -> list[Candidate]:
    standard = [
        each for each in observed if _is_standard(each.row) and _fits(each, accuracies)
    ]
    pools = pools_of(standard, budget.time_of)
    spread = spread_between(pools, pair_spread)
    return [
        Candidate(
            pool,
            accuracies[pool.row["variant"]],
            spread,
            expected(pool, spread),
            None if budget.per_image else pool.slowest_tenth(CALLS[budget.goal]),
        )
        for pool in pools
    ]


def _fits(each: Observed, accuracies: Accuracies) -> bool:
    accuracy = accuracies.get(each.row["variant"])
    return accuracy is not None and each.row["image_size"] == accuracy.image_size


def _is_standard(row: Row) -> bool:
    """Return whether a row is of a ResNet as published, timed by the usual rules."""
    residual = row.get("shortcut") in (None, "residual")
    right = "wrong-answers" not in (row.get("flags") or ())
    # Times by another project's rules stand for something else.
    own = row.get("protocol") in (None, OWN)
    return bool(row.get("variant")) and residual and right and own


def _order(candidate: Candidate) -> tuple[float, float]:
    return -candidate.accuracy.percent, candidate.expected.seconds


def recommended(found: Sequence[Candidate], budget_seconds: float) -> Candidate | None:
    """Return the most accurate candidate that is likely to stay within the budget.

    Of two settings of a variant that is the faster one. Where none is likely, the
    most accurate one that is at least borderline; None where even that is missing.
    """
    for enough in (("sure", "likely"), ("borderline",)):
        within = [each for each in found if each.certainty(budget_seconds) in enough]
        if within:
            return min(within, key=_order)
    return None


def best_settings(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the fastest setting of each variant, the most accurate variant first."""
    fastest: dict[int, Candidate] = {}
    for candidate in sorted(found, key=_order):
        fastest.setdefault(candidate.variant, candidate)
    return list(fastest.values())


HEADERS = {
    "budget_seconds": "time for a call",
    "top1_percent": "top-1",
    "call_seconds": "takes",
    "image_seconds": "image",
    "p90_seconds": "p90",
    "sure": "within it?",
}

RULE_NOTE = (
    "Sure: 97.5 %, likely: 80 %, borderline: 50 % chance that another process stays "
    "within it; borderline at most with fewer than six visits. Bounds: the range of 95 "
    "% of processes. At most five runs of a setting are pooled; noisy or disturbed "
    "ones are left out if there are others."
)


def judged_on(found: Sequence[Candidate]) -> str:
    """Return which time of a call is compared with a budget."""
    known = [each.title for each in found if each.slowest_tenth]
    if not known:
        return "A call is judged on its usual time, because p90 is unknown."
    which = "" if len(known) == len(found) else "; without p90, on the usual time"
    return f"A call is judged on p90: nine of ten calls take no longer{which}."


def budget_table(found: Sequence[Candidate], where: str) -> Table | None:
    """Return the recommended candidate per budget; None where there never is one.

    A table is of one batch: that with the most variants, the smallest of those.
    """
    if not found:
        return None
    batch = batch_of_most(found)
    alike = [each for each in found if each.batch_size == batch]
    budgets = budgets_for([each.expected.seconds for each in alike])
    chosen = {budget: recommended(alike, budget) for budget in budgets}
    if not any(chosen.values()):
        return None
    lines = [_line(budget, best) for budget, best in chosen.items()]
    return Table(
        name="budgets",
        title=f"Which ResNet within which time for {images(batch)}, on {where}",
        frame=pd.DataFrame(lines, dtype=object),
        narrow=[
            *("budget_seconds", "model", "setting", "call_seconds", "sure"),
            *("top1_percent", "weights", "verdict"),
        ],
        notes=[
            f"The most accurate variant whose inference of {images(batch)} is "
            "likely to stay within the budget. Accuracy: ImageNet top-1 as published "
            "by torchvision for its best weights, not measured here.",
            judged_on(alike),
            RULE_NOTE,
            alike[0].spread.sentence,
        ],
        headers={**HEADERS, "top1_percent": "ImageNet top-1"},
    )


def batch_of_most(found: Sequence[Candidate]) -> int:
    """Return the batch at which most variants were timed, the smallest of several."""
    variants: dict[int, set[int]] = {}
    for each in found:
        variants.setdefault(each.batch_size, set()).add(each.variant)
    return min(variants, key=lambda batch: (-len(variants[batch]), batch))


def budgets_for(seconds: Sequence[float]) -> list[float]:
    """Return round budgets (1, 2, 5, 10 …) around the given times, in seconds."""
    low, high = min(seconds), max(seconds)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
    steps = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    first = next(index for index, step in enumerate(steps) if step >= low)
    last = next(index for index, step in enumerate(steps) if step >= high)
    return steps[max(0, first - 1) : last + 1]


def _line(budget_seconds: float, chosen: Candidate | None) -> dict[str, Any]:
    if chosen is None:
        return {"budget_seconds": budget_seconds, "model": "none fits"}
    return {
        "budget_seconds": budget_seconds,
        **chosen.columns("call_seconds", chosen.seconds),
        "sure": chosen.certainty(budget_seconds),
    }
