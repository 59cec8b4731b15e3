"""Benchmarks and experiments on residual networks.

For notebooks: `read_run` reads a stored run, `tables` returns what it shows as pandas
DataFrames, `run_ids` names the runs that are stored.

    from resnet_bench import read_run, tables
    tables(read_run("latest"))["speed"]
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from resnet_bench.store.reading import Run

__all__ = ["read_run", "run_ids", "tables"]
__version__ = "0.1.0"


def read_run(name: str = "latest", results: str | Path = "results") -> "Run":
    """Return a stored run by its id, its unique beginning or end, or a path.

    `latest` is the newest run and `latest~1` the one before it. Raises UsageError for a
    name of no run, InputOutputError for a damaged file.
    """
    from resnet_bench.store import folders, reading

    return reading.read_run(folders.find_run(Path(results), name))


def tables(run: "Run") -> "dict[str, pd.DataFrame]":
    """Return the tables that a run shows, by name, with every column in SI units.

    Raises UsageError for an experiment that this version does not know,
    InputOutputError for records that are not as their types declare.
    """
    from resnet_bench.reports.stored import shown

    return {table.name: table.frame for table in shown(run).tables}


def run_ids(
    experiment: str | None = None, results: str | Path = "results"
) -> list[str]:
    """Return the ids of the stored runs (of one experiment), oldest first."""
    from resnet_bench.store.folders import run_folders

    return [folder.name for folder in run_folders(Path(results), experiment)]
