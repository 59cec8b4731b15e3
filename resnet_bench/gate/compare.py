"""`compare`: set two stored runs against each other."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from resnet_bench.errors import ExitCode, NotComparableError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.gate.baselines import exists, run_file_of
from resnet_bench.gate.deciding import TimingRule, Verdict, judge
from resnet_bench.gate.noise import known_process_spread
from resnet_bench.gate.records import Accuracy, ExactMetrics, PairTiming
from resnet_bench.gate.report import Report, emit, emit_refusal
from resnet_bench.gate.rows import (
    AccuracyRule,
    PairedAccuracies,
    Row,
    exact_verdict,
    judge_accuracy,
)
from resnet_bench.gate.spec import CompareConfig, settings_for
from resnet_bench.output import Output
from resnet_bench.present.exports import check_exports
from resnet_bench.present.machines import differences
from resnet_bench.records import Measure, Record, measures
from resnet_bench.statistics.estimates import geometric_mean
from resnet_bench.statistics.intervals import Interval, median_interval
from resnet_bench.store.folders import find_run
from resnet_bench.store.reading import Run, read_run

#: A record with one of these is one of several looks at the same thing.
REPEATED = frozenset({"round", "pair", "repeat"})

#: What a stored row carries besides the record's own fields.
BOOKKEEPING = frozenset({"type", "cell", "attempt"})

Key = tuple[str, str]


@dataclass
class Observed:
    """All values of one metric of one case.

    `by_seed` keeps the values of each training seed apart; where there is none the
    seed is None. `identity` says in words and numbers what the case is.
    """

    measure: Measure
    identity: Mapping[str, Any]
    by_seed: dict[int | None, list[Any]] = field(default_factory=dict)

    @property
    def values(self) -> list[Any]:
        """The known values of all seeds, samples one by one."""
        return [value for values in self.by_seed.values() for value in values]


def observations_of(run: Run) -> dict[Key, Observed]:
    """Return what a run observed, by case (its identity as JSON) and metric."""
    found: dict[Key, Observed] = {}
    counts = Counter((row["cell"], row["type"]) for row in run.records)
    for record_class, row in _rows(run):
        several = counts[row["cell"], row["type"]] > 1
        identity = identity_of(record_class, row, run, several=several)
        seed = row.get("seed", row.get("training_seed"))
        case = json.dumps(identity, sort_keys=True)
        for name, measure in measures(record_class).items():
            if measure.better == "neither" and not measure.exact:
                continue
            values = _known(row.get(name), exact=measure.exact)
            if values:
                seen = found.setdefault((case, name), Observed(measure, identity))
                seen.by_seed.setdefault(seed, []).extend(values)
    return found


def _known(value: Any, *, exact: bool) -> list[Any]:
    """Return the values that a field holds: none, one, or its samples."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) and not exact else [value]


def _rows(run: Run) -> Iterator[tuple[type[Record], dict[str, Any]]]:
    if run.experiment in EXPERIMENTS:
        for record_class in EXPERIMENTS[run.experiment].records:
            yield from ((record_class, row) for row in run.rows(record_class))
        return
    # A check stands for its working tree: what it saw of the base is left out.
    for row in run.rows(PairTiming):
        yield PairTiming, {**row, "base_seconds": None}
    for record_class in (ExactMetrics, Accuracy):
        for row in run.rows(record_class):
            if row["side"] == "head" and not row["problem"]:
                yield record_class, row


def identity_of(
    record_class: type[Record], row: Mapping[str, Any], run: Run, *, several: bool
) -> dict[str, Any]:
    """Return what tells a row from the others, its seed apart.

    That is the cell's parameters, but for those that name another cell; and the
    record's own plain fields where a cell has `several` of its kind that are not
    merely repeated looks.
    """
    if run.experiment not in EXPERIMENTS:
        return {"case": row["case"]}
    own = dict(run.grid.get(row["cell"], {}))
    if several and not REPEATED & row.keys():
        ignored = measures(record_class).keys() | BOOKKEEPING
        own |= {
            name: value
            for name, value in row.items()
            if name not in ignored and isinstance(value, (int, str, list))
        }
    identity = {
        name: value
        for name, value in own.items()
        if name not in REPEATED
        and value is not None  # what an older run did not have yet
        and not (isinstance(value, str) and value in run.grid)
    }
    return {"record": record_class.type_name(), **_without_seed(identity)}


def _without_seed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_seed(value) if isinstance(value, Mapping) else value
        for name, value in parameters.items()
        if name != "seed"
    }


def labels_of(identities: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return a short name for each identity: only what tells them apart.

    Keyed by the identity as JSON.
    """
    everything = list(identities)
    kinds = dict.fromkeys(identity.get("record") for identity in everything)
    alike = [[each for each in everything if each.get("record") == k] for k in kinds]
    telling = sorted({name for kind in alike for name in _differing(kind)})
    if len(kinds) > 1:
        telling = ["record", *telling]
    return {
        json.dumps(identity, sort_keys=True): _label(identity, telling)
        for identity in everything
    }


def _differing(identities: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the fields that are not the same in all records of one kind."""
    names = {name for identity in identities for name in identity}
    return {
        name
        for name in names
        if len({json.dumps(identity.get(name)) for identity in identities}) > 1
    }


def _label(identity: Mapping[str, Any], telling: Iterable[str]) -> str:
    if "case" in identity and "record" not in identity:
        return str(identity["case"])
    parts = [
        f"{name}={identity[name]}" for name in telling if identity.get(name) is not None
    ]
    return " ".join(parts) or str(identity.get("record", "all"))


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
        return Row(case, metric, Verdict.MISSING, f"only in the {side} run")
    if base.measure.exact:
        before, after = base.values[0], head.values[0]
        settings = settings_for(case, metric, terms.thresholds)
        judged = exact_verdict(base.measure, before, after, settings)
        return Row(case, metric, *judged, before, after)
    if base.measure.unit in MACHINE_UNITS:
        return _machine_row(case, base, head, terms)
    return _seeds_row(case, base, head, terms)


def _machine_row(case: str, base: Observed, head: Observed, terms: Comparison) -> Row:
    name, unit = base.measure.name, base.measure.unit
    if not terms.same_machine:
        because = "the runs are from different machines"
        return Row(case, name, Verdict.NOT_COMPARABLE, because, unit=unit)
    before, after = median(base.values), median(head.values)
    if min(before, after) <= 0:
        judged = (
            (Verdict.PASS, "identical")
            if before == after
            else (Verdict.INCONCLUSIVE, "there is no ratio to zero")
        )
        return Row(case, name, *judged, before, after, unit=unit)
    ratio = ratio_between(base.values, head.values, terms.process_spread)
    rule = TimingRule(**settings_for(case, "seconds", terms.thresholds))
    seconds = before if unit == "s" else math.inf
    slower = ratio if base.measure.better == "lower" else ratio.inverse
    decision = judge(slower, seconds, rule)
    verdict, because = decision.verdict, decision.because
    return Row(case, name, verdict, because, before, after, ratio, unit)


def _seeds_row(case: str, base: Observed, head: Observed, terms: Comparison) -> Row:
    """Judge an error or accuracy over the training seeds that both runs have."""
    measure = base.measure
    seeds = [seed for seed in base.by_seed if seed in head.by_seed]
    if not seeds:
        because = "the runs have no training seed in common"
        return Row(case, measure.name, Verdict.MISSING, because)
    scale = 100.0 if measure.unit == "%" else 1.0
    before, after = (
        [side.by_seed[seed][0] / scale for seed in seeds] for side in (base, head)
    )
    # An error is judged as its negative, which like an accuracy should not fall.
    sign = 1.0 if measure.better == "higher" else -1.0
    settings = settings_for(case, "accuracy", terms.thresholds)
    settings.pop("floor", None)
    rule = AccuracyRule(**settings, floor=-math.inf)
    pairs = PairedAccuracies(
        [sign * value for value in before],
        [sign * value for value in after],
        before == after,
    )
    return Row(
        case,
        measure.name,
        *judge_accuracy(pairs, rule),
        base=scale * sum(before) / len(seeds),
        head=scale * sum(after) / len(seeds),
        unit=measure.unit,
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
    if base.id == head.id:
        notices.append(f"Run {base.id} is compared with itself.")
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


def run_compare(config: CompareConfig, output: Output) -> ExitCode:
    """Compare, show, and return the exit code.

    Raises UsageError for an unknown run and NotComparableError for two that have
    nothing to do with each other.
    """
    check_exports(config, output)
    base, head = (named_run(config.results, name, output) for name in config.runs)
    spread = known_process_spread(config.results, head.machine_key)
    try:
        report = compare_runs(base, head, config.thresholds, spread)
    except NotComparableError as error:
        emit_refusal("compare", error, config, output)
        raise
    emit(report, config, output)
    return report.strict_exit_code if config.strict else report.exit_code


def named_run(results: Path, name: str, output: Output) -> Run:
    """Return the baseline or run of that name; a partial one is warned of."""
    place = run_file_of(results, name)
    run = read_run(place if exists(results, name) else find_run(results, name))
    if run.status != "complete":
        output.warn(f"run {run.id} is partial")
    return run
