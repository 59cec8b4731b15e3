"""The studies: a row each, in the order in which they are told."""

from collections.abc import Sequence
from dataclasses import replace

from resnet_bench.experiments.degradation.grid import Grid
from resnet_bench.experiments.degradation.records import (
    CurvePoint,
    DegradationCell,
    TrainingResult,
)
from resnet_bench.experiments.degradation.studies.anysize import AnySize
from resnet_bench.experiments.degradation.studies.base import Study
from resnet_bench.experiments.degradation.studies.landscape import Landscape
from resnet_bench.experiments.degradation.studies.mechanism import (
    Constructed,
    Gradients,
    Identity,
    Lesions,
    Response,
)
from resnet_bench.experiments.degradation.studies.training import (
    Controls,
    Depth,
    OtherShortcuts,
    Overfitting,
    Thousand,
)
from resnet_bench.records import Record

ROWS: tuple[Study, ...] = (
    Depth(),
    Overfitting(),
    Constructed(),
    Gradients(),
    Identity(),
    Response(),
    Lesions(),
    Landscape(),
    Thousand(),
    OtherShortcuts(),
    Controls(),
    AnySize(),
)
STUDIES = {study.name: study for study in ROWS}

#: What cells yield: the records of every training, and those of the studies.
RECORDS: tuple[type[Record], ...] = (
    TrainingResult,
    CurvePoint,
    *(record for study in ROWS for record in study.records),
)


def studies_of(cell: DegradationCell) -> list[Study]:
    """Return the studies that look at a cell, in their order."""
    return [study for name, study in STUDIES.items() if name in cell.studies]


def planned(grid: Grid, names: Sequence[str]) -> list[DegradationCell]:
    """Return every network that the studies need, each once, the longest first."""
    wanted: dict[DegradationCell, list[str]] = {}
    for name in names:
        for cell in STUDIES[name].networks(grid):
            wanted.setdefault(cell, []).append(name)
    cells = [_completed(cell, names, grid) for cell, names in wanted.items()]
    return sorted(cells, key=lambda cell: -cell.cost)


def _completed(
    cell: DegradationCell, names: Sequence[str], grid: Grid
) -> DegradationCell:
    """Return a cell with its studies and what they add to it."""
    cell = replace(cell, studies=tuple(names))
    studies = studies_of(cell)
    for study in studies:
        cell = study.completed(cell, grid)
    return replace(cell, study_steps=sum(each.extra_steps(cell) for each in studies))
