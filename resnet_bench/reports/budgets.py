"""Which variant for which budget of time: one rule for `recommend` and the report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import pandas as pd

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.view.groups import Group, groups_of
from resnet_bench.experiments.speed.settings import OWN
from resnet_bench.experiments.speed.view.rows import SWITCHES
from resnet_bench.gate.compare import ASSUMED_PROCESS_SPREAD, DEVIATIONS
from resnet_bench.present.published import reference
from resnet_bench.present.tables import Table, interval_columns
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: A row of a speed run, as its JSON holds it.
Row = Mapping[str, Any]

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
        """In words whose figure it is."""
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
        whole = [each for each in groups_of(run) if _counts(each)]
        if whole:
            dataset = str(run.config.get("dataset") or "the run's images")
            found: dict[int, Accuracy] = {}
            for group in sorted(whole, key=lambda each: -each.accuracy.estimate):
                found.setdefault(int(group.variant or 0), _found(group, dataset))
            return found
    return {}


def _counts(group: Group) -> bool:
    return group.variant is not None and group.fraction == 1 and not group.is_control


def _found(group: Group, dataset: str) -> Accuracy:
    return Accuracy(
        group.accuracy.estimate,
        f"{group.strategy} on {dataset}, {len(group.by_seed)} seeds",
        int(group.rows[0]["image_size"]),
        published=False,
    )


#: What is timed for each goal: the call, and how many images a second go through.
CALLS = {"infer": "inference", "train": "step"}
RATES = {"infer": "inference_images_per_second", "train": "train_images_per_second"}

#: Least chance of staying within the budget for each degree of certainty, surest
#: first: 0.975 is where a 95 % interval ends on one side.
CERTAINTIES = {"sure": 0.975, "likely": 0.8, "borderline": 0.5}
UNLIKELY = "unlikely"


@dataclass(frozen=True)
class Budget:
    """The seconds that a call may take, or an image where throughput is asked for.

    `goal` is `infer` or `train`.
    """

    seconds: float
    goal: str = "infer"
    per_image: bool = False

    @property
    def words(self) -> str:
        """What the budget asks for, as a person gave it."""
        if self.per_image:
            return f"{self.goal} at least {1 / self.seconds:g} images per second"
        return f"{self.goal} within {1e3 * self.seconds:g} ms"

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
    """A variant in one setting, its accuracy, and the seconds that a budget limits."""

    row: Row
    accuracy: Accuracy
    seconds: Interval

    @property
    def variant(self) -> int:
        """The variant: 18, 34, 50, 101 or 152."""
        return int(self.row["variant"])

    @property
    def title(self) -> str:
        """The variant's name."""
        return VARIANTS[self.variant].title

    @property
    def setting(self) -> str:
        """What a call does: batch, number format, layout, compilation."""
        row = self.row
        named = [words for name, words in SWITCHES.items() if row.get(name)]
        return ", ".join([f"batch {row['batch_size']}", str(row["dtype"]), *named])

    @property
    def seconds_per_image(self) -> Interval:
        """The seconds of a call over the images of its batch."""
        return self.seconds.times(1 / int(self.row["batch_size"]))

    def chance(self, budget_seconds: float, process_spread: float) -> float:
        """Return how probable it is that another process stays within the budget.

        Logarithms of times are taken as normal; the interval within the process and
        the spread from one process to the next (a standard deviation of log-ratios)
        add up in quadrature.
        """
        low, high = self.seconds.low, self.seconds.high
        known = low > 0 and math.isfinite(high)
        within = math.log(high / low) / (2 * DEVIATIONS) if known else 0.0
        deviation = math.hypot(within, process_spread)
        distance = math.log(budget_seconds / self.seconds.estimate)
        if deviation == 0:
            return float(distance >= 0)
        return NormalDist().cdf(distance / deviation)

    def columns(self, name: str, seconds: Interval) -> dict[str, Any]:
        """Return the candidate as columns of a table, its seconds under `name`."""
        return {
            "model": self.title,
            "setting": self.setting,
            **interval_columns(name, seconds),
            "top1_percent": self.accuracy.percent,
            "weights": self.accuracy.weights,
            "verdict": self.row.get("verdict"),
            "run": self.row.get("run"),
        }


def certainty(chance: float) -> str:
    """Return in a word how sure a budget is kept."""
    return next((word for word, at in CERTAINTIES.items() if chance >= at), UNLIKELY)


def candidates(
    rows: Iterable[Row], accuracies: Accuracies, budget: Budget | None = None
) -> list[Candidate]:
    """Return the rows whose time is measured and whose accuracy is known.

    A row counts at the image size that its accuracy is for; without a budget, calls
    of inference count.
    """
    limited = budget or Budget(math.inf)
    found = []
    for row in filter(_is_standard, rows):
        accuracy, seconds = accuracies.get(row["variant"]), limited.time_of(row)
        if accuracy and seconds and row["image_size"] == accuracy.image_size:
            found.append(Candidate(row, accuracy, seconds))
    return found


def _is_standard(row: Row) -> bool:
    """Return whether a row is of a ResNet as published, timed by the usual rules."""
    residual = row.get("shortcut") in (None, "residual")
    # Times by another project's rules stand for something else.
    return bool(row.get("variant")) and residual and row.get("protocol") in (None, OWN)


def _order(candidate: Candidate) -> tuple[float, float]:
    return -candidate.accuracy.percent, candidate.seconds.estimate


def recommended(
    found: Sequence[Candidate], budget_seconds: float, process_spread: float
) -> Candidate | None:
    """Return the most accurate candidate that is likely to stay within the budget.

    Of two settings of a variant that is the faster one. Where none is likely, the
    most accurate one that is at least borderline; None where even that is missing.
    """
    for least in ("likely", "borderline"):
        within = [
            candidate
            for candidate in found
            if candidate.chance(budget_seconds, process_spread) >= CERTAINTIES[least]
        ]
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
    "sure": "within it?",
}

RULE_NOTE = (
    "Sure: 97.5 %, likely: 80 %, borderline: 50 % chance that another process stays "
    "within it, by the interval and the spread between processes."
)


def spread_note(measured_spread: float | None) -> str:
    """Return how much processes differ, and whether that was measured."""
    if measured_spread is None:
        return (
            f"Between processes times are taken to differ by "
            f"{ASSUMED_PROCESS_SPREAD:.0%}; 'resnet-bench noise' measures it."
        )
    return (
        f"Between processes times differ by {measured_spread:.1%} here, by the "
        "newest noise run."
    )


def budget_table(
    found: Sequence[Candidate], where: str, measured_spread: float | None = None
) -> Table | None:
    """Return the recommended candidate per budget; None without any."""
    if not found:
        return None
    spread = measured_spread or ASSUMED_PROCESS_SPREAD
    budgets = budgets_for([candidate.seconds.estimate for candidate in found])
    lines = [
        _line(budget, recommended(found, budget, spread), spread) for budget in budgets
    ]
    return Table(
        name="budgets",
        title=f"Which ResNet within which time, on {where}",
        frame=pd.DataFrame(lines, dtype=object),
        narrow=[
            *("budget_seconds", "model", "setting", "call_seconds", "sure"),
            *("top1_percent", "weights", "verdict"),
        ],
        notes=[
            "The most accurate variant of this run whose inference call is likely to "
            "stay within the budget. Accuracy: ImageNet top-1 as published by "
            "torchvision for its best weights, not measured here.",
            RULE_NOTE,
            spread_note(measured_spread),
        ],
        headers={**HEADERS, "top1_percent": "ImageNet top-1"},
    )


def budgets_for(seconds: Sequence[float]) -> list[float]:
    """Return round budgets (1, 2, 5, 10 …) around the given times, in seconds."""
    low, high = min(seconds), max(seconds)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
    steps = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    first = next(index for index, step in enumerate(steps) if step >= low)
    last = next(index for index, step in enumerate(steps) if step >= high)
    return steps[max(0, first - 1) : last + 1]


def _line(
    budget_seconds: float, chosen: Candidate | None, spread: float
) -> dict[str, Any]:
    if chosen is None:
        return {"budget_seconds": budget_seconds, "model": "none fits"}
    return {
        "budget_seconds": budget_seconds,
        **chosen.columns("call_seconds", chosen.seconds),
        "sure": certainty(chosen.chance(budget_seconds, spread)),
    }
