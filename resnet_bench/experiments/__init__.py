"""What can be asked: one row per experiment."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

Schedule = Literal["once", "rounds"]

#: Hears in a person's words what is being done.
Note = Callable[[str], None]


@dataclass(frozen=True)
class Experiment:
    """An experiment by name; its modules are imported when they are needed.

    Schedule `once` runs a cell to its end; `rounds` visits the living cells in
    shuffled order, so that a slow minute of the machine hits all of them.
    """

    name: str
    summary: str
    schedule: Schedule
    #: Whether its results are kept as runs; otherwise they are only shown.
    kept: bool = True
    #: Whether its measuring module has `rehearse`, which loads, and downloads if asked,
    #: what cells need, so that nothing fails after the first; never in a dry run.
    rehearses: bool = False
    #: Where below the experiment's package its view is.
    view_part: str = "view"
    #: The package that holds all experiments' packages.
    home: str = __name__

    def _module(self, part: str) -> ModuleType:
        return importlib.import_module(f"{self.home}.{self.name}.{part}")

    @property
    def spec(self) -> ModuleType:
        """Config, cells and records: light to import."""
        return self._module("spec")

    def announcements(self, config: Any) -> list[str]:
        """Return what the experiment says before its first cell, if anything."""
        announce = getattr(self.spec, "announce", None)
        return announce(config) if announce else []

    def fitted(self, config: Any, executor: Any, note: Note) -> Any:
        """Return the config with what only trying tells, if there is anything.

        `note` is told what is being tried, since that may take minutes.
        """
        fit = getattr(self.spec, "fitted", None)
        return fit(config, executor, note) if fit else config

    @property
    def run(self) -> ModuleType:
        """What measures; imports torch."""
        return self._module("run")

    @property
    def run_name(self) -> str:
        """The import path of the measuring module, for a child process."""
        return f"{self.home}.{self.name}.run"

    @property
    def view(self) -> ModuleType:
        """What shows; imports pandas and matplotlib."""
        return self._module(self.view_part)


EXPERIMENTS = {
    row.name: row
    for row in (
        Experiment(
            "speed",
            "Time forward, backward and step of each variant.",
            "rounds",
            view_part="view.show",
        ),
        Experiment(
            "finetune",
            "Measure accuracy after transfer, by strategy.",
            "once",
            rehearses=True,
            view_part="view.show",
        ),
        Experiment(
            "pretrain",
            "Train source checkpoints for finetune.",
            "once",
            rehearses=True,
        ),
        Experiment(
            "describe",
            "Show stages, layer counts and the last layer.",
            "once",
        ),
        Experiment(
            "degradation",
            "Plain against residual by depth, with verdicts.",
            "once",
            rehearses=True,
            view_part="view.show",
        ),
    )
}
