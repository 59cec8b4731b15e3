"""Stored runs as they are shown, each read and shown once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from resnet_bench.errors import InputOutputError, ResnetBenchError, UsageError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.base import OtherRuns, StepCost
from resnet_bench.experiments.speed.settings import OWN
from resnet_bench.gate import check, history, lineage, noise
from resnet_bench.gate.noise import known_process_spread
from resnet_bench.gate.records import records_of
from resnet_bench.present.drawing import Drawing, drawing
from resnet_bench.present.machines import machine_title
from resnet_bench.present.shown import Shown
from resnet_bench.store.checking import check_records, checked_run, naming
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run

#: The views of runs that belong to no experiment.
GATE = {
    check.EXPERIMENT: check.show,
    lineage.EXPERIMENT: history.show,
    noise.EXPERIMENT: noise.show,
}


class StoredRuns:
    """The runs of a results folder; none is read or shown twice."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._read: dict[Path, ShownRun] = {}

    def read(self, folder: Path) -> "ShownRun":
        """Return the run of a folder; raises InputOutputError where it is damaged.

        So it does where records are not as their types declare.
        """
        if folder not in self._read:
            self._read[folder] = ShownRun(checked_run(folder, records_of), self)
        return self._read[folder]

    def readable(self, experiment: str) -> Iterator["ShownRun"]:
        """Yield an experiment's runs, the newest first; `list` names damaged ones."""
        for folder in reversed(run_folders(self.results, experiment)):
            try:
                yield self.read(folder)
            except ResnetBenchError:
                continue


@dataclass(frozen=True, eq=False)
class ShownRun:
    """A stored run and what it shows, made once, when it is first asked for."""

    run: Run
    #: The runs that lie beside it, where somebody has read them already.
    beside: StoredRuns | None = None

    @property
    def others(self) -> "OtherStoredRuns":
        """What the runs beside it say about its machine."""
        beside = self.beside or StoredRuns(self.run.folder.parent.parent)
        return OtherStoredRuns(self.run, self.run.device, beside)

    @property
    def machine(self) -> str:
        """What the run was measured on, in the words of a title."""
        return machine_title(self.run.environment, self.run.device)

    @property
    def status_mark(self) -> str:
        """The mark after the name of a run that is not complete."""
        status = self.run.status
        return "" if status == "complete" else f" ({status})"

    @property
    def key(self) -> str:
        """A short name of the run, enough to keep ids of a page apart."""
        return f"r{self.run.id.rpartition('_')[2]}-{self.run.experiment}"

    @cached_property
    def shown(self) -> Shown:
        """What the run shows.

        Raises UsageError for an unknown experiment, InputOutputError for odd content.
        """
        with naming(self.run):
            made = self._show()
        about = {"command": self.run.command, "environment": self.run.environment}
        return replace(made, json={**made.json, **about})

    def _show(self) -> Shown:
        name = self.run.experiment
        if name in EXPERIMENTS:
            return EXPERIMENTS[name].show(self.run, self.others)
        if name in GATE:
            return GATE[name](self.run)
        known = ", ".join([*EXPERIMENTS, *GATE])
        raise UsageError(f"run {self.run.id} is of {name}: expected one of {known}")

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows that the run shows; none where it cannot be, as `report` says."""
        try:
            return list(self.shown.json["rows"])
        except InputOutputError:
            return []

    @cached_property
    def drawings(self) -> list[Drawing]:
        """The run's figures, drawn; raises InputOutputError for odd content."""
        shown = self.shown
        with naming(self.run):
            return [drawing(name, each) for name, each in shown.figures.items()]


class OtherStoredRuns(OtherRuns):
    """What a run's neighbours in the folder say about its machine."""

    def __init__(self, run: Run, device: str, stored: StoredRuns) -> None:
        self._machine_key = run.machine_key
        self._device = device
        self._stored = stored

    @cached_property
    def process_spread(self) -> float | None:
        """Standard deviation of log-times between processes, as `noise` measured it."""
        return known_process_spread(self._stored.results, self._machine_key)

    @property
    def step_costs(self) -> Iterator[Mapping[int, StepCost]]:
        """What each `speed` run of this machine says of steps, the newest first."""
        for other in self._stored.readable("speed"):
            if self._machine_key and other.run.machine_key == self._machine_key:
                yield _costs_of(other, self._device)


def shown(run: Run) -> Shown:
    """Return what a run shows; raises as `ShownRun.shown` and for odd records."""
    check_records(run, records_of(run.experiment))
    return ShownRun(run).shown


def _costs_of(speed: ShownRun, device: str) -> dict[int, StepCost]:
    """Return each variant's first residual row on the kind of device."""
    found: dict[int, StepCost] = {}
    for row in speed.rows:
        same = row["device"].partition(":")[0] == device.partition(":")[0]
        plain = row["shortcut"] not in (None, "residual")
        # Another project's rules stand for another time.
        same = same and row.get("protocol", OWN) == OWN
        if row["step"] and row["variant"] and same and not plain:
            where = (
                f"{row['batch_size']} images of {row['image_size']} px, "
                f"{row['dtype']}; speed run {speed.run.id}"
            )
            cost = StepCost(
                row["step"]["estimate"], row["train_peak_memory_bytes"], where
            )
            found.setdefault(row["variant"], cost)
    return found
