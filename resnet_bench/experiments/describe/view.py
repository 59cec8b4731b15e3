"""What `describe` shows: stages, counts and the last layer, or classes of images."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.describe.spec import (
    LENET,
    NAMED,
    Counts,
    FolderDescription,
    HeadDescription,
    StageDescription,
)
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.records import Record
from resnet_bench.store.reading import Run

Row = dict[str, Any]

COUNT_NOTES = (
    "Layers: convolutions of the main path and fc, which gives the number in the "
    "name. Conv: convolutions of the main path only. Modules: every convolution, "
    "including the shortcuts' 1x1 projections. All: every convolution and fc.",
)
#: Fewer test images than these say next to nothing of a class: of five, all right, the
#: 95 % interval begins at 57 % (Wilson).
FEW_TEST_IMAGES = 5

LENET_NOTE = (
    "LeNet-5 flattens its last map into a layer of fixed width, so it accepts 32 px "
    "only; a global pool accepts any size."
)
HEAD_NOTE = (
    "fc's width is read from the old layer: it is 512 for ResNet-18 and 34, 2048 from "
    "ResNet-50 on. Load weights first, then replace fc: the new layer trains even "
    "when everything before it is frozen."
)


@dataclass(frozen=True)
class Network:
    """A run's records of one network."""

    counts: Row
    stages: Sequence[Row]
    head: Sequence[Row]

    @property
    def name(self) -> str:
        """The network's name in tables."""
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
    for folder in run.rows(FolderDescription):
        return _show_folder(run, folder)
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


def _show_folder(run: Run, row: Row) -> Shown:
    """Return a table of classes, and what to know before training on them."""
    classes = [
        {"class": name, "training": count, "test": row["test"][name]}
        for name, count in row["train"].items()
    ]
    size = run.config["image_size"]
    table = Table(
        name="classes",
        title=f"Images of {row['folder']}",
        frame=pd.DataFrame(classes, dtype=object),
        narrow=["class", "training", "test"],
    )
    return Shown(
        json={"run": run.id, "image_size": size, **_own(row, FolderDescription)},
        tables=[table],
        notices=_warnings(row),
        headline=_headline(row, size, _reachable(str(run.config["data"]))),
    )


def _reachable(folder: str) -> str:
    """Return a folder that can be named in a command; a run keeps no path elsewhere."""
    return folder if Path(folder).is_dir() else "FOLDER"


def _headline(row: Row, size: int, folder: str) -> list[str]:
    training, test = (sum(row[half].values()) for half in ("train", "test"))
    half = "a fifth of each class, held out" if row["held_out"] else "its own half"
    megabytes = row["decoded_bytes"] / 1e6
    taken = f"{megabytes:.0f} MB" if megabytes < 1e3 else f"{megabytes / 1e3:.1f} GB"
    memory = f"{taken} at {size} px"
    where = "fits into memory" if row["fits_memory"] else "is streamed by finetune"
    return [
        f"{training} images of {len(row['train'])} classes to train on, {test} to test "
        f"on ({half}); class means are over {len(row['train'])} classes.",
        f"Sides are {row['smallest_side']} to {row['largest_side']} px (median "
        f"{row['median_side']:g}); decoded it takes {memory}, which {where}.",
        "Next: resnet-bench finetune --weights imagenet --download --data-dir "
        f"{shlex.quote(folder)} --save-model networks",
    ]


def _warnings(row: Row) -> list[str]:
    """Return what is wrong with the folder, or may mislead, each in a sentence."""
    said = []
    if row["bad"]:
        said.append(
            f"images that cannot be decoded: {row['bad']} "
            f"({_listed(row['bad_files'])}); repair or remove them, or give "
            "--skip-bad-images"
        )
    if row["twins"]:
        said.append(
            f"test images that are also in the training half: {row['twins']} "
            f"({_listed(row['twin_files'])}); accuracy on them says nothing about new "
            "images"
        )
    if row["left_out"]:
        counts = (f"{kind} {count}" for kind, count in row["left_out"].items())
        said.append(f"left out: {', '.join(counts)}")
    few = [name for name, count in row["test"].items() if count < FEW_TEST_IMAGES]
    if few:
        said.append(
            f"classes with fewer than {FEW_TEST_IMAGES} test images: {len(few)} "
            f"({_listed(few)}); their accuracy is very uncertain"
        )
    return said


def _listed(names: Sequence[str]) -> str:
    shown = names[:NAMED]
    return ", ".join(shown) + (", …" if len(names) > len(shown) else "")


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
