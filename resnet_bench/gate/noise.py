"""`noise`: the working tree against itself, so that every difference is noise."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import stdev
from typing import Any

import pandas as pd

from resnet_bench.errors import ExitCode, InputOutputError
from resnet_bench.gate.deciding import (
    PairedSeconds,
    Plan,
    TimingRule,
    detectable_effect,
    pairs_needed,
    plan_for,
)
from resnet_bench.gate.measuring import (
    Measurement,
    OpenCases,
    measured,
    starting_budget,
)
from resnet_bench.gate.records import pairs_of, records_of, versions_of
from resnet_bench.gate.report import versions_table
from resnet_bench.gate.spec import CONTROL, Case, NoiseConfig
from resnet_bench.gate.trees import one_tree
from resnet_bench.output import Output, check_writable
from resnet_bench.present import exports as printing
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.statistics.estimates import geometric_mean
from resnet_bench.store.checking import checked_run, naming
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run

EXPERIMENT = "noise"

#: Two pairs hold one step from a process to the next; a spread needs two steps.
FEWEST_FOR_A_SPREAD = 3


def run_noise(config: NoiseConfig, output: Output) -> ExitCode:
    """Measure the spread of pairs on this machine, show it, and keep it.

    Raises ResnetBenchError for what cannot be done, KeyboardInterrupt and
    Terminated after the run file was closed.
    """
    check_writable(config.results)
    printing.check_exports(config, output)
    budget = starting_budget(config.budget)
    with one_tree(config) as trees:
        wanted = Measurement(
            experiment=EXPERIMENT,
            config=config,
            trees=trees,
            metrics=("time",),
            seeds=0,
            thresholds=(),
            open_cases=all_cases,
            budget=budget,
        )
        run = measured(wanted, output)
    printing.show(show(run), config, output)
    output.say(f"wrote {run.folder}")
    return ExitCode.OK


def all_cases(run: Run, timed: Sequence[Case]) -> OpenCases:
    """Return a function that names the cases to measure: all of them."""
    return lambda pairs: timed


@dataclass(frozen=True)
class Noise:
    """The noise of one case; spreads are standard deviations of log-ratios.

    `pair_spread` is of two processes measured in alternation, `process_spread` of
    two measured one after the other. `detectable` is the slowdown that a check of
    `pairs` pairs finds in 95 of 100 cases; `needed` maps a slowdown to the pairs that
    find it so often.
    """

    case: str
    seconds: float
    pairs: int
    pair_spread: float
    process_spread: float
    detectable: float
    needed: dict[float, int | None]


def noise_of(
    case: str, series: PairedSeconds, effects: Sequence[float], plan: Plan
) -> Noise:
    """Return the noise of one case; raises StatisticsError below three pairs."""
    spread, rule = stdev(series.log_ratios), TimingRule()
    count = len(series.base)
    return Noise(
        case=case,
        seconds=geometric_mean(series.base),
        pairs=count,
        pair_spread=spread,
        process_spread=one_after_another(series),
        detectable=detectable_effect(spread, count, rule, plan),
        needed={e: pairs_needed(e, spread, rule, plan) for e in effects},
    )


def one_after_another(series: PairedSeconds) -> float:
    """Return the spread of the log-ratio of two processes not measured together.

    Neighbouring pairs serve: the first's base against the next one's head, which
    ran several seconds later.
    """
    return stdev(
        math.log(head / base)
        for base, head in zip(series.base[:-1], series.head[1:], strict=True)
    )


def all_noise(run: Run, effects: Sequence[float]) -> list[Noise]:
    """Return the noise of every case of a run that has three pairs, control last."""
    pairs, plan = pairs_of(run), plan_for(run.config["pairs"])
    series = {name: pairs.paired(name) for name in (*run.header["timed"], CONTROL.text)}
    return [
        noise_of(name, found, effects, plan)
        for name, found in series.items()
        if len(found.base) >= FEWEST_FOR_A_SPREAD
    ]


def show(run: Run) -> Shown:
    """Return what a noise measurement shows."""
    effects = run.config["effects"]
    found = all_noise(run, effects)
    facts = {
        "command": run.command,
        "environment": run.environment,
        "run": run.id,
        "machine_key": run.machine_key,
    }
    too_few = f"A spread needs {FEWEST_FOR_A_SPREAD} pairs: measure longer (--budget)."
    versions = versions_of(run)
    return Shown(
        json={
            **facts,
            **({"versions": versions} if versions else {}),
            "rows": [asdict(row) for row in found],
        },
        tables=[noise_table(run, found, effects), *versions_table(versions)],
        conclusion=[*pairs_of(run).notices, *([] if found else [too_few])],
    )


def noise_table(run: Run, found: Sequence[Noise], effects: Sequence[float]) -> Table:
    """Return the noise as a table, a row per case."""
    rows = [_table_row(row) for row in found]
    where = "under two Pythons" if versions_of(run) else "on both sides"
    needed = [f"pairs for {100 * effect:g} %" for effect in effects]
    columns = [
        "case",
        "seconds",
        "pair_spread_percent",
        "process_spread_percent",
        "detectable_percent",
        "pairs",
        *needed,
    ]
    return Table(
        name="noise",
        title=f"Identical code {where}, machine {run.machine_key}",
        frame=pd.DataFrame(rows, columns=columns, dtype=object),
        narrow=[*columns[:5], *needed[-3:]],
        notes=[
            "Pair spread: standard deviation of the log-ratio of two processes "
            "measured in alternation; process spread: one after the other.",
            "Detectable: found in 95 of 100 checks with that many pairs, with "
            f"looks at {', '.join(map(str, plan_for(run.config['pairs']).looks))}.",
        ],
    )


def _table_row(noise: Noise) -> dict[str, Any]:
    return {
        "case": noise.case,
        "seconds": noise.seconds,
        "pair_spread_percent": 100 * noise.pair_spread,
        "process_spread_percent": 100 * noise.process_spread,
        "detectable_percent": 100 * noise.detectable,
        "pairs": noise.pairs,
        **{f"pairs for {100 * e:g} %": pairs for e, pairs in noise.needed.items()},
    }


def known_process_spread(results: Path, machine_key: str | None) -> float | None:
    """Return the largest process spread of a machine's newest `noise` run with one.

    None when this machine was never measured.
    """
    for folder in reversed(run_folders(results, EXPERIMENT)):
        # `list` names damaged runs.
        with contextlib.suppress(InputOutputError):
            run = checked_run(folder, records_of)
            if machine_key is not None and run.machine_key == machine_key:
                with naming(run):
                    rows = [r for r in all_noise(run, ()) if r.case != CONTROL.text]
                if rows:
                    return max(row.process_spread for row in rows)
    return None
