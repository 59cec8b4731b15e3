"""From a run to the rows of `speed`: cells of one setting brought together.

A row has a timing cell, two memory cells and the ceiling that limits it; whatever
of these has not finished is simply not there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resnet_bench.experiments.speed.cells import (
    TIME,
    ceiling_of,
    row_of,
)
from resnet_bench.experiments.speed.records import (
    MEMORY_KINDS,
    CeilingSamples,
    OutOfMemory,
    PeakMemory,
    SpeedSamples,
)
from resnet_bench.experiments.speed.view.row import MISSING, SpeedRow, Visit
from resnet_bench.statistics.intervals import Interval, median_interval
from resnet_bench.store.reading import Run


def rows_of(run: Run) -> list[SpeedRow]:
    """Return the rows of a run in the order of its grid, whatever has finished."""
    return list(_rows(run))


def _rows(run: Run) -> Iterator[SpeedRow]:
    visits = _latest(run.rows(SpeedSamples))
    out_of_memory = {row["cell"]: row for row in run.rows(OutOfMemory)}
    memory = _memory(run)
    ceilings = _ceilings(run)
    for key, parameters in run.grid.items():
        if parameters["measure"] != TIME:
            continue
        yield SpeedRow(
            parameters=parameters,
            status=_status(run, key, visits, out_of_memory),
            visits=visits.get(key, ()),
            memory=memory.get(row_of(parameters), {}),
            ceilings=ceilings.get(ceiling_of(parameters), {}),
            error=_error(run, key, out_of_memory),
        )


def _latest(rows: Sequence[Visit]) -> dict[str, list[Visit]]:
    """Group visits by cell, of its last attempt only, in the order of rounds."""
    last: dict[str, int] = {}
    for row in rows:
        last[row["cell"]] = max(row["attempt"], last.get(row["cell"], 0))
    grouped: dict[str, list[Visit]] = {}
    for row in sorted(rows, key=lambda row: int(row["round"])):
        if row["attempt"] == last[row["cell"]]:
            grouped.setdefault(row["cell"], []).append(row)
    return grouped


def _status(
    run: Run,
    key: str,
    visits: Mapping[str, Sequence[Visit]],
    out_of_memory: Mapping[str, Visit],
) -> str:
    if key in run.failed:
        return "failed"
    if key in out_of_memory:
        return "oom"
    return "ok" if visits.get(key) else MISSING


def _error(run: Run, key: str, out_of_memory: Mapping[str, Visit]) -> str | None:
    if key in run.failed:
        return run.failed[key].error
    if key in out_of_memory:
        return f"out of memory: {out_of_memory[key]['message']}"
    return None


def _memory(run: Run) -> dict[tuple[Any, ...], dict[str, list[Visit]]]:
    kind_of = {measure: kind for kind, measure in MEMORY_KINDS.items()}
    latest = {row["cell"]: row for row in run.rows(PeakMemory)}
    found: dict[tuple[Any, ...], dict[str, list[Visit]]] = {}
    for row in sorted(latest.values(), key=lambda row: row.get("repeat") or 1):
        kinds = found.setdefault(row_of(row), {})
        kinds.setdefault(kind_of[row["measure"]], []).append(row)
    return found


def _ceilings(run: Run) -> dict[tuple[Any, ...], dict[str, Interval]]:
    pooled: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for row in run.rows(CeilingSamples):
        kinds = pooled.setdefault(ceiling_of(row), {})
        for kind in ("matrix_product", "convolution", "copy"):
            kinds.setdefault(kind, []).extend(row[kind])
    return {
        key: {kind: median_interval(values) for kind, values in kinds.items() if values}
        for key, kinds in pooled.items()
    }
