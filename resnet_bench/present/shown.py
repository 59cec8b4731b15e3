"""What a run shows: the type that every view returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_bench.present.tables import Table


@dataclass(frozen=True)
class Shown:
    """A run as people and programs see it, computed once.

    `json` is in SI units; the most important table comes first; `notices` are what a
    reader must know before believing the tables, `conclusion` what follows from them;
    `headline` says the result in a few sentences; `published` holds published figures
    beside the run's own. `draw` makes the figures by file name: it takes a second, so
    it waits until somebody asks.
    """

    json: dict[str, Any]
    tables: "Sequence[Table]"
    notices: Sequence[str] = ()
    conclusion: Sequence[str] = ()
    headline: Sequence[str] = ()
    published: "Sequence[Table]" = ()
    draw: "Callable[[], Mapping[str, Figure]]" = dict

    @cached_property
    def figures(self) -> "Mapping[str, Figure]":
        """The figures that the run can fill, by file name."""
        return self.draw()

    @property
    def sentences(self) -> list[str]:
        """Notices and conclusion, where they stand in one place."""
        return [*self.notices, *self.conclusion]

    @property
    def verdicts(self) -> set[str]:
        """The verdicts of the rows, where rows have them."""
        return {row.get("verdict") for row in self.json.get("rows", [])} - {None}
