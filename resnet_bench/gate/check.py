"""`check`: an older revision and the working tree, measured in alternation."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from resnet_bench.configuration import read_configuration
from resnet_bench.errors import ExitCode, NotComparableError, UsageError
from resnet_bench.gate.baselines import commit_of
from resnet_bench.gate.measuring import (
    Starting,
    cases_of,
    launches_for,
    record_accuracies,
    record_exact,
    record_pairs,
)
from resnet_bench.gate.pairs import Budget, Interview, Pairs, interview
from resnet_bench.gate.recording import (
    Identity,
    Recording,
    collect_environment,
    kept,
    open_recording,
)
from resnet_bench.gate.records import Grid, Side
from resnet_bench.gate.report import (
    check_targets,
    emit,
    emit_refusal,
    report_json,
    report_of,
    tables_of,
)
from resnet_bench.gate.spec import (
    ANY_CASE,
    Case,
    CheckConfig,
    CompareConfig,
    parse_threshold,
    thresholds_in,
)
from resnet_bench.gate.trees import Tree, checked_out, git, resolve, working_tree
from resnet_bench.output import Output
from resnet_bench.present.shown import Shown
from resnet_bench.store.folders import check_writable
from resnet_bench.store.reading import Run


def show(run: Run) -> Shown:
    """Return what a stored check shows."""
    report = report_of(run)
    return Shown(
        json=report_json(report),
        tables=tables_of(report),
        notices=[report.summary, *report.troubles, *report.notices],
    )


EXPERIMENT = "check"

Trees = dict[Side, Tree]


def run_check(config: CheckConfig, output: Output) -> ExitCode:
    """Measure, judge, show, and return the exit code.

    Raises ResnetBenchError for what cannot be done, KeyboardInterrupt and
    Terminated after the run file was closed.
    """
    from resnet_bench.gate.report import report_of

    check_writable(config.results)
    check_targets(config)
    budget = Budget(config.budget, time.perf_counter, time.perf_counter())
    try:
        run = measured(config, output, budget)
    except NotComparableError as error:
        emit_refusal(EXPERIMENT, error, config, output)
        raise
    report = report_of(run)
    emit(report, config, output)
    output.say(f"wrote {run.folder}")
    return report.strict_exit_code if config.strict else report.exit_code


def measured(config: CheckConfig, output: Output, budget: Budget) -> Run:
    """Carry out the check, or the rest of an interrupted one; return its run."""
    with both_trees(config) as trees, contextlib.ExitStack() as questions:
        launches = launches_for(config, trees)
        reading = questions.enter_context(ThreadPoolExecutor(1))
        environment = reading.submit(collect_environment)
        output.say("check: importing the subject of both trees")
        asked = questions.enter_context(interview(launches))
        grid = Grid(cases_of(config, asked), config.metrics)
        facts = {side: tree.facts for side, tree in trees.items()}
        thresholds = all_thresholds(config)
        refuse_unknown_thresholds(thresholds, grid, asked)
        identity = Identity(EXPERIMENT, config, facts, thresholds, environment)
        recording = open_recording(identity, grid, config.seeds)
        with kept(recording, output.say):
            answer(recording, asked, grid, config, budget)
            starting = Starting(launches, asked.libraries())
            questions.close()
            still_open = open_cases_of(recording, grid, config)
            record_pairs(recording, config, starting, budget, still_open, output.say)
    return recording.run()


def answer(
    recording: Recording,
    asked: Interview,
    grid: Grid,
    config: CheckConfig,
    budget: Budget,
) -> None:
    """Record everything that needs no timing."""
    record_exact(recording, asked, grid, config.threads)
    for name in grid.accuracy:
        record_accuracies(recording, asked, name, config.seeds, budget)


def open_cases_of(
    recording: Recording, grid: Grid, config: CheckConfig
) -> Callable[[Pairs], Sequence[Case]]:
    """Return what tells the cases that the next pair must measure.

    A case that could not be built on one side is not measured at all.
    """
    from resnet_bench.gate.rows import timings_of

    run = recording.run()
    broken = {row["case"] for row in run.rows("trial") if row["problem"]}
    sound = [case for case in grid.timed if case.text not in broken]

    def still_open(pairs: Pairs) -> Sequence[Case]:
        if len(pairs) >= config.pairs:
            return []
        undecided = timings_of(run, pairs).open_cases
        return [case for case in sound if case.text in undecided]

    return still_open


def all_thresholds(config: CheckConfig | CompareConfig) -> tuple[str, ...]:
    """Return the thresholds of the configuration file, then those of the options."""
    table = read_configuration(Path.cwd()).table(EXPERIMENT)
    return (*thresholds_in(table), *config.threshold)


def refuse_unknown_thresholds(
    thresholds: Sequence[str], grid: Grid, asked: Interview
) -> None:
    """Raise UsageError for a rule whose case neither tree has: it would do nothing."""
    known = dict.fromkeys([*asked.names, *(case.name for case in grid.cases)])
    for rule in map(parse_threshold, thresholds):
        name, _, _ = rule.case.partition(":")
        if name not in (*known, ANY_CASE):
            raise UsageError.for_option(
                "--threshold", rule.text, f"a case of {', '.join(known)}, or {ANY_CASE}"
            )


@contextlib.contextmanager
def both_trees(config: CheckConfig) -> Iterator[Trees]:
    """Provide the revision and the working tree while the block runs.

    Raises UsageError for an unknown revision, NotComparableError without any.
    """
    here = Path.cwd()
    commit = base_commit(here, config)
    head = working_tree(here, config.source, config.results)
    with checked_out(here, commit, config.source) as base:
        yield {"base": base, "head": head}


def base_commit(here: Path, config: CheckConfig) -> str:
    """Return the commit to measure against."""
    git(here, "rev-parse", "--show-toplevel")
    if config.against:
        return resolve(here, config.against)
    if config.baseline:
        return resolve(here, commit_of(config.results, config.baseline))
    raise NotComparableError(
        "no baseline: give --against REV, or save one with "
        "'resnet-bench baseline save NAME' and give --baseline NAME"
    )
