"""Which module shows a stored run: an experiment's own, or one of the gate's."""

import importlib
from types import ModuleType

from resnet_bench.errors import UsageError
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.store.reading import Run

#: The views of runs that belong to no experiment.
GATE_VIEWS = {
    "check": "resnet_bench.analysis.check_view",
    "noise": "resnet_bench.analysis.noise_view",
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
