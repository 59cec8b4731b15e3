"""What the rows of a run have in common, and what tells them apart, in words."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from resnet_bench.experiments.speed.view.row import SETTINGS, SpeedRow
from resnet_bench.present.machine import machine_title
from resnet_bench.store.reading import Run

#: Longer names of models take two lines beside an axis.
LONG_NAME = 16

#: Settings that are switched on or not mentioned.
SWITCHES = {
    "amp": "amp",
    "tf32": "TF32",
    "channels_last": "channels last",
    "compiled": "compiled",
    "cuda_graphs": "CUDA graphs",
}


def said(parameters: Mapping[str, Any], name: str) -> str:
    """Return one setting in words; nothing for a switch that is off."""
    value = parameters.get(name)
    if name in SWITCHES:
        return SWITCHES[name] if value else ""
    if name == "requested_batch_size":
        asked = value != parameters["batch_size"]
        return f"asked for {value}" if asked else ""
    if name == "protocol":
        return f"{value} protocol" if value else ""
    if name == "batch_size":
        return f"batch {value}"
    if name == "threads":
        return f"{value} thread{'' if value == 1 else 's'}"
    return f"{value} px" if name == "image_size" else str(value)


class HasParameters(Protocol):
    """What was measured under some parameters: a row, or the parts of a model."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The cell's parameters."""


def varying(rows: Sequence[HasParameters]) -> list[str]:
    """Return the settings in which the rows differ."""
    return [
        name
        for name in SETTINGS
        if len({str(row.parameters.get(name)) for row in rows}) > 1
    ]


def described(parameters: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return some settings of a row in words."""
    words = [said(parameters, name) for name in names]
    return ", ".join(word for word in words if word)


def shared(rows: Sequence[HasParameters]) -> str:
    """Return in words what all rows have in common, threads and device left out."""
    differ = {*varying(rows), "device", "threads"}
    same = [name for name in SETTINGS if name not in differ]
    return described(rows[0].parameters, same)


def conditions(run: Run, rows: Sequence[SpeedRow]) -> str:
    """Return machine, settings, data and weights on two lines, for titles."""
    return f"{place(run, rows)}\n{shared(rows)}, random images and weights"


def place(run: Run, rows: Sequence[SpeedRow]) -> str:
    """Return the machine, and the threads where all rows have the same."""
    device = str(run.config.get("device") or rows[0].parameters["device"])
    machine = machine_title(run.environment, device)
    if "threads" in varying(rows) or device.startswith("cuda"):
        return machine
    return f"{machine}, {said(rows[0].parameters, 'threads')}"


def labels(rows: Sequence[SpeedRow]) -> list[str]:
    """Return a name for each row of a figure, with what tells it apart."""
    names = varying(rows)
    lines = [[broken(row.name), described(row.parameters, names)] for row in rows]
    return ["\n".join(line for line in each if line) for each in lines]


def broken(name: str) -> str:
    """Return the name of a user model on two lines where it is long."""
    return name.replace(":", ":\n") if len(name) > LONG_NAME else name
