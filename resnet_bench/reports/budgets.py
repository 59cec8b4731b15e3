"""Which variant for which budget of time: one rule for `recommend` and the report."""

import math
from collections.abc import Iterator, Mapping, Sequence
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
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

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


def published_accuracies() -> dict[int, Accuracy]:
    """Return the best published accuracy of each variant."""
    found = {depth: best_weights(depth) for depth in VARIANTS}
    return {
        depth: Accuracy(best[1], best[0], IMAGENET_SIZE, published=True)
        for depth, best in found.items()
        if best is not None
    }


def best_weights(variant: int) -> tuple[str, float] | None:
    """Return torchvision's best weights of a variant and their top-1 in percent."""
    table = reference("torchvision_weights")
    found = table[table["variant"] == variant]
    if found.empty:
        return None
    best = found.sort_values("acc1_percent").iloc[-1]
    return str(best["weights"]), float(best["acc1_percent"])


def finetuned_accuracies(runs: Sequence[Run]) -> dict[int, Accuracy]:
    """Return each variant's best strategy in the newest of `finetune`'s runs.

    `runs` are in the order of time. One run only: accuracies on two tasks are not
    set against each other.
    """
    for run in reversed(runs):
        whole = [each for each in groups_of(run) if _counts(each)]
        if whole:
            dataset = str(run.config.get("dataset") or "the run's images")
            return _best_of_each(whole, dataset)
    return {}


def _counts(group: Group) -> bool:
    return group.variant is not None and group.fraction == 1 and not group.is_control


def _best_of_each(groups: Sequence[Group], dataset: str) -> dict[int, Accuracy]:
    best: dict[int, Group] = {}
    for group in groups:
        known = best.get(int(group.variant or 0), group)
        winner = max(known, group, key=lambda each: each.accuracy.estimate)
        best[int(group.variant or 0)] = winner
    return {
        depth: Accuracy(
            group.accuracy.estimate,
            f"{group.strategy} on {dataset}, {len(group.by_seed)} seeds",
            int(group.rows[0]["image_size"]),
            published=False,
        )
        for depth, group in best.items()
    }


#: What is known of each variant's accuracy.
Accuracies = Mapping[int, Accuracy]


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
        doing = "train" if self.goal == "train" else "infer"
        if self.per_image:
            return f"{doing} at least {1 / self.seconds:g} images per second"
        return f"{doing} within {1e3 * self.seconds:g} ms"

    def time_of(self, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what a row took of what the budget limits, with its bounds."""
        if not self.per_image:
            return row.get(CALLS[self.goal])
        rate = row.get(RATES[self.goal])
        if not rate:
            return None
        low, high = (rate[end] and 1 / rate[end] for end in ("high", "low"))
        bounds = {"low": low, "high": high}
        return {"estimate": 1 / rate["estimate"], **bounds, "n": rate["n"]}


@dataclass(frozen=True)
class Candidate:
    """A variant in one setting: the seconds that count, and its accuracy."""

    row: Mapping[str, Any]
    accuracy: Accuracy
    seconds: Mapping[str, Any]

    @property
    def accuracy_percent(self) -> float:
        """Top-1 accuracy in percent."""
        return self.accuracy.percent

    def chance(self, budget_seconds: float, process_spread: float) -> float:
        """Return how probable it is that another process stays within the budget.

        Logarithms of times are taken as normal; the interval within the process and
        the spread from one process to the next (a standard deviation of log-ratios)
        add up in quadrature.
        """
        low, high = self.seconds["low"], self.seconds["high"]
        within = math.log(high / low) / (2 * DEVIATIONS) if low and high else 0.0
        deviation = math.hypot(within, process_spread)
        distance = math.log(budget_seconds / self.seconds["estimate"])
        if deviation == 0:
            return float(distance >= 0)
        return NormalDist().cdf(distance / deviation)


def certainty(chance: float) -> str:
    """Return in a word how sure a budget is kept."""
    return next((word for word, at in CERTAINTIES.items() if chance >= at), UNLIKELY)


def candidates(
    rows: Sequence[Mapping[str, Any]],
    budget: Budget | None = None,
    accuracies: Accuracies | None = None,
) -> list[Candidate]:
    """Return the rows whose time is measured and whose accuracy is known.

    Without a budget the call of inference counts, without accuracies the published
    ones. A row counts at the image size that its accuracy is for.
    """
    known = published_accuracies() if accuracies is None else accuracies
    return list(_candidates(rows, budget or Budget(math.inf), known))


def _candidates(
    rows: Sequence[Mapping[str, Any]], budget: Budget, known: Accuracies
) -> Iterator[Candidate]:
    for row in rows:
        accuracy = known.get(row["variant"]) if row.get("variant") else None
        standard = row.get("shortcut") in (None, "residual")
        # Times by another project's rules stand for something else.
        standard = standard and row.get("protocol") in (None, OWN)
        if not (accuracy and standard):
            continue
        seconds = budget.time_of(row)
        if seconds and row["image_size"] == accuracy.image_size:
            yield Candidate(row, accuracy, seconds)


def budgets_for(seconds: Sequence[float]) -> list[float]:
    """Return round budgets (1, 2, 5, 10 …) around the given times, in seconds."""
    low, high = min(seconds), max(seconds)
    steps = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
        for digit in (1, 2, 5)
    ]
    first = next(index for index, step in enumerate(steps) if step >= low)
    last = next(index for index, step in enumerate(steps) if step >= high)
    return steps[max(0, first - 1) : last + 1]


def _order(candidate: Candidate) -> tuple[float, float]:
    return -candidate.accuracy_percent, candidate.seconds["estimate"]


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
        fastest.setdefault(candidate.row["variant"], candidate)
    return list(fastest.values())


HEADERS = {
    "budget_seconds": "time for a call",
    "top1_percent": "top-1",
    "call_seconds": "takes",
    "image_seconds": "image",
    "sure": "within it?",
}


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


RULE_NOTE = (
    "Sure: 97.5 %, likely: 80 %, borderline: 50 % chance that another process stays "
    "within it, by the interval and the spread between processes."
)


def budget_table(
    rows: Sequence[Mapping[str, Any]],
    where: str,
    measured_spread: float | None = None,
) -> Table | None:
    """Return the recommended variant per budget; None without a timed inference."""
    found = candidates(rows)
    if not found:
        return None
    spread = measured_spread or ASSUMED_PROCESS_SPREAD
    budgets = budgets_for([candidate.seconds["estimate"] for candidate in found])
    lines = [
        _line(budget, recommended(found, budget, spread), spread) for budget in budgets
    ]
    return Table(
        name="budgets",
        title=f"Which ResNet within which time, on {where}",
        frame=pd.DataFrame(lines, dtype=object),
        narrow=[
            "budget_seconds",
            "model",
            "setting",
            "call_seconds",
            "sure",
            "top1_percent",
            "weights",
            "verdict",
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


def _line(
    budget_seconds: float, chosen: Candidate | None, spread: float
) -> dict[str, Any]:
    if chosen is None:
        return {"budget_seconds": budget_seconds, "model": "none fits"}
    return {
        "budget_seconds": budget_seconds,
        **described(chosen, "call"),
        "sure": certainty(chosen.chance(budget_seconds, spread)),
    }


def described(candidate: Candidate, per: str) -> dict[str, Any]:
    """Return a candidate as the columns of a table; `per` is `call` or `image`."""
    return {
        "model": VARIANTS[candidate.row["variant"]].title,
        "setting": setting(candidate.row),
        f"{per}_seconds": candidate.seconds["estimate"],
        f"{per}_seconds_low": candidate.seconds["low"],
        f"{per}_seconds_high": candidate.seconds["high"],
        "top1_percent": candidate.accuracy_percent,
        "weights": candidate.accuracy.weights,
        "verdict": candidate.row.get("verdict"),
        "run": candidate.row.get("run"),
    }


def setting(row: Mapping[str, Any]) -> str:
    """Return what a call does, in words: batch, number format, layout, compilation."""
    named = [words for name, words in SWITCHES.items() if row.get(name)]
    return ", ".join([f"batch {row['batch_size']}", str(row["dtype"]), *named])
