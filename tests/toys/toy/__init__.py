"""A toy experiment: every cell does what its `behaviour` says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from resnet_bench.experiments.base import Experiment, OtherRuns
from resnet_bench.records import Record
from resnet_bench.store.reading import Run
from tests.toys.toy.spec import Config, ToyCell, ToySample, expand

if TYPE_CHECKING:
    from resnet_bench.present.shown import Shown
    from resnet_bench.present.tables import Table


class Toy(Experiment[Config, ToyCell]):
    """A toy, visited cell by cell."""

    name = "toy"
    title = "Toy"
    config = Config
    records = (ToySample,)
    examples = ("toy", "toy --size 2")

    def expand(self, config: Config) -> Sequence[ToyCell]:
        return expand(config)

    def prepare(self, config: Config) -> Config:
        from tests.toys.toy.run import prepare

        return prepare(config)

    def rehearse(self, config: Config) -> None:
        from tests.toys.toy.run import rehearse

        rehearse(config)

    def estimate(self, config: Config, cells: Sequence[ToyCell]) -> float:
        return 1.5 * len(cells)

    def run(self, cell: ToyCell, ranks: Any) -> Iterator[Record]:
        from tests.toys.toy.run import run

        return run(cell, ranks)

    def show(self, run: Run, others: OtherRuns) -> Shown:
        from tests.toys.toy.view import show

        return show(run)

    def live_table(self, run: Run, running: Collection[str]) -> Table | None:
        from tests.toys.toy.view import live_table

        return live_table(run)


class TimedToy(Toy):
    """The same toy, visited in rounds."""

    schedule = "rounds"


TOY = Toy()
TIMED_TOY = TimedToy()
