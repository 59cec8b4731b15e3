"""`compare`: two stored runs of one experiment, metric by metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from resnet_bench.errors import NotComparableError
from resnet_bench.gate.accuracy_rule import (
    AccuracyRule,
    PairedAccuracies,
    judge_accuracy,
)
from resnet_bench.gate.check_report import Report
from resnet_bench.gate.decide import TimingRule, Verdict, judge
from resnet_bench.gate.exact_rule import exact_verdict
from resnet_bench.gate.observations_part import Observed, labels_of, observations_of
from resnet_bench.gate.rows import Row
from resnet_bench.gate.thresholds import settings_for
from resnet_bench.present.machines import differences
from resnet_bench.statistics.estimates import geometric_mean
from resnet_bench.statistics.intervals import Interval, median_interval
from resnet_bench.store.reading import Run

#: Units that depend on the machine; nothing is judged in them across machines.
MACHINE_UNITS = frozenset({"s", "1/s", "B", "FLOP/s", "B/s"})

#: Standard deviation of the log-ratio of two processes measured one after the
#: other, on a shared two-core virtual machine; `noise` replaces it by this
#: machine's own.
ASSUMED_PROCESS_SPREAD = 0.15

#: Standard deviations on either side of a 95 % interval.
DEVIATIONS = 1.96


@dataclass(frozen=True)
class Comparison:
    """How two runs may be compared: same machine or not, spread, thresholds."""

    same_machine: bool
    process_spread: float
    thresholds: Sequence[str]


def compare_runs(
    base: Run, head: Run, thresholds: Sequence[str], measured_spread: float | None
) -> Report:
    """Return the rows of every metric that either run observed.

    `measured_spread` is the process spread that `noise` found on this machine.
    Raises NotComparableError for runs of different experiments.
    """
    if base.experiment != head.experiment:
        raise NotComparableError(
            f"run {base.id} is of {base.experiment}, run {head.id} of "
            f"{head.experiment}: expected two of the same experiment"
        )
    same = base.machine_key is not None and base.machine_key == head.machine_key
    spread = measured_spread or ASSUMED_PROCESS_SPREAD
    terms = Comparison(same, spread, thresholds)
    rows = comparison_rows(base, head, terms)
    return Report(
        command="compare",
        rows=rows,
        facts={
            "base_run": base.id,
            "head_run": head.id,
            "same_machine": same,
            "process_spread": spread,
            "geometric_means": geometric_means(rows),
            "environment": differences(base.environment, head.environment),
        },
        notices=_notices(base, head, terms, rows),
    )


def comparison_rows(base: Run, head: Run, terms: Comparison) -> list[Row]:
    """Return a row for each case and metric, those on one side only as missing."""
    left, right = observations_of(base), observations_of(head)
    keys = list(dict.fromkeys([*left, *right]))
    labels = labels_of((left.get(key) or right[key]).identity for key in keys)
    return [
        _row(labels[key[0]], key[1], left.get(key), right.get(key), terms)
        for key in keys
    ]


def _row(
    case: str,
    metric: str,
    base: Observed | None,
    head: Observed | None,
    terms: Comparison,
) -> Row:
    if base is None or head is None:
        side = "head" if base is None else "base"
        because = f"only in the {side} run"
        return Row(case=case, metric=metric, verdict=Verdict.MISSING, because=because)
    if base.measure.exact:
        return _exact_row(case, base, head, terms)
    if base.measure.unit in MACHINE_UNITS:
        return _machine_row(case, base, head, terms)
    return _seeds_row(case, base, head, terms)


def _exact_row(case: str, base: Observed, head: Observed, terms: Comparison) -> Row:
    name = base.measure.name
    settings = settings_for(case, name, terms.thresholds)
    before, after = base.values[0], head.values[0]
    verdict, because = exact_verdict(base.measure, before, after, settings)
    return Row(
        case=case,
        metric=name,
        verdict=verdict,
        base=before,
        head=after,
        because=because,
    )


def _machine_row(case: str, base: Observed, head: Observed, terms: Comparison) -> Row:
    name, unit = base.measure.name, base.measure.unit
    if not terms.same_machine:
        return Row(
            case=case,
            metric=name,
            unit=unit,
            verdict=Verdict.NOT_COMPARABLE,
            because="the runs are from different machines",
        )
    before, after = median(base.values), median(head.values)
    if min(before, after) <= 0:
        return _unjudged(case, base, before, after)
    ratio = ratio_between(base.values, head.values, terms.process_spread)
    rule = TimingRule(**settings_for(case, "seconds", terms.thresholds))
    seconds = before if unit == "s" else math.inf
    slower = ratio if base.measure.better == "lower" else inverse(ratio)
    decision = judge(slower, seconds, rule)
    return Row(
        case=case,
        metric=name,
        verdict=decision.verdict,
        base=before,
        head=after,
        ratio=ratio,
        unit=unit,
        because=decision.because,
    )


def _unjudged(case: str, base: Observed, before: float, after: float) -> Row:
    same = before == after
    return Row(
        case=case,
        metric=base.measure.name,
        verdict=Verdict.PASS if same else Verdict.INCONCLUSIVE,
        base=before,
        head=after,
        unit=base.measure.unit,
        because="identical" if same else "there is no ratio to zero",
    )


def ratio_between(
    base: Sequence[float], head: Sequence[float], process_spread: float
) -> Interval:
    """Return the ratio of two medians, its interval widened by the process spread.

    The intervals of the medians only know what happened within a process; what
    differs from one process to the next is added to them in quadrature.
    """
    before, after = median_interval(base), median_interval(head)
    estimate = math.log(after.estimate / before.estimate)
    between = DEVIATIONS * process_spread
    below = math.hypot(
        math.log(after.estimate / after.low),
        math.log(before.high / before.estimate),
        between,
    )
    above = math.hypot(
        math.log(after.high / after.estimate),
        math.log(before.estimate / before.low),
        between,
    )
    return Interval(
        math.exp(estimate),
        math.exp(estimate - below),
        math.exp(estimate + above),
        min(len(base), len(head)),
    )


def inverse(ratio: Interval) -> Interval:
    """Return base over head, so that more always means worse."""
    return Interval(1 / ratio.estimate, 1 / ratio.high, 1 / ratio.low, ratio.samples)


def _seeds_row(case: str, base: Observed, head: Observed, terms: Comparison) -> Row:
    """Judge an error or accuracy over the training seeds that both runs have."""
    measure = base.measure
    seeds = [seed for seed in base.by_seed if seed in head.by_seed]
    scale = 100.0 if measure.unit == "%" else 1.0
    sign = 1.0 if measure.better == "higher" else -1.0
    before = [base.by_seed[seed][0] / scale for seed in seeds]
    after = [head.by_seed[seed][0] / scale for seed in seeds]
    if not seeds:
        return Row(
            case=case,
            metric=measure.name,
            verdict=Verdict.MISSING,
            because="the runs have no training seed in common",
        )
    # An error is judged as its negative, which like an accuracy should not fall.
    pairs = PairedAccuracies(
        [sign * value for value in before],
        [sign * value for value in after],
        before == after,
    )
    settings = settings_for(case, "accuracy", terms.thresholds)
    settings.pop("floor", None)
    rule = AccuracyRule(**settings, floor=-math.inf)
    verdict, because = judge_accuracy(pairs, rule)
    return Row(
        case=case,
        metric=measure.name,
        verdict=verdict,
        base=scale * sum(before) / len(before),
        head=scale * sum(after) / len(after),
        unit=measure.unit,
        because=because,
    )


def geometric_means(rows: Sequence[Row]) -> dict[str, float]:
    """Return the geometric mean of head over base for each timed metric."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        if row.ratio is not None:
            ratios.setdefault(row.metric, []).append(row.ratio.estimate)
    return {metric: geometric_mean(values) for metric, values in ratios.items()}


def _notices(base: Run, head: Run, terms: Comparison, rows: Sequence[Row]) -> list[str]:
    notices = [
        f"Geometric mean of {metric}: {mean:.3f}."
        for metric, mean in geometric_means(rows).items()
    ]
    if not terms.same_machine:
        notices.append(
            f"Different machines ({base.machine_key}, {head.machine_key}): times and "
            "memory are not compared."
        )
    changed = differences(base.environment, head.environment)
    notices += [f"Differs: {name}: {_pair(pair)}." for name, pair in changed.items()]
    return notices


def _pair(pair: Mapping[str, object]) -> str:
    return f"{pair['base']} → {pair['head']}"
