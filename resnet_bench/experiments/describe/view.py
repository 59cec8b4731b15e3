"""What a person sees of `describe`: stage tables, counts, and the last layer."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.describe.spec import (
    LENET,
    Counts,
    HeadDescription,
    StageDescription,
)
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.records import Record
from resnet_bench.store.reading import Run

Row = dict[str, Any]

COUNT_NOTES = (
    "Layers: convolutions of the main path and fc, the number in the name. Conv: "
    "convolutions of the main path alone, which is how the tutorial explains the "
    "number; it is one less. Modules: every convolution, the 1x1 projections of the "
    "shortcuts included. All: those and fc.",
)
LENET_NOTE = (
    "LeNet-5 flattens its last map into a layer of fixed width: it takes 32 px only, "
    "where a global pool takes any size."
)
HEAD_NOTE = (
    "fc's width is read from the old layer: it is 512 for ResNet-18 and 34, 2048 from "
    "ResNet-50 on. Load weights first, then replace fc: the new layer trains even "
    "when everything before it is frozen."
)


@dataclass(frozen=True)
class Network:
    """What a run says of one network."""

    counts: Row
    stages: Sequence[Row]
    head: Sequence[Row]

    @property
    def name(self) -> str:
        """What tables call the network."""
        return str(self.counts["network"])

    @property
    def json(self) -> Row:
        """The network as the JSON object holds it."""
        return {
            "network": self.name,
            "variant": self.counts["variant"],
            "shortcut": self.counts["shortcut"],
            "stages": [_own(row, StageDescription) for row in self.stages],
            "counts": _own(self.counts, Counts),
            "head": [_own(row, HeadDescription) for row in self.head],
        }


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows."""
    networks = _networks(run)
    size = run.config["image_size"]
    return Shown(
        json={
            "run": run.id,
            "image_size": size,
            "networks": [network.json for network in networks],
        },
        tables=_tables(networks, size),
    )


def _networks(run: Run) -> list[Network]:
    """Return the networks in the order in which they were asked for."""
    counts = {row["cell"]: row for row in run.rows(Counts)}
    stages, heads = run.rows(StageDescription), run.rows(HeadDescription)
    return [
        Network(
            counts[key],
            [row for row in stages if row["cell"] == key],
            [row for row in heads if row["cell"] == key],
        )
        for key in run.grid
        if key in counts
    ]


def _own(row: Row, record: type[Record]) -> Row:
    names = [field.name for field in fields(record) if field.name != "network"]
    return {name: row[name] for name in names}


def _tables(networks: Sequence[Network], size: int) -> list[Table]:
    """Return the counts, a stage table per network, and the last layer's steps."""
    if not networks:
        return []
    heads = [row for network in networks for row in network.head]
    return [
        _counts_table([network.counts for network in networks], size),
        *(_stage_table(network, size) for network in networks),
        *([_head_table(heads)] if heads else []),
    ]


def _counts_table(counts: Sequence[Row], size: int) -> Table:
    columns = {
        "network": "network",
        "weighted_layers": "layers",
        "main_path_convolutions": "conv",
        "convolution_modules": "modules",
        "with_projections": "all",
        "blocks": "blocks",
        "parameters": "parameters",
        "gmac": "work",
    }
    rows = [{**row, "blocks": row["blocks"] or None} for row in counts]
    return Table(
        name="counts",
        title=f"Layers, parameters and work at {size} x {size} px",
        frame=pd.DataFrame(rows, dtype=object)[list(columns)],
        narrow=list(columns),
        notes=COUNT_NOTES,
        headers=columns,
    )


def _stage_table(network: Network, size: int) -> Table:
    rows = [
        {
            "stage": row["stage"],
            "layers": row["layers"],
            "channels": row["channels"],
            "map": _map(row),
            "parameters": row["parameters"],
        }
        for row in network.stages
    ]
    unknown = any(row["channels"] is None for row in network.stages)
    return Table(
        name=network.name.lower().replace(", ", "-"),
        title=f"{network.name} on images of {size} x {size} px",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=["stage", "layers", "channels", "map", "parameters"],
        notes=[LENET_NOTE] if network.name == LENET and unknown else [],
    )


def _map(row: Row) -> str | None:
    if row["height"] is None:
        return None
    return f"{row['height']} x {row['width']}"


def _head_table(heads: Sequence[Row]) -> Table:
    rows = [
        {
            "network": row["network"],
            "step": row["step"],
            "in": row["in_features"],
            "out": row["out_features"],
            "trainable_parameters": row["trainable_parameters"],
            "trainable": _trainable(row["trainable_names"]),
        }
        for row in heads
    ]
    return Table(
        name="head",
        title="The last layer, replaced",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=["network", "step", "in", "out", "trainable_parameters", "trainable"],
        notes=[HEAD_NOTE],
        headers={"trainable_parameters": "trainable numbers"},
    )


def _trainable(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names) if len(names) <= 2 else f"all {len(names)} tensors"
