"""The cells of a check: exact metrics, training seeds, pairs of processes."""

from dataclasses import dataclass

from resnet_bench.gate.cases import TIMED, Case
from resnet_bench.gate.observations import ExactCell, PairCell, SeedCell
from resnet_bench.gate.schedule import pair_order
from resnet_bench.gate.spec import SubjectConfig
from resnet_bench.records import Cell


@dataclass(frozen=True)
class Grid:
    """What a check measures, by the way it is measured."""

    cases: tuple[Case, ...]
    metrics: tuple[str, ...]

    @property
    def timed(self) -> list[Case]:
        """The cases that pairs of processes measure."""
        wanted = "time" in self.metrics
        return [case for case in self.cases if wanted and case.method in TIMED]

    @property
    def exact(self) -> list[str]:
        """The names whose make-up is counted: all that are not only trained."""
        wanted = "exact" in self.metrics
        cases = [case for case in self.cases if wanted and case.method != "accuracy"]
        return list(dict.fromkeys(case.name for case in cases))

    @property
    def accuracy(self) -> list[str]:
        """The names that are trained and tested."""
        wanted = "accuracy" in self.metrics
        cases = [case for case in self.cases if case.method == "accuracy"]
        return [case.name for case in cases if wanted]

    def cells(self, config: SubjectConfig, seeds: int) -> list[Cell]:
        """Return every cell that may be measured."""
        return [
            ExactCell(threads=config.threads),
            *(
                SeedCell(case=name, training_seed=seed)
                for name in self.accuracy
                for seed in range(seeds)
            ),
            *(pair_cell(config, number) for number in range(config.pairs)),
        ]


def pair_cell(config: SubjectConfig, number: int) -> PairCell:
    """Return the cell of one pair: its order follows from seed and number."""
    order = pair_order(config.seed, number)
    return PairCell(
        pair=number,
        blocks=" ".join(order.blocks),
        first_started=order.first_started,
        threads=config.threads,
    )
