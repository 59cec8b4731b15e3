"""How fast each variant runs forward, backward and a whole step."""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from resnet_bench.errors import ResnetBenchError, UsageError
from resnet_bench.execution.base import Executor, Rounds, Visits
from resnet_bench.experiments.base import (
    MEMORY_SHARE,
    Experiment,
    Note,
    OtherRuns,
)
from resnet_bench.experiments.speed import grid
from resnet_bench.experiments.speed.budget import FIRST_VISITS, RunBudget
from resnet_bench.experiments.speed.cells import SpeedCell
from resnet_bench.experiments.speed.grid import expand
from resnet_bench.experiments.speed.spec import RECORDS, Config
from resnet_bench.records import Record
from resnet_bench.store.reading import Run

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks
    from resnet_bench.present.shown import Shown
    from resnet_bench.present.tables import Table

#: How long a person's own model may take to be built and tried, in seconds.
PREPARE_SECONDS = 300.0


def gpu_bytes_left(device: str) -> int:
    """Return the free bytes of a GPU; called where cells run."""
    from resnet_bench.engine.devices import choose

    return choose(device).bytes_left


class Speed(Experiment[Config, SpeedCell]):
    """Time forward, backward and training step of each ResNet."""

    name = "speed"
    title = "Speed"
    question = "How long does each ResNet take here?"
    answers = ("phases",)
    schedule = "rounds"
    config = Config
    records = RECORDS
    runs_on_page = 6
    examples = (
        "speed --variants 18,34,50",
        "speed --variants 18 -b 1,4,16 --dtype bfloat16 --mode infer",
    )
    method = (
        "Every setting runs in a process of its own; the settings are visited in "
        "shuffled order, several times, so that a slow minute of the machine hits all "
        "of them.",
        "Forward, loss, backward and optimizer are read from the clock within a step. "
        "On CUDA that needs synchronisation, so another step is timed as a whole. The "
        "sum of the parts over the step is the closure; outside of 0.95 to 1.05 the "
        "row is marked.",
        "A time has one value per visit, the median of its calls; estimate and "
        "interval are Hodges and Lehmann's over visits, on logarithms. They cover what "
        "varies within that process, not from one process to the next.",
        "Ratios between rows are formed visit by visit, in the same way.",
        "Images per second come from blocks of calls that are not synchronised one by "
        "one, peak memory from a fresh process that does nothing else.",
        "Work is counted without computing: one multiply-add (MAC) is two FLOP. The "
        "ceiling is the fastest matrix product or convolution of the same run.",
    )

    def expand(self, config: Config) -> Sequence[SpeedCell]:
        """Return the cells that a prepared config comes to."""
        return expand(config)

    def prepare(self, config: Config) -> Config:
        """Return the config as it is carried out here; raises UsageError."""
        from resnet_bench.experiments.speed.run import prepare

        return prepare(config)

    def prepared(self, config: Config, executor: Executor) -> Config:
        """Prepare where cells run; a model that ends or stops the child is refused."""
        if not config.model:
            return super().prepared(config, executor)
        try:
            return executor.call(self.prepare, config, patience=PREPARE_SECONDS)
        except UsageError:
            raise
        except ResnetBenchError as error:
            names = ",".join(config.model)
            accepted = f"a model that can be built and called ({error})"
            raise UsageError.for_option("--model", names, accepted) from error

    def fitted(self, config: Config, executor: Executor, note: Note) -> Config:
        """Find the largest batches, train weights for int8: what is asked for."""
        grid.train_briefly(config, executor, note)
        return grid.fitted(config, executor, note)

    def announcements(self, config: Config) -> Sequence[str]:
        """Say which batches were found."""
        return grid.announce(config)

    def live_table(self, run: Run, running: Collection[str]) -> "Table | None":
        """Return the table of times as far as it is filled."""
        from resnet_bench.experiments.speed.view.show import live_table

        return live_table(run, running)

    def visits(self, config: Config, cells: Sequence[SpeedCell]) -> Visits:
        """Share out the run's budget; a protocol says itself how often it calls.

        What it does not time, the ceilings, is visited as often as bounds need.
        """
        seconds = self.budget_seconds(config)
        if seconds is None or config.precision is None:
            return Rounds(config.seed, FIRST_VISITS)
        return RunBudget(seconds, config.precision, len(cells), config.seed)

    def budget_seconds(self, config: Config) -> float | None:
        """Return the run's budget; a protocol has none."""
        return None if config.protocol else config.budget

    def memory_left(
        self, config: Config, cells: Sequence[SpeedCell], executor: Executor
    ) -> float:
        """On CUDA the GPU must hold all cells, and beside them one that is at work."""
        of_host = super().memory_left(config, cells, executor)
        if not config.device.startswith("cuda"):
            return of_host
        of_gpu = MEMORY_SHARE * executor.call(gpu_bytes_left, config.device)
        return min(of_host, of_gpu - max(cell.working_bytes for cell in cells))

    def estimate(self, config: Config, cells: Sequence[SpeedCell]) -> float | None:
        """Return the seconds that the cells take one after the other."""
        from resnet_bench.experiments.speed.run import estimate

        return estimate(config, list(cells))

    def run(self, cell: SpeedCell, ranks: "Ranks") -> Iterator[Record]:
        """Yield what the cell measures."""
        from resnet_bench.experiments.speed.run import run

        return run(cell, ranks)

    def show(self, run: Run, others: OtherRuns) -> "Shown":
        """Return what the run shows."""
        from resnet_bench.experiments.speed.view.show import show

        return show(run, others)
