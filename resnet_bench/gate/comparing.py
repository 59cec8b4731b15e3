"""`compare`: set two stored runs against each other."""

from pathlib import Path

from resnet_bench.errors import ExitCode, NotComparableError
from resnet_bench.gate.baselines import exists, run_file_of
from resnet_bench.gate.check import all_thresholds
from resnet_bench.gate.report import check_targets, emit, emit_refusal
from resnet_bench.gate.spec import CompareConfig
from resnet_bench.output import Output
from resnet_bench.store.folders import find_run
from resnet_bench.store.reading import Run, read_run


def run_compare(config: CompareConfig, output: Output) -> ExitCode:
    """Compare, show, and return the exit code.

    Raises UsageError for an unknown run and NotComparableError for two that have
    nothing to do with each other.
    """
    from resnet_bench.gate.compare import compare_runs
    from resnet_bench.gate.noise import process_spread_on

    check_targets(config)
    base, head = (named_run(config.results, name, output) for name in config.runs)
    spread = process_spread_on(config.results, head.machine_key)
    try:
        report = compare_runs(base, head, all_thresholds(config), spread)
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
