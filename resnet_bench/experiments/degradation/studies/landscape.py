"""landscape: what does the loss look like around the weights that training found?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from resnet_bench.experiments.degradation.grid import BOTH_TRAIN_DEPTH, Grid
from resnet_bench.experiments.degradation.records import (
    DegradationCell,
    LossLine,
    LossSurface,
)
from resnet_bench.experiments.degradation.studies.base import Study
from resnet_bench.records import Record

if TYPE_CHECKING:
    from resnet_bench.experiments.degradation.measures.network import Subject


class Landscape(Study):
    """Computes the loss along random directions from the trained weights."""

    name = "landscape"
    question = "is the loss around the trained weights smooth or rough?"
    records = (LossSurface, LossLine)

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield the middle depth, and one at which plain networks train as well."""
        depths = [grid.middle]
        if BOTH_TRAIN_DEPTH in grid.depths and grid.middle != BOTH_TRAIN_DEPTH:
            depths.append(BOTH_TRAIN_DEPTH)
        return grid.networks(depths, seeds=grid.sizes.landscape_seeds)

    def extra_steps(self, cell: DegradationCell) -> float:
        """Return what 393 forward passes of 256 images cost, a third of a step each."""
        return 393 * 256 / cell.batch_size / 3

    def observe(self, subject: "Subject") -> Iterator[Record]:
        """Yield the surface over two directions, then the random lines."""
        from resnet_bench.experiments.degradation.measures.landscape import survey

        return survey(subject)
