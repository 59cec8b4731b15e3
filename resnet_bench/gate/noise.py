"""`noise`: the working tree against itself, so that every difference is noise."""

import contextlib
import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
    pair_spread,
    pairs_needed,
)
from resnet_bench.gate.measuring import (
    Starting,
    cases_of,
    launches_for,
    record_exact,
    record_pairs,
)
from resnet_bench.gate.pairs import CONTROL, Budget, Pairs, interview
from resnet_bench.gate.recording import (
    Identity,
    collect_environment,
    kept,
    open_recording,
)
from resnet_bench.gate.records import SIDES, Grid
from resnet_bench.gate.rows import paired_seconds, pairs_of, plan_for
from resnet_bench.gate.spec import DEFAULT_SUBJECT, Case, NoiseConfig
from resnet_bench.gate.trees import working_tree
from resnet_bench.output import Output
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.store.folders import check_writable, run_folders
from resnet_bench.store.reading import Run, read_run

EXPERIMENT = "noise"


@dataclass(frozen=True)
class Noise:
    """The noise of one case; spreads are standard deviations of log-ratios.

    `pair_spread` is of two processes measured in alternation, `process_spread` of
    two measured one after the other. `detectable` is the slowdown that a check with
    its last look after `pairs` pairs finds in 95 of 100 cases; `needed` maps a
    slowdown to the pairs that find it so often.
    """

    case: str
    seconds: float
    pairs: int
    pair_spread: float
    process_spread: float
    detectable: float
    needed: dict[float, int | None]


def noise_of(case: str, series: PairedSeconds, effects: Sequence[float]) -> Noise:
    """Return the noise of one case; raises ValueError below two pairs."""
    spread = pair_spread(series.log_ratios)
    if spread is None:
        raise ValueError(f"{case}: one pair has no spread")
    rule, plan = TimingRule(), Plan()
    count = len(series.base)
    return Noise(
        case=case,
        seconds=math.exp(sum(map(math.log, series.base)) / count),
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
    steps = [
        math.log(head / base)
        for base, head in zip(series.base[:-1], series.head[1:], strict=True)
    ]
    return stdev(steps) if len(steps) > 1 else math.nan


def all_noise(run: Run, effects: Sequence[float]) -> list[Noise]:
    """Return the noise of every case of a run that has two pairs, control last."""
    pairs = pairs_of(run)
    names = [*run.header["timed"], CONTROL.text]
    series = {name: paired_seconds(pairs, name) for name in names}
    return [
        noise_of(name, found, effects)
        for name, found in series.items()
        if len(found.base) > 2
    ]


def noise_table(run: Run, effects: Sequence[float]) -> Table:
    """Return the noise as a table, a row per case."""
    rows = [_table_row(row) for row in all_noise(run, effects)]
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
        title=f"Identical code on both sides, machine {run.machine_key}",
        frame=pd.DataFrame(rows, columns=columns, dtype=object),
        narrow=[*columns[:5], *needed[-3:]],
        notes=[
            "Pair spread: standard deviation of the log-ratio of two processes "
            "measured in alternation; process spread: one after the other.",
            f"Detectable: found in 95 of 100 checks of so many pairs, with looks at "
            f"{', '.join(map(str, plan_for(run.config['pairs']).looks))}.",
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


def noise_json(run: Run, effects: Sequence[float]) -> str:
    """Return the noise as one JSON object."""
    rows = [asdict(row) for row in all_noise(run, effects)]
    facts = {"command": EXPERIMENT, "run": run.id, "machine_key": run.machine_key}
    return json.dumps({**facts, "rows": rows}, allow_nan=False)


def process_spread_on(results: Path, machine_key: str | None) -> float | None:
    """Return the largest process spread that a machine's newest `noise` run found.

    None when this machine was never measured.
    """
    for folder in reversed(run_folders(results, EXPERIMENT)):
        run = read_run(folder)
        if machine_key is not None and run.machine_key == machine_key:
            rows = [row for row in all_noise(run, ()) if row.case != CONTROL.text]
            spreads = [row.process_spread for row in rows]
            return max(spreads, default=None)
    return None


def known_process_spread(results: Path, machine_key: str | None) -> float | None:
    """Return the process spread, None too where a noise run cannot be read."""
    try:
        return process_spread_on(results, machine_key)
    except InputOutputError:
        return None


def show(run: Run) -> Shown:
    """Return what a stored noise measurement shows."""
    effects = run.config["effects"]
    return Shown(
        json=json.loads(noise_json(run, effects)), tables=[noise_table(run, effects)]
    )


def run_noise(config: NoiseConfig, output: Output) -> ExitCode:
    """Measure the spread of pairs on this machine, show it, and keep it.

    Raises ResnetBenchError for what cannot be done.
    """
    check_writable(config.results)
    budget = Budget(config.budget, time.perf_counter, time.perf_counter())
    run = measured(config, output, budget)
    show_noise(run, config, output)
    output.say(f"wrote {run.folder}")
    return ExitCode.OK


def measured(config: NoiseConfig, output: Output, budget: Budget) -> Run:
    """Carry out the measurement, or the rest of an interrupted one."""
    tree = working_tree(folder_of(config), config.source, config.results)
    launches = launches_for(config, dict.fromkeys(SIDES, tree))
    with contextlib.ExitStack() as questions:
        reading = questions.enter_context(ThreadPoolExecutor(1))
        environment = reading.submit(collect_environment)
        asked = questions.enter_context(interview(launches))
        grid = Grid(cases_of(config, asked), ("time",))
        facts = dict.fromkeys(SIDES, tree.facts)
        identity = Identity(EXPERIMENT, config, facts, (), environment)
        recording = open_recording(identity, grid, 0)
        with kept(recording, output.say):
            record_exact(recording, asked, grid, config.threads)
            starting = Starting(launches, asked.libraries())
            questions.close()

            def still_open(pairs: Pairs) -> Sequence[Case]:
                return grid.timed if len(pairs) < config.pairs else ()

            record_pairs(recording, config, starting, budget, still_open, output.say)
    return recording.run()


def folder_of(config: NoiseConfig) -> Path:
    """Return where the subject lies: here, or this package for its own subject."""
    here = Path.cwd()
    package = Path(__file__).resolve().parents[2]
    return package if config.subject == DEFAULT_SUBJECT else here


def show_noise(run: Run, config: NoiseConfig, output: Output) -> None:
    """Print the spread and what follows from it."""
    from resnet_bench.present.tables import markdown
    from resnet_bench.present.terminal import print_table

    table = noise_table(run, config.effects)
    if config.json:
        output.write(noise_json(run, config.effects))
    else:
        print_table(table, output.console(), wide=False)
    if config.markdown:
        output.export(config.markdown, markdown(table))
