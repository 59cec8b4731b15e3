"""Published speed figures beside a run's, as ratios to the smallest variant.

Milliseconds of two machines say nothing about each other; how much slower a larger
variant is than ResNet-18 does, as far as it was measured alike.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.speed.settings import TIMM, statistic_of
from resnet_bench.experiments.speed.view.rows import SpeedRow
from resnet_bench.present.machines import machine_title
from resnet_bench.present.published import reference
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

#: Which phase a published mode corresponds to.
PHASES = {
    "train forward": "forward",
    "train backward": "backward",
    "train": "step",
    "infer": "inference",
}
FIRST = 18

#: Devices of the reference that are no GPUs.
PROCESSORS = re.compile(r"Xeon|Core|EPYC|Ryzen")


def published_table(run: Run, rows: Sequence[SpeedRow]) -> Table | None:
    """Return published ratios with this run's above them; None without them."""
    known = by_setting(rows)
    if not known:
        return None
    lines = []
    for phase in dict.fromkeys(PHASES.values()):
        own = [_own(run, group, phase) for group in known]
        measured = [line for line in own if line is not None]
        if measured:
            lines += measured
            lines += [
                _published(row, rows)
                for row in reference("speed_reference").to_dict("records")
                if PHASES.get(str(row["mode"])) == phase and row["r18"] == row["r18"]
            ]
    if not lines:
        return None
    columns = [_column(depth) for depth in VARIANTS if depth != FIRST]
    return Table(
        name="published",
        title="Times over those of ResNet-18, here and published",
        frame=pd.DataFrame(lines, dtype=object),
        narrow=["phase", "origin", "device", *columns, "same_protocol"],
        headers={"same_protocol": "same protocol?"},
    )


def by_setting(rows: Sequence[SpeedRow]) -> list[dict[int, SpeedRow]]:
    """Return the rows of each setting by variant, where ResNet-18 is one of several."""
    groups: dict[str, dict[int, SpeedRow]] = {}
    for row in rows:
        if isinstance(row.identity, int) and row.visits:
            groups.setdefault(str(row.settings), {})[row.identity] = row
    return [group for group in groups.values() if FIRST in group and len(group) > 1]


def _column(depth: int) -> str:
    return f"r{depth}_ratio"


def _own(run: Run, group: Mapping[int, SpeedRow], phase: str) -> dict[str, Any] | None:
    first = group[FIRST]
    interval = first.phase(phase)
    if interval is None:
        return None
    device = str(run.config.get("device") or "cpu")
    ratios = {depth: row.ratio_to(first, phase) for depth, row in group.items()}
    return {
        "phase": phase,
        "origin": "this run",
        "device": machine_title(run.environment, device),
        **{
            _column(depth): ratio.estimate
            for depth, ratio in ratios.items()
            if ratio is not None and depth != FIRST
        },
        "same_protocol": None,
        "protocol": f"{first.statistic} of {interval.samples} calls",
    }


def _published(row: Mapping[Any, Any], rows: Sequence[SpeedRow]) -> dict[str, Any]:
    # A rate falls where a time rises.
    power = -1 if row["metric"] == "throughput" else 1
    times = {depth: float(row[f"r{depth}"]) ** power for depth in VARIANTS}
    return {
        "phase": PHASES[row["mode"]],
        "origin": row["source"],
        "device": row["device"],
        **{
            _column(depth): time / times[FIRST]
            for depth, time in times.items()
            if depth != FIRST and time == time
        },
        "same_protocol": same_protocol(row, rows),
        "protocol": row["protocol"],
    }


def same_protocol(row: Mapping[Any, Any], rows: Sequence[SpeedRow]) -> str:
    """Return in what the nearest row of the run differs from a published figure."""
    differences = [_differences(row, each.parameters) for each in rows]
    fewest = min(differences, key=len)
    return "no: " + ", ".join(fewest) if fewest else "yes"


def _differences(row: Mapping[Any, Any], own: Mapping[str, Any]) -> list[str]:
    dtype = "amp " * bool(own["amp"]) + str(own["dtype"])
    compiled = row["compiled"] == "yes"
    graphics = not PROCESSORS.search(str(row["device"]))
    found = {
        "GPU" if graphics else "CPU": graphics != (own["device"] != "cpu"),
        f"batch {row['batch_size']}": str(row["batch_size"]) != str(own["batch_size"]),
        f"{row['image_size']} px": str(row["image_size"]) != str(own["image_size"]),
        str(row["dtype"]): row["dtype"] != dtype,
        "compiled" if compiled else "not compiled": compiled != own["compiled"],
    }
    differing = [words for words, differs in found.items() if differs]
    return differing + _other_rules(row, own.get("protocol"))


def _other_rules(row: Mapping[Any, Any], own: str | None) -> list[str]:
    """Return in what the rules differ: the statistic, or what a time includes."""
    if own == TIMM and str(row["source"]).startswith("timm"):
        return []
    theirs = "median" if str(row["protocol"]).startswith("median") else "mean"
    mine = statistic_of(own)
    return [f"{theirs}, not {mine}" if theirs != mine else "other boundaries"]
