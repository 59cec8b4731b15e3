"""The gate's commands: `check`, `compare`, `noise`, `baseline` and `history`."""

from resnet_bench.commands.table import Reader
from resnet_bench.errors import ExitCode
from resnet_bench.gate.spec import (
    BaselineConfig,
    CheckConfig,
    CompareConfig,
    HistoryConfig,
    NoiseConfig,
)
from resnet_bench.output import Output


def check(config: CheckConfig, output: Output) -> ExitCode:
    """Compare the working tree with an older revision."""
    from resnet_bench.gate.check import run_check

    return run_check(config, output)


def compare(config: CompareConfig, output: Output) -> ExitCode:
    """Compare two stored runs."""
    from resnet_bench.gate.compare import run_compare

    return run_compare(config, output)


def noise(config: NoiseConfig, output: Output) -> ExitCode:
    """Compare the working tree with itself."""
    from resnet_bench.gate.noise import run_noise

    return run_noise(config, output)


def baseline(config: BaselineConfig, output: Output) -> ExitCode:
    """Keep a checked commit under a name, list those kept, or replace one."""
    from resnet_bench.gate.baselines import keep_baseline

    return keep_baseline(config, output)


def history(config: HistoryConfig, output: Output) -> ExitCode:
    """Show how long cases took, commit after commit."""
    from resnet_bench.gate.history import run_history

    return run_history(config, output)


CHECK = Reader(
    CheckConfig,
    check,
    ("check --against main", "check --against HEAD~1 --budget 120 --explain"),
)

COMPARE = Reader(
    CompareConfig,
    compare,
    ("compare RUN RUN", "compare release latest --export-markdown -"),
)

NOISE = Reader(
    NoiseConfig,
    noise,
    ("noise --budget 120", "noise --cases resnet18:forward --pairs 20"),
)

BASELINE = Reader(
    BaselineConfig,
    baseline,
    ("baseline save release", "baseline accept release latest"),
)

HISTORY = Reader(
    HistoryConfig,
    history,
    ("history --export-figure history.svg", "history --measure 10 --append-to h.jsonl"),
)
