"""What a person sees of `describe`: stage tables, counts, and the last layer."""

from dataclasses import fields
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

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


def json_object(run: Run) -> dict[str, Any]:
    """Return every network's stages, counts and, if asked for, its head's steps."""
    return {
        "run": run.id,
        "image_size": run.config["image_size"],
        "networks": [
            _network(run, counts) for counts in _in_order(run, run.rows(Counts))
        ],
    }


def _in_order(run: Run, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in the order in which the networks were asked for."""
    order = list(run.grid)
    return sorted(rows, key=lambda row: order.index(row["cell"]))


def _network(run: Run, counts: dict[str, Any]) -> dict[str, Any]:
    name = counts["network"]
    return {
        "network": name,
        "variant": counts["variant"],
        "shortcut": counts["shortcut"],
        "stages": [_own(row, StageDescription) for row in _of(run, name, "stage")],
        "counts": _own(counts, Counts),
        "head": [_own(row, HeadDescription) for row in _of(run, name, "head")],
    }


def _of(run: Run, network: str, kind: str) -> list[dict[str, Any]]:
    record = StageDescription if kind == "stage" else HeadDescription
    return [row for row in run.rows(record) if row["network"] == network]


def _own(row: dict[str, Any], record: type[Record]) -> dict[str, Any]:
    names = [field.name for field in fields(record) if field.name != "network"]
    return {name: row[name] for name in names}


def tables(run: Run) -> list[Table]:
    """Return the counts, a stage table per network, and the last layer's steps."""
    counts = _in_order(run, run.rows(Counts))
    if not counts:
        return []
    made = [_counts_table(run, counts)]
    made += [_stage_table(run, row["network"]) for row in counts]
    heads = _in_order(run, run.rows(HeadDescription))
    return [*made, _head_table(heads)] if heads else made


def _counts_table(run: Run, counts: list[dict[str, Any]]) -> Table:
    rows = [
        {
            "network": row["network"],
            "weighted_layers": row["weighted_layers"],
            "main_path_convolutions": row["main_path_convolutions"],
            "convolution_modules": row["convolution_modules"],
            "with_projections": row["with_projections"],
            "blocks": row["blocks"] or None,
            "parameters": row["parameters"],
            "gmac": row["gmac"],
        }
        for row in counts
    ]
    size = run.config["image_size"]
    return Table(
        name="counts",
        title=f"Layers, parameters and work at {size} x {size} px",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=list(rows[0]),
        notes=COUNT_NOTES,
        headers={
            "weighted_layers": "layers",
            "main_path_convolutions": "conv",
            "convolution_modules": "modules",
            "with_projections": "all",
            "gmac": "work",
        },
    )


def _stage_table(run: Run, network: str) -> Table:
    stages = _of(run, network, "stage")
    rows = [
        {
            "stage": row["stage"],
            "layers": row["layers"],
            "channels": row["channels"],
            "map": _map(row),
            "parameters": row["parameters"],
        }
        for row in stages
    ]
    size = run.config["image_size"]
    stuck = network == LENET and any(row["channels"] is None for row in stages)
    return Table(
        name=network.lower().replace(", ", "-"),
        title=f"{network} on images of {size} x {size} px",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=["stage", "layers", "channels", "map", "parameters"],
        notes=[LENET_NOTE] if stuck else [],
    )


def _map(row: dict[str, Any]) -> str | None:
    if row["height"] is None:
        return None
    return f"{row['height']} x {row['width']}"


def _head_table(heads: list[dict[str, Any]]) -> Table:
    rows = [
        {
            "network": row["network"],
            "step": row["step"],
            "in": row["in_features"],
            "out": row["out_features"],
            "trainable_parameters": row["trainable_parameters"],
            "trainable": _trainable(row),
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


def _trainable(row: dict[str, Any]) -> str:
    names = row["trainable_names"]
    if not names:
        return "nothing"
    return ", ".join(names) if len(names) <= 2 else f"all {len(names)} tensors"


def figures(run: Run) -> dict[str, Figure]:
    """Return no figures: the tables are the picture."""
    return {}


def notices(run: Run) -> list[str]:
    """Return no sentences."""
    return []


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows."""
    return Shown(
        json=json_object(run),
        tables=tables(run),
        notices=notices(run),
        draw=partial(figures, run),
    )
