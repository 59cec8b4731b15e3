"""Stored runs as they are shown, with what their views need of other runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from resnet_bench.errors import ResnetBenchError, UsageError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.base import OtherRuns, StepCost
from resnet_bench.experiments.speed.settings import OWN
from resnet_bench.gate import check, noise
from resnet_bench.gate.noise import known_process_spread
from resnet_bench.present.shown import Shown
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_run

#: The views of runs that belong to no experiment.
GATE = {check.EXPERIMENT: check.show, noise.EXPERIMENT: noise.show}


class OtherStoredRuns(OtherRuns):
    """What the runs that lie beside a run say of its machine."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._results = run.folder.parent.parent

    @cached_property
    def process_spread(self) -> float | None:
        """Standard deviation of log-times between processes, as `noise` measured it."""
        return known_process_spread(self._results, self._run.machine_key)

    @property
    def step_costs(self) -> Iterator[Mapping[int, StepCost]]:
        """What each `speed` run of this machine says of steps, the newest first."""
        device = str(self._run.config.get("device", "cpu"))
        for folder in reversed(run_folders(self._results, "speed")):
            try:
                other = read_run(folder)
            except ResnetBenchError:
                continue  # `list` names damaged runs
            if other.machine_key and other.machine_key == self._run.machine_key:
                yield _costs_of(other, device)


def shown(run: Run) -> Shown:
    """Return what a run shows.

    Raises UsageError for a run of an experiment that this version does not know.
    """
    if run.experiment in EXPERIMENTS:
        return EXPERIMENTS[run.experiment].show(run, OtherStoredRuns(run))
    if run.experiment in GATE:
        return GATE[run.experiment](run)
    known = ", ".join([*EXPERIMENTS, *GATE])
    raise UsageError(f"run {run.id} is of {run.experiment}: expected one of {known}")


@dataclass(frozen=True)
class ShownRun:
    """A stored run and what it shows, made once, when it is first asked for."""

    run: Run

    @cached_property
    def shown(self) -> Shown:
        """What the run shows; raises UsageError for an unknown experiment."""
        return shown(self.run)


def _costs_of(speed: Run, device: str) -> dict[int, StepCost]:
    """Return each variant's first residual row on the kind of device."""
    found: dict[int, StepCost] = {}
    for row in shown(speed).json["rows"]:
        same = row["device"].partition(":")[0] == device.partition(":")[0]
        plain = row["shortcut"] not in (None, "residual")
        # Another project's rules stand for another time.
        same = same and row.get("protocol", OWN) == OWN
        if row["step"] and row["variant"] and same and not plain:
            where = (
                f"{row['batch_size']} images of {row['image_size']} px, "
                f"{row['dtype']}; speed run {speed.id}"
            )
            cost = StepCost(
                row["step"]["estimate"], row["train_peak_memory_bytes"], where
            )
            found.setdefault(row["variant"], cost)
    return found
