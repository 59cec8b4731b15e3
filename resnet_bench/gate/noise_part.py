"""`noise`: the working tree against itself, so that every difference is noise."""

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from resnet_bench.errors import ExitCode
from resnet_bench.gate.cases import Case
from resnet_bench.gate.live import interview
from resnet_bench.gate.measuring import (
    Starting,
    cases_of,
    launches_for,
    record_exact,
    record_pairs,
)
from resnet_bench.gate.pairs import Budget, Pairs
from resnet_bench.gate.recording import (
    Identity,
    collect_environment,
    kept,
    open_recording,
)
from resnet_bench.gate.records import Grid
from resnet_bench.gate.schedule import SIDES
from resnet_bench.gate.spec import DEFAULT_SUBJECT, NoiseConfig
from resnet_bench.gate.trees import working_tree
from resnet_bench.output import Output
from resnet_bench.store.folders import check_writable
from resnet_bench.store.reading import Run

EXPERIMENT = "noise"


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
    from resnet_bench.gate.noise import noise_json, noise_table
    from resnet_bench.present.tables import markdown
    from resnet_bench.present.terminal import print_table

    table = noise_table(run, config.effects)
    if config.json:
        output.write(noise_json(run, config.effects))
    else:
        print_table(table, output.console(), wide=False)
    if config.markdown:
        output.export(config.markdown, markdown(table))
