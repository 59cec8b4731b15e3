"""Judging accuracy: not worse by a margin, over paired training seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_bench.gate.decide import Verdict
from resnet_bench.gate.rows import Row, problem_verdict
from resnet_bench.statistics.estimates import paired_difference_interval

#: Fewer paired seeds decide nothing, unless the predictions are the same.
FEWEST_SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class AccuracyRule:
    """When a difference counts; both are fractions of the test set.

    `margin` is how much worse still passes; below `floor` head always fails.
    """

    margin: float = 0.01
    floor: float = 0.0


@dataclass(frozen=True)
class PairedAccuracies:
    """Accuracies of both sides, one value per training seed."""

    base: Sequence[float]
    head: Sequence[float]
    identical: bool


def judge_accuracy(pairs: PairedAccuracies, rule: AccuracyRule) -> tuple[Verdict, str]:
    """Return the verdict and the rule that gave it."""
    mean = sum(pairs.head) / len(pairs.head)
    if mean < rule.floor:
        return Verdict.REGRESSION, (
            f"mean accuracy {mean:.2%} is below the floor of {rule.floor:.2%}"
        )
    if pairs.identical:
        return Verdict.PASS, "identical predictions"
    if len(pairs.head) < FEWEST_SEEDS:
        return Verdict.INCONCLUSIVE, (
            f"{len(pairs.head)} paired seeds; {FEWEST_SEEDS} are the fewest that decide"
        )
    return _by_difference(pairs, rule)


def _by_difference(pairs: PairedAccuracies, rule: AccuracyRule) -> tuple[Verdict, str]:
    difference = paired_difference_interval(pairs.head, pairs.base)
    low, high = 100 * difference.low, 100 * difference.high
    margin = 100 * rule.margin
    shown = (
        f"difference {100 * difference.estimate:+.2f} pp, "
        f"interval {low:+.2f} to {high:+.2f} pp"
    )
    if difference.low > -rule.margin:
        return Verdict.PASS, f"{shown}: above -{margin:g} pp"
    if difference.high < 0 and difference.estimate <= -rule.margin:
        return Verdict.REGRESSION, f"{shown}: below 0, and by {margin:g} pp or more"
    return Verdict.INCONCLUSIVE, f"{shown}: allows both"


def accuracy_row(
    case: str, records: Sequence[Mapping[str, Any]], settings: Mapping[str, float]
) -> Row:
    """Return the row of one accuracy case from its records, two per seed."""
    name = f"{case}:accuracy"
    problems = {row["side"]: row["problem"] for row in records if row["problem"]}
    if problems:
        verdict, because = problem_verdict(problems)
        return Row(case=name, metric="accuracy", verdict=verdict, because=because)
    base, head = _by_seed(records, "base"), _by_seed(records, "head")
    pairs = PairedAccuracies(
        [row["accuracy"] for row in base],
        [row["accuracy"] for row in head],
        [row["fingerprint"] for row in base] == [row["fingerprint"] for row in head],
    )
    verdict, because = judge_accuracy(pairs, AccuracyRule(**settings))
    return Row(
        case=name,
        metric="accuracy",
        verdict=verdict,
        base=sum(pairs.base) / len(pairs.base),
        head=sum(pairs.head) / len(pairs.head),
        because=because,
    )


def _by_seed(records: Sequence[Mapping[str, Any]], side: str) -> list[Any]:
    rows = [row for row in records if row["side"] == side]
    return sorted(rows, key=lambda row: int(row["training_seed"]))
