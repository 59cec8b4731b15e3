"""Which variant for which latency budget, from a run of `speed`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from resnet_bench.analysis.reference import reference
from resnet_bench.analysis.tables import Table
from resnet_bench.catalogue import VARIANTS

#: torchvision's accuracies are for this image size.
IMAGENET_SIZE = 224


@dataclass(frozen=True)
class Candidate:
    """A variant in one setting: seconds of a call, and published accuracy."""

    row: Mapping[str, Any]
    accuracy_percent: float
    weights: str

    @property
    def seconds(self) -> Mapping[str, float]:
        """The interval of the inference call, in seconds."""
        interval: Mapping[str, float] = self.row["inference"]
        return interval

    @property
    def highest(self) -> float:
        """The upper bound of the call; its median where there is none."""
        high = self.seconds.get("high")
        return self.seconds["median"] if high is None else high


def best_weights(variant: int) -> tuple[str, float] | None:
    """Return torchvision's best weights of a variant and their top-1 in percent."""
    table = reference("torchvision_weights")
    found = table[table["variant"] == variant]
    if found.empty:
        return None
    best = found.sort_values("acc1_percent").iloc[-1]
    return str(best["weights"]), float(best["acc1_percent"])


def candidates(rows: Sequence[Mapping[str, Any]]) -> list[Candidate]:
    """Return the rows whose speed was measured and whose accuracy is published."""
    found = []
    for row in rows:
        best = best_weights(row["variant"]) if row.get("variant") else None
        standard = row.get("architecture") in (None, "residual")
        if (
            best
            and standard
            and row["inference"]
            and row["image_size"] == IMAGENET_SIZE
        ):
            found.append(Candidate(row, best[1], best[0]))
    return found


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


def recommended(found: Sequence[Candidate], budget: float) -> Candidate | None:
    """Return the most accurate candidate whose whole interval is within the budget."""
    within = [candidate for candidate in found if candidate.highest <= budget]
    order = sorted(within, key=lambda each: (-each.accuracy_percent, each.highest))
    return next(iter(order), None)


def budget_table(rows: Sequence[Mapping[str, Any]], where: str) -> Table | None:
    """Return the recommended variant per budget; None without a timed inference."""
    found = candidates(rows)
    if not found:
        return None
    budgets = budgets_for([candidate.seconds["median"] for candidate in found])
    lines = [_line(budget, recommended(found, budget)) for budget in budgets]
    return Table(
        name="budgets",
        title=f"Which ResNet within which time, on {where}",
        frame=pd.DataFrame(lines, dtype=object),
        narrow=[
            "budget_seconds",
            "model",
            "setting",
            "call_seconds",
            "top1_percent",
            "weights",
            "verdict",
        ],
        notes=[
            "The most accurate variant whose inference call, upper end of "
            "the 95 % interval, is within the budget. Accuracy: ImageNet top-1 as "
            "published by torchvision for its best weights, not measured here."
        ],
        headers={
            "budget_seconds": "time for a call",
            "top1_percent": "ImageNet top-1",
            "call_seconds": "takes",
        },
    )


def _line(budget: float, chosen: Candidate | None) -> dict[str, Any]:
    if chosen is None:
        return {"budget_seconds": budget, "model": "none fits"}
    row = chosen.row
    return {
        "budget_seconds": budget,
        "model": VARIANTS[row["variant"]].title,
        "setting": setting(row),
        "call_seconds": chosen.seconds["median"],
        "call_seconds_low": chosen.seconds["low"],
        "call_seconds_high": chosen.seconds["high"],
        "top1_percent": chosen.accuracy_percent,
        "weights": chosen.weights,
        "verdict": row.get("verdict"),
        "run": row.get("run"),
    }


def setting(row: Mapping[str, Any]) -> str:
    """Return what a call does, in words: batch, number format, layout, compilation."""
    switches = {"amp": "amp", "channels_last": "channels last", "compiled": "compiled"}
    named = [words for name, words in switches.items() if row.get(name)]
    return ", ".join([f"batch {row['batch_size']}", str(row["dtype"]), *named])
