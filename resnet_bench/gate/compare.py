"""`compare`: compare two stored runs."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from resnet_bench.errors import ExitCode, NotComparableError, UsageError
from resnet_bench.gate.baselines import exists, run_file_of
from resnet_bench.gate.deciding import TimingRule, Verdict, judge, signed
from resnet_bench.gate.lineage import EXPERIMENT as HISTORY
from resnet_bench.gate.observed import (
    FIRST_CALLS,
    TOLD_ONLY,
    Key,
    Observed,
    case_of,
    labels_of,
    observations_of,
    unfinished_of,
)
from resnet_bench.gate.records import records_of
from resnet_bench.gate.report import Report, emit, emit_refusal
from resnet_bench.gate.rows import (
    AccuracyRule,
    PairedAccuracies,
    Row,
    exact_verdict,
    judge_accuracy,
)
from resnet_bench.gate.spec import (
    ANY_CASE,
    LIMITED,
    CompareConfig,
    parse_threshold,
    settings_for,
)
from resnet_bench.gate.spreads import Spreads, spreads_of
from resnet_bench.output import Output
from resnet_bench.present.exports import check_exports
from resnet_bench.present.machines import differences
from resnet_bench.present.numbers import percent
from resnet_bench.records import Measure
from resnet_bench.statistics.estimates import geometric_mean, time_interval
from resnet_bench.statistics.intervals import SAMPLES_FOR_ORDER_STATISTICS, Interval
from resnet_bench.store.checking import checked_run
from resnet_bench.store.folders import find_run
from resnet_bench.store.reading import Run

#: Units that depend on the machine; nothing is judged in them across machines.
MACHINE_UNITS = frozenset({"s", "1/s", "B", "FLOP/s", "B/s"})

#: Standard deviations on either side of a 95 % interval.
DEVIATIONS = 1.96

#: What a metric is called in a limit, where not by its own name.
LIMITED_AS = {
    "flop": "flops",
    "train_images_per_second": "step",
    "inference_images_per_second": "inference",
}

#: More names than this are not listed.
MOST_NAMES = 5

Changes = Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Comparison:
    """How two runs may be compared: same machine or not, spreads, limits.

    `changed` are the settings that differ and are compared all the same.
    """

    same_machine: bool
    spreads: Spreads
    thresholds: Sequence[str]
    changed: Changes = dataclasses.field(default_factory=dict)


def compare_runs(
    base: Run,
    head: Run,
    thresholds: Sequence[str],
    spreads: Spreads,
    *,
    across: bool = False,
    asked: Sequence[str] = (),
) -> Report:
    """Return the rows of every metric that both runs observed.

    `across` compares cases whose settings differ between the runs, without judging
    them. Raises NotComparableError for runs of different experiments,
    UsageError for one of `history`, and for an `asked` limit without effect.
    """
    _refuse_unfit(base, head)
    same = base.machine_key is not None and base.machine_key == head.machine_key
    left, right = observations_of(base), observations_of(head)
    changed = changed_settings(left, right)
    terms = Comparison(same, spreads, thresholds, changed if across else {})
    before, after = (_matched(side, terms.changed) for side in (left, right))
    _refuse_idle_limits(asked, before, after)
    rows = [
        *_common_rows(before, after, terms),
        *_refused_rows(terms, changed),
        *(() if changed else _alone_rows(base, head, left, right)),
    ]
    return Report(
        command="compare",
        rows=rows,
        facts={
            "base_run": base.id,
            "head_run": head.id,
            "same_machine": same,
            "process_spread": spreads.times,
            "process_spread_source": spreads.source,
            "memory_spread": spreads.memory,
            "changed_settings": {name: list(pair) for name, pair in changed.items()},
            "geometric_means": geometric_means(rows),
            "environment": differences(base.environment, head.environment),
        },
        notices=[*_notices(base, head, terms, rows), *_newer_metrics(before, after)],
        note=f"Interval: Hodges-Lehmann over the visits of a run, {spreads.note}.",
        counted="visits",
    )


def _refuse_unfit(base: Run, head: Run) -> None:
    for run in (base, head):
        if run.experiment == HISTORY:
            raise UsageError(
                f"run {run.id} is one of history, over many commits: "
                "'resnet-bench history' compares them; expected a run of one commit"
            )
    if base.experiment != head.experiment:
        raise NotComparableError(
            f"run {base.id} is of {base.experiment}, run {head.id} of "
            f"{head.experiment}: expected two of the same experiment"
        )


def changed_settings(
    left: Mapping[Key, Observed], right: Mapping[Key, Observed]
) -> Changes:
    """Return the settings that are one thing in all of a run, another in the other's.

    Nothing where the runs have a case in common that is no ceiling of the machine.
    """
    sides = [_main_identities(side) for side in (left, right)]
    cases = [{case_of(each) for each in side} for side in sides]
    if not all(sides) or cases[0] & cases[1]:
        return {}
    names = dict.fromkeys(name for side in sides for each in side for name in each)
    found = {name: [_only(side, name) for side in sides] for name in names}
    return {
        name: (before[0], after[0])
        for name, (before, after) in found.items()
        if before and after and before != after and name not in ("case", "record")
    }


def _main_identities(side: Mapping[Key, Observed]) -> list[Mapping[str, Any]]:
    """Return the identities of speed rows, or of all where there are none."""
    everything = [observed.identity for observed in side.values()]
    return [each for each in everything if "record" not in each] or everything


def _only(identities: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """Return the value that all identities have, in a list; empty for several."""
    first = identities[0].get(name)
    return [first] if all(each.get(name) == first for each in identities) else []


def _matched(side: Mapping[Key, Observed], changed: Changes) -> dict[Key, Observed]:
    """Return the observations by their identity without the changed settings."""
    return {
        (case_of({**observed.identity, **dict.fromkeys(changed)}), metric): observed
        for (_, metric), observed in side.items()
    }


def _common_rows(
    left: Mapping[Key, Observed], right: Mapping[Key, Observed], terms: Comparison
) -> list[Row]:
    """Return a row for each case and metric of both runs."""
    keys = [key for key in left if key in right]
    if not terms.same_machine:
        keys = [key for key in keys if left[key].measure.unit not in MACHINE_UNITS]
    labels = _labels_of(keys)
    return [_row(labels[key[0]], key[1], left[key], right[key], terms) for key in keys]


def _labels_of(keys: Sequence[Key]) -> dict[str, str]:
    return labels_of(json.loads(case) for case in dict.fromkeys(k[0] for k in keys))


def _refuse_idle_limits(
    limits: Sequence[str], left: Mapping[Key, Observed], right: Mapping[Key, Observed]
) -> None:
    if not limits:
        return
    keys = [key for key in left if key in right]
    labels = _labels_of(keys)
    known = [_limited_as(labels[key[0]], key[1], left[key].measure) for key in keys]
    for limit in map(parse_threshold, limits):
        if known and not any(limit.applies(*each) for each in known):
            cases = _few(case for case, _ in known)
            judged = dict.fromkeys(what for _, what in known if what in LIMITED)
            raise UsageError.for_option(
                "--threshold",
                limit.text,
                f"a case of {cases} or {ANY_CASE}, and one of {', '.join(judged)}",
            )


def _limited_as(case: str, metric: str, measure: Measure) -> tuple[str, str]:
    """Return the case and the quantity that a limit for this metric names."""
    if measure.unit == "B":
        return case, "memory"
    if not measure.exact and measure.unit not in MACHINE_UNITS:
        return case, "accuracy"
    name, _, _ = metric.partition(" of ")
    what = LIMITED_AS.get(name, name).removesuffix("_seconds")
    if what == "seconds":  # a check's case names its method
        case, _, what = case.partition(":")
    return case, what


def _few(names: Iterable[str]) -> str:
    """Write the first names with commas, and dots where there are more."""
    listed = list(dict.fromkeys(names))
    more = ", …" if len(listed) > MOST_NAMES else ""
    return ", ".join(listed[:MOST_NAMES]) + more


def _refused_rows(terms: Comparison, changed: Changes) -> list[Row]:
    """Return a row for what is not compared at all, and why."""
    reasons = {}
    if not terms.same_machine:
        reasons["times and memory"] = "the runs are from different machines"
    if changed and not terms.changed:
        said = f"the settings differ: {_said(changed)}; --across gives the ratios"
        reasons["all"] = said
    return [
        Row("all cases", metric, Verdict.NOT_COMPARABLE, because)
        for metric, because in reasons.items()
    ]


def _said(changed: Changes) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {before} → {after}"
        for name, (before, after) in changed.items()
        if name != "requested_batch_size" or "batch_size" not in changed
    )


def _alone_rows(
    base: Run,
    head: Run,
    left: Mapping[Key, Observed],
    right: Mapping[Key, Observed],
) -> list[Row]:
    """Return one row for all cases that only one run has, for each reason."""
    runs = {"base": (left, right, unfinished_of(head), "head")}
    runs["head"] = (right, left, unfinished_of(base), "base")
    rows = []
    for side, (mine, theirs, unfinished, other) in runs.items():
        identities = _alone(mine, theirs)
        labels = labels_of([*identities.values(), *_identities(theirs)])
        reasons: dict[str, list[str]] = {}
        for case in identities:
            status = unfinished.get(case)
            where = f"{status} in the {other}" if status else f"only in the {side}"
            because = f"{where} run"
            reasons.setdefault(because, []).append(labels[case])
        rows += [_alone_row(cases, because) for because, cases in reasons.items()]
    return rows


def _identities(side: Mapping[Key, Observed]) -> list[Mapping[str, Any]]:
    return [observed.identity for observed in side.values()]


def _alone(
    mine: Mapping[Key, Observed], theirs: Mapping[Key, Observed]
) -> dict[str, Mapping[str, Any]]:
    """Return the identities of the cases that the other run lacks."""
    known = {case for case, _ in theirs}
    return {
        case: observed.identity
        for (case, _), observed in mine.items()
        if case not in known
    }


def _alone_row(cases: Sequence[str], because: str) -> Row:
    if len(cases) == 1:
        return Row(cases[0], "all", Verdict.MISSING, because)
    because = f"{because}: {_few(cases)}"
    return Row(f"{len(cases):,} cases", "all", Verdict.MISSING, because)


def _row(
    case: str, metric: str, base: Observed, head: Observed, terms: Comparison
) -> Row:
    """Return the row of one metric; across settings it is shown and not judged."""
    if base.measure.exact:
        before, after = base.values[0], head.values[0]
        limited = _limited_as(case, metric, base.measure)
        settings = settings_for(*limited, terms.thresholds)
        judged = exact_verdict(base.measure, before, after, settings)
        row = Row(case, metric, *judged, before, after)
    elif base.measure.unit in MACHINE_UNITS:
        row = _machine_row(Row(case, metric, Verdict.PASS), base, head, terms)
    else:
        row = _seeds_row(case, metric, base, head, terms)
    if terms.changed and row.because != "identical":
        because = f"the settings differ: {_said(terms.changed)}"
    elif metric in TOLD_ONLY and row.verdict is not Verdict.PASS:
        because = "one value per run is too few to decide"
    else:
        return row
    return dataclasses.replace(row, verdict=Verdict.NOT_JUDGED, because=because)


def _machine_row(row: Row, base: Observed, head: Observed, terms: Comparison) -> Row:
    """Return the row of a time, rate or peak; `row` names its case and metric."""
    unit = base.measure.unit
    row = dataclasses.replace(row, unit=unit)
    before, after = median(base.values), median(head.values)
    row = dataclasses.replace(row, base=before, head=after)
    same = base.values == head.values or (unit == "B" and before == after)
    if same or min(*base.values, *head.values) <= 0:
        verdict = Verdict.PASS if same else Verdict.INCONCLUSIVE
        because = "identical" if same else "the base is zero, so there is no ratio"
        return dataclasses.replace(row, verdict=verdict, because=because)
    of_memory = unit == "B"
    between = memory_ratio if of_memory else ratio_between
    ratio = between(base.values, head.values, terms.spreads)
    row = dataclasses.replace(row, ratio=ratio)
    verdict, because = _undecided(row, base, head, terms.spreads) or _judged(
        row, base.measure, terms
    )
    return dataclasses.replace(row, verdict=verdict, because=because)


def _undecided(
    row: Row, base: Observed, head: Observed, spreads: Spreads
) -> tuple[Verdict, str] | None:
    """Return why nothing can be decided; None where it can."""
    if row.unit == "B":
        if spreads.memory is None:
            because = "there were too few passes to know how much peaks vary here"
            return Verdict.INCONCLUSIVE, because
        return None
    counts = len(base.values), len(head.values)
    if min(counts) < SAMPLES_FOR_ORDER_STATISTICS:
        return Verdict.INCONCLUSIVE, (
            f"{counts[0]} and {counts[1]} visits; at least "
            f"{SAMPLES_FOR_ORDER_STATISTICS} on each side are needed"
        )
    for side, observed in (("base", base), ("head", head)):
        if observed.verdict != "ok":
            return Verdict.INCONCLUSIVE, f"the {side} row is {observed.verdict}"
    return None


def _judged(row: Row, measure: Measure, terms: Comparison) -> tuple[Verdict, str]:
    limited = _limited_as(row.case, row.metric, measure)
    rule = TimingRule(**settings_for(*limited, terms.thresholds))
    seconds = float(row.base or 0) if row.unit == "s" else math.inf
    ratio = row.ratio or Interval(1.0, 0.0, math.inf, 0)
    if measure.better == "lower":
        decision = judge(ratio, seconds, rule)
        return decision.verdict, decision.because
    decision = judge(ratio.inverse, seconds, rule)
    return decision.verdict, f"as a time, {decision.because}"


def _seeds_row(
    case: str, metric: str, base: Observed, head: Observed, terms: Comparison
) -> Row:
    """Judge an error or accuracy over the training seeds that both runs have."""
    measure = base.measure
    seeds = [seed for seed in base.by_seed if seed in head.by_seed]
    if not seeds:
        because = "the runs have no training seed in common"
        return Row(case, metric, Verdict.MISSING, because)
    scale = 100.0 if measure.unit == "%" else 1.0
    before, after = (
        [side.by_seed[seed][0] / scale for seed in seeds] for side in (base, head)
    )
    # An error is judged as its negative, which like an accuracy should not fall.
    sign = 1.0 if measure.better == "higher" else -1.0
    settings = settings_for(case, "accuracy", terms.thresholds)
    settings.pop("floor", None)
    pairs = PairedAccuracies(
        [sign * value for value in before],
        [sign * value for value in after],
        before == after,
    )
    return Row(
        case,
        metric,
        *judge_accuracy(pairs, AccuracyRule(**settings, floor=-math.inf)),
        base=scale * sum(before) / len(seeds),
        head=scale * sum(after) / len(seeds),
        unit=measure.unit,
    )


def ratio_between(
    base: Sequence[float], head: Sequence[float], spreads: Spreads
) -> Interval:
    """Return the ratio of two times, its interval widened by the process spread.

    The visits' intervals cover only variation within a process; the variation between
    processes is added in quadrature.
    """
    before, after = time_interval(base), time_interval(head)
    ratio, fewest = after.estimate / before.estimate, min(len(base), len(head))
    if not (before.bounded and after.bounded):
        return Interval(ratio, 0.0, math.inf, fewest)
    between = DEVIATIONS * spreads.times
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
    return Interval(ratio, ratio * math.exp(-below), ratio * math.exp(above), fewest)


def memory_ratio(
    base: Sequence[float], head: Sequence[float], spreads: Spreads
) -> Interval:
    """Return the ratio of two median peaks by the spread of repeated passes."""
    ratio, fewest = median(head) / median(base), min(len(base), len(head))
    if spreads.memory is None:
        return Interval(ratio, 0.0, math.inf, fewest)
    half = DEVIATIONS * spreads.memory * math.sqrt(1 / len(base) + 1 / len(head))
    return Interval(ratio, ratio * math.exp(-half), ratio * math.exp(half), fewest)


def geometric_means(rows: Sequence[Row]) -> dict[str, float]:
    """Return the geometric mean of head over base for each metric of several rows."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        if row.ratio is not None and row.metric not in FIRST_CALLS:
            ratios.setdefault(row.metric, []).append(row.ratio.estimate)
    return {
        metric: geometric_mean(values)
        for metric, values in ratios.items()
        if len(values) > 1
    }


def _notices(base: Run, head: Run, terms: Comparison, rows: Sequence[Row]) -> list[str]:
    means = geometric_means(rows).items()
    told = ", ".join(f"{metric} {signed(mean)}" for metric, mean in means)
    notices = [f"Geometric means of the changes: {told}."] if told else []
    if base.id == head.id:
        notices.append(f"Run {base.id} is compared with itself.")
    if not terms.same_machine:
        notices.append(
            f"Different machines ({base.machine_key}, {head.machine_key}): times and "
            "memory are not compared."
        )
    elif terms.spreads.source == "assumed":
        notices.append(
            f"Two processes are assumed to differ by {percent(terms.spreads.times)}: "
            "'resnet-bench noise' measures it on this machine."
        )
    changed = differences(base.environment, head.environment)
    notices += [f"Differs: {name}: {_pair(pair)}." for name, pair in changed.items()]
    return notices


def _newer_metrics(
    left: Mapping[Key, Observed], right: Mapping[Key, Observed]
) -> list[str]:
    """Return a sentence for the metrics that one run lacks in a case of both."""
    sides = {"base": (left, right), "head": (right, left)}
    common = {case for case, _ in left} & {case for case, _ in right}
    only = {
        side: sorted({name for case, name in mine.keys() - theirs if case in common})
        for side, (mine, theirs) in sides.items()
    }
    return [
        f"Only the {side} run has {', '.join(names)}."
        for side, names in only.items()
        if names
    ]


def _pair(pair: Mapping[str, object]) -> str:
    """Return both values in words, with every detail where the names are equal."""
    base, head = map(_in_words, (pair["base"], pair["head"]))
    if base == head:
        base, head = map(str, (pair["base"], pair["head"]))
    return f"{base} → {head}"


def _in_words(value: object) -> str:
    if isinstance(value, Mapping) and "name" in value:
        return str(value["name"])
    if isinstance(value, list):
        return ", ".join(map(_in_words, value)) or "none"
    return "none" if value is None else str(value)


def run_compare(config: CompareConfig, output: Output) -> ExitCode:
    """Compare, print, and return the exit code.

    Raises UsageError for an unknown run and NotComparableError for two that have
    nothing in common.
    """
    check_exports(config, output)
    base, head = (named_run(config.results, name, output) for name in config.runs)
    spreads = spreads_of(config.results, base, head)
    try:
        report = compare_runs(
            base,
            head,
            config.thresholds,
            spreads,
            across=config.across,
            asked=config.threshold,
        )
    except NotComparableError as error:
        emit_refusal("compare", error, config, output)
        raise
    report = dataclasses.replace(report, strict=config.strict)
    emit(report, config, output)
    return report.exit_code


def named_run(results: Path, name: str, output: Output) -> Run:
    """Return the baseline or run of that name; warn about a partial one."""
    place = run_file_of(results, name)
    found = place if exists(results, name) else find_run(results, name)
    run = checked_run(found, records_of)
    if run.status != "complete":
        output.warn(f"run {run.id} is partial")
    return run
