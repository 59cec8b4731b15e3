"""What a variant is made of, counted in every usual way."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resnet_bench.experiments.base import Experiment, OtherRuns
from resnet_bench.experiments.describe.spec import (
    RECORDS,
    Config,
    DescribeCell,
    FolderCell,
    expand,
)
from resnet_bench.records import Record
from resnet_bench.store.reading import Run

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks
    from resnet_bench.present.shown import Shown


class Describe(Experiment[Config, DescribeCell | FolderCell]):
    """Show stages, layer counts and the last layer."""

    name = "describe"
    title = "Architecture"
    config = Config
    records = RECORDS
    kept = False
    examples = (
        "describe 18 50",
        "describe --data ~/photographs",
    )

    def expand(self, config: Config) -> Sequence[DescribeCell | FolderCell]:
        """Return the cells that a prepared config comes to."""
        return expand(config)

    def prepare(self, config: Config) -> Config:
        """Return the config as it is carried out here; raises UsageError."""
        from resnet_bench.experiments.describe.run import prepare

        return prepare(config)

    def estimate(
        self, config: Config, cells: Sequence[DescribeCell | FolderCell]
    ) -> float | None:
        """Return the seconds that the cells take: next to none."""
        return 0.2 * len(cells)

    def run(self, cell: DescribeCell | FolderCell, ranks: "Ranks") -> Iterator[Record]:
        """Yield what the cell measures."""
        from resnet_bench.experiments.describe.run import run

        return run(cell, ranks)

    def show(self, run: Run, others: OtherRuns) -> "Shown":
        """Return what the run shows."""
        from resnet_bench.experiments.describe.view import show

        return show(run, others)
