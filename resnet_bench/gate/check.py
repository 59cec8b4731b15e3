"""`check`: the working tree and its base, measured in alternation.

The base is an older revision, or the same tree under another Python.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from resnet_bench.errors import ExitCode, NotComparableError
from resnet_bench.gate.baselines import commit_of
from resnet_bench.gate.deciding import first_look
from resnet_bench.gate.measuring import (
    Measurement,
    OpenCases,
    measured,
    starting_budget,
)
from resnet_bench.gate.records import Pairs, Side, Versions, pairs_of, versions_of
from resnet_bench.gate.report import Report, emit, emit_refusal, shown_of
from resnet_bench.gate.rows import Timings, check_rows, timings_of
from resnet_bench.gate.spec import Case, CheckConfig, parse_case
from resnet_bench.gate.trees import (
    Tree,
    checked_out,
    git,
    one_tree,
    require_subject,
    resolve,
    working_tree,
)
from resnet_bench.output import Output, check_writable
from resnet_bench.present.exports import check_exports
from resnet_bench.present.shown import Shown
from resnet_bench.store.reading import Run

EXPERIMENT = "check"


def run_check(config: CheckConfig, output: Output) -> ExitCode:
    """Measure, judge, show, and return the exit code.

    Raises ResnetBenchError for what cannot be done, KeyboardInterrupt and
    Terminated after the run file was closed.
    """
    check_writable(config.results)
    check_exports(config, output)
    budget = starting_budget(config.budget)
    try:
        provided = one_tree if config.against_python else both_trees
        with provided(config) as trees:
            wanted = Measurement(
                experiment=EXPERIMENT,
                config=config,
                trees=trees,
                metrics=config.metrics,
                seeds=config.seeds,
                thresholds=config.thresholds,
                open_cases=open_cases_of,
                first_look=first_look,
                budget=budget,
            )
            run = measured(wanted, output)
    except NotComparableError as error:
        emit_refusal(EXPERIMENT, error, config, output)
        raise
    report = report_of(run, strict=config.strict)
    emit(report, config, output)
    output.say(f"wrote {run.folder}")
    return report.exit_code


@contextlib.contextmanager
def both_trees(config: CheckConfig) -> Iterator[Mapping[Side, Tree]]:
    """Provide the revision and the working tree while the block runs.

    Raises UsageError for an unknown revision, NotComparableError without any.
    """
    here = Path.cwd()
    commit = base_commit(here, config)
    require_subject(here, config)
    head = working_tree(here, config.source, config.results)
    with checked_out(here, commit, config.source) as base:
        yield {"base": base, "head": head}


def base_commit(here: Path, config: CheckConfig) -> str:
    """Return the commit to measure against."""
    git(here, "rev-parse", "--show-toplevel")
    if config.against:
        return resolve(here, config.against)
    if config.baseline:
        commit = commit_of(config.results, config.baseline)
        given = f"--baseline {config.baseline} (commit {commit[:12]})"
        return resolve(here, commit, given)
    raise NotComparableError(
        "no baseline: give --against REV or --against-python PATH, or save one with "
        "'resnet-bench baseline save NAME' and give --baseline NAME"
    )


def open_cases_of(run: Run, timed: Sequence[Case]) -> OpenCases:
    """Return a function that finds the cases that are not decided yet.

    A case that could not be built on one side is not measured at all.
    """
    broken = {row["case"] for row in run.rows("trial") if row["problem"]}
    sound = [case for case in timed if case.text not in broken]

    def still_open(pairs: Pairs) -> Sequence[Case]:
        undecided = timings_of(run, pairs).open_cases
        return [case for case in sound if case.text in undecided]

    return still_open


def show(run: Run) -> Shown:
    """Return what a stored check shows."""
    return shown_of(report_of(run, strict=bool(run.config.get("strict"))))


def report_of(run: Run, *, strict: bool) -> Report:
    """Return the report of a stored check."""
    timings = timings_of(run, pairs_of(run))
    trees, versions = run.header["trees"], versions_of(run)
    return Report(
        command=EXPERIMENT,
        rows=check_rows(run, timings),
        facts={
            "command": run.command,
            "environment": run.environment,
            "run": run.id,
            "base": trees["base"],
            "head": trees["head"],
            "machine_key": run.machine_key,
            "pairs": len(timings.pairs),
        },
        notices=[
            *_budget_notice(run, timings),
            *timings.pairs.notices,
            *_control_notice(timings),
            *(_versions_notice(versions) if versions else _tree_notice(trees)),
        ],
        versions=versions,
        strict=strict,
        too_few=timings.too_few,
    )


def _budget_notice(run: Run, timings: Timings) -> list[str]:
    """Say that pairs were left out which a verdict still needed."""
    done, most = len(timings.pairs), run.config["pairs"]
    if run.status != "complete" or done >= most:
        return []
    timed = [parse_case(text) for text in run.header["timed"]]
    undecided = open_cases_of(run, timed)(timings.pairs)
    return [f"The budget ended after {done} of {most} pairs."] if undecided else []


def _control_notice(timings: Timings) -> list[str]:
    ratios = timings.control.log_ratios
    if not ratios:
        return []
    change = 100 * math.expm1(sum(ratios) / len(ratios))
    moved = "changed" if timings.control_moved else "did not change"
    return [
        f"Control: a frozen matrix product {moved} ({change:+.1f} %, "
        f"{len(ratios)} pairs)."
    ]


def _tree_notice(trees: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    base, head = trees["base"]["content"], trees["head"]["content"]
    return ["Both trees hold the same files."] if base and base == head else []


def _versions_notice(versions: Versions) -> list[str]:
    changed = [
        f"{name} {before or 'none'} → {versions['head'].get(name) or 'none'}"
        for name, before in versions["base"].items()
        if before != versions["head"].get(name)
    ]
    return [f"Environments: {', '.join(changed) or 'the same versions'}."]
