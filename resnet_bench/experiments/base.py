"""The interface of every experiment, typed so that mypy checks it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from resnet_bench.engine.cpu import bytes_left
from resnet_bench.execution.base import Executor, Rounds, Schedule, Visits
from resnet_bench.records import Cell, Record
from resnet_bench.store.reading import Run

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks
    from resnet_bench.present.shown import Shown
    from resnet_bench.present.tables import Table

ConfigT = TypeVar("ConfigT")
CellT = TypeVar("CellT", bound=Cell)

#: Is told in a person's words what is being done.
Note = Callable[[str], None]


@dataclass(frozen=True)
class StepCost:
    """What one training step of a variant costs, and where that was measured."""

    step_seconds: float
    peak_bytes: int | None
    where: str


#: Share of the memory left, of the machine or the container, that living cells may plan
#: to use together.
MEMORY_SHARE = 0.8


class OtherRuns:
    """What a view needs to know of other runs of the same machine: nothing, alone."""

    @property
    def process_spread(self) -> float | None:
        """Standard deviation of log-times between processes, as `noise` measured it."""
        return None

    @property
    def step_costs(self) -> Iterable[Mapping[int, StepCost]]:
        """What each `speed` run says of steps, by variant; the newest run first."""
        return ()


class Experiment(ABC, Generic[ConfigT, CellT]):
    """An experiment: its options, its grid, what it measures and what it shows.

    An experiment is a class in its folder's `__init__.py` and one row of EXPERIMENTS.
    Methods import what they need when they are called: `run`, `prepare`, `estimate`
    and `rehearse` are called where cells run and may import torch; `show` and
    `live_table` may import pandas and matplotlib; the others are light.
    """

    #: The command's name, and its heading in a report.
    name: ClassVar[str]
    title: ClassVar[str]
    #: `once` runs a cell to its end; `rounds` visits the living cells in shuffled
    #: order, so that a slow minute of the machine hits all of them.
    schedule: ClassVar[Schedule] = "once"
    #: Whether its results are kept as runs; otherwise they are only shown.
    kept: ClassVar[bool] = True
    #: How many of its runs, of different machines and settings, a report shows in
    #: full unless runs are named.
    runs_on_page: ClassVar[int] = 1
    #: The question that a report opens with, and the figures that answer it: the
    #: first that a run has is shown there.
    question: ClassVar[str] = ""
    answers: ClassVar[Sequence[str]] = ()
    #: How the numbers are taken, for reports.
    method: ClassVar[Sequence[str]] = ()
    #: Two command lines for the help, without the program's name.
    examples: ClassVar[Sequence[str]]
    #: The dataclass of its options, and the record types that its cells yield.
    config: ClassVar[type[Any]]
    records: ClassVar[Sequence[type[Record]]]

    @property
    def preload(self) -> tuple[str, ...]:
        """The modules that cells import, loaded beforehand where cells run."""
        return (f"{type(self).__module__}.run",)

    @abstractmethod
    def expand(self, config: ConfigT) -> Sequence[CellT]:
        """Return the cells that a prepared config comes to."""

    def prepare(self, config: ConfigT) -> ConfigT:
        """Return the config as it is carried out here; raises UsageError."""
        return config

    def prepared(self, config: ConfigT, executor: Executor) -> ConfigT:
        """Prepare where cells run; raises UsageError."""
        return executor.call(self.prepare, config)

    def fitted(self, config: ConfigT, executor: Executor, note: Note) -> ConfigT:
        """Return the config with what only a trial finds; `note` is called at each."""
        return config

    def announcements(self, config: ConfigT) -> Sequence[str]:
        """Return what is said before the first cell."""
        return ()

    def rehearse(self, config: ConfigT) -> None:
        """Load, or download if asked, what cells need; never in a dry run.

        Raises UsageError, so that nothing fails after the first cell.
        """

    def estimate(self, config: ConfigT, cells: Sequence[CellT]) -> float | None:
        """Return the seconds that the cells take one after the other, if known."""
        return None

    def memory_left(
        self, config: ConfigT, cells: Sequence[CellT], executor: Executor
    ) -> float:
        """Return the bytes that cells which live at the same time may hold together."""
        return MEMORY_SHARE * bytes_left()

    def visits(self, config: ConfigT, cells: Sequence[CellT]) -> Visits:
        """Return the rule for which cell is visited next, in `rounds`."""
        return Rounds(getattr(config, "seed", 0))

    def budget_seconds(self, config: ConfigT) -> float | None:
        """Return the seconds that all cells share; None where each takes its own."""
        return None

    @abstractmethod
    def run(self, cell: CellT, ranks: "Ranks") -> Iterator[Record]:
        """Yield what the cell measures, record by record."""

    @abstractmethod
    def show(self, run: Run, others: OtherRuns) -> "Shown":
        """Return what the run shows; called once per run."""

    def live_table(self, run: Run, running: Collection[str]) -> "Table | None":
        """Return the table that fills while cells run; None as long as it is empty.

        `running` holds the keys of the cells that have begun and not ended.
        """
        return None
