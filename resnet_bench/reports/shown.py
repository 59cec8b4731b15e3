"""What a stored run shows, through its experiment's view or one of the gate's."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure

from resnet_bench.errors import UsageError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

#: The views of runs that belong to no experiment.
GATE_VIEWS = {
    "check": "resnet_bench.gate.check",
    "noise": "resnet_bench.gate.noise",
}


def view_of(run: Run) -> ModuleType:
    """Return the module with `json_object`, `tables` and `notices` for a run.

    Raises UsageError for a run of an experiment that this version does not know.
    """
    if run.experiment in EXPERIMENTS:
        return EXPERIMENTS[run.experiment].view
    if run.experiment in GATE_VIEWS:
        return importlib.import_module(GATE_VIEWS[run.experiment])
    known = ", ".join([*EXPERIMENTS, *GATE_VIEWS])
    raise UsageError(f"run {run.id} is of {run.experiment}: expected one of {known}")


@dataclass(frozen=True)
class RunView:
    """A run as it is shown; each part is made once, when it is first asked for."""

    run: Run

    @cached_property
    def module(self) -> ModuleType:
        """The view of the run's experiment; raises UsageError for an unknown one."""
        return view_of(self.run)

    @cached_property
    def content(self) -> dict[str, Any]:
        """The run as one JSON object."""
        content: dict[str, Any] = self.module.json_object(self.run)
        return content

    @cached_property
    def tables(self) -> Sequence[Table]:
        """The run's tables, the most important first."""
        made: Sequence[Table] = self._made("tables")
        return made

    @cached_property
    def notices(self) -> Sequence[str]:
        """What a reader must know before believing the tables."""
        made: Sequence[str] = self._made("notices")
        return made

    @cached_property
    def headline(self) -> Sequence[str]:
        """What the run says, in a few sentences; empty if its view has none."""
        made: Sequence[str] = self._made("headline")
        return made

    @cached_property
    def published(self) -> Sequence[Table]:
        """Published figures beside the run's own; empty if its view has none."""
        made: Sequence[Table] = self._made("published")
        return made

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The figures that the run can fill, by file name."""
        return dict(self._made("figures"))

    def _made(self, part: str) -> Any:
        """Return a part of the view; a view says by lacking one that it has none."""
        make = getattr(self.module, part, None)
        return make(self.run) if make else ()
