"""What a study is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_bench.experiments.degradation.grid import Grid
from resnet_bench.experiments.degradation.records import DegradationCell
from resnet_bench.records import Record

if TYPE_CHECKING:
    from resnet_bench.experiments.degradation.measures.network import Subject


class Study:
    """A question: the networks it needs trained, and what it observes of them.

    A study is a class and a row of STUDIES. It is described lightly; methods that
    look at networks import what they need when they are called.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    #: Whether torchvision's networks (family "imagenet") can take part.
    takes_imagenet: ClassVar[bool] = False
    #: The record types that it yields, besides those of every training.
    records: ClassVar[tuple[type[Record], ...]] = ()
    #: Finished steps at which it looks at a network, besides the end.
    pauses: ClassVar[tuple[int, ...]] = ()

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield the networks that it needs: every depth, plain and residual.

        A network that several studies need is trained once.
        """
        return grid.networks(grid.depths, seeds=grid.other_seeds)

    def completed(self, cell: DegradationCell, grid: Grid) -> DegradationCell:
        """Return a cell that it looks at with what it must know of the grid."""
        return cell

    def extra_steps(self, cell: DegradationCell) -> float:
        """Return about how many training steps' worth of work it adds to a cell."""
        return 0

    def look(self, subject: "Subject", moment: str, step: int) -> Iterator[Record]:
        """Yield what it sees at one of its pauses, or at the `end` of training."""
        return iter(())

    def observe(self, subject: "Subject") -> Iterator[Record]:
        """Yield what it sees of a trained network, its batch norm recalibrated."""
        return iter(())

    def examine(self, cell: DegradationCell) -> Iterator[Record]:
        """Yield what it sees of a cell that trains nothing."""
        return iter(())
