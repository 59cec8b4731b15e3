"""Published speed figures beside a run's, as ratios to the smallest variant.

Milliseconds of two machines say nothing about each other; how much slower a larger
variant is than ResNet-18 does, as far as it was measured alike.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.speed.settings import TIMM, statistic_of
from resnet_bench.experiments.speed.view.rows import SpeedRow, machine_of
from resnet_bench.present.published import published_table, reference, same_protocol
from resnet_bench.present.tables import Table, is_missing
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


def published_ratios(run: Run, rows: Sequence[SpeedRow]) -> Table | None:
    """Return published ratios with this run's above them; None without any."""
    published = reference("speed_reference").to_dict("records")
    lines: list[dict[str, Any]] = []
    for phase in PHASES.values():
        own = [_own(run, group, phase) for group in by_setting(rows)]
        measured = [line for line in own if line is not None]
        if measured:
            lines += measured
            lines += [
                _published(row, rows)
                for row in published
                if PHASES.get(row["mode"]) == phase and not is_missing(row["r18"])
            ]
    columns = [_column(variant) for variant in VARIANTS if variant != FIRST]
    return published_table(
        lines,
        title="Times over those of ResNet-18, here and published",
        narrow=["phase", "origin", "device", *columns],
    )


def by_setting(rows: Sequence[SpeedRow]) -> list[dict[int, SpeedRow]]:
    """Return the rows of each setting by variant, where ResNet-18 is one of several."""
    groups: dict[str, dict[int, SpeedRow]] = {}
    for row in rows:
        if isinstance(row.identity, int) and row.visits:
            groups.setdefault(str(row.settings), {})[row.identity] = row
    return [group for group in groups.values() if FIRST in group and len(group) > 1]


def _column(variant: int) -> str:
    return f"r{variant}_ratio"


def _own(run: Run, group: Mapping[int, SpeedRow], phase: str) -> dict[str, Any] | None:
    first = group[FIRST]
    interval = first.phase(phase)
    if interval is None:
        return None
    counted = "calls" if first.parameters["protocol"] else "visits"
    ratios = {variant: row.ratio_to(first, phase) for variant, row in group.items()}
    return {
        "phase": phase,
        "origin": "this run",
        "device": machine_of(run),
        **{
            _column(variant): ratio.estimate
            for variant, ratio in ratios.items()
            if ratio is not None and variant != FIRST
        },
        "same_protocol": None,
        "protocol": f"{first.statistic} of {interval.samples} {counted}",
    }


def _published(row: Mapping[Any, Any], rows: Sequence[SpeedRow]) -> dict[str, Any]:
    # A rate falls where a time rises.
    power = -1 if row["metric"] == "throughput" else 1
    times = {variant: float(row[f"r{variant}"]) ** power for variant in VARIANTS}
    return {
        "phase": PHASES[row["mode"]],
        "origin": row["source"],
        "device": row["device"],
        **{
            _column(variant): time / times[FIRST]
            for variant, time in times.items()
            if variant != FIRST and not is_missing(time)
        },
        "same_protocol": same_protocol(
            *(_differences(row, each.parameters) for each in rows)
        ),
        "protocol": row["protocol"],
    }


def _differences(row: Mapping[Any, Any], own: Mapping[str, Any]) -> dict[str, bool]:
    """Return in which words a published figure differs from a row, and whether so."""
    dtype = "amp " * bool(own["amp"]) + str(own["dtype"])
    compiled = row["compiled"] == "yes"
    graphics = not PROCESSORS.search(str(row["device"]))
    rules = _other_rules(row, own["protocol"])
    return {
        "GPU" if graphics else "CPU": graphics != (own["device"] != "cpu"),
        f"batch {row['batch_size']}": str(row["batch_size"]) != str(own["batch_size"]),
        f"{row['image_size']} px": str(row["image_size"]) != str(own["image_size"]),
        str(row["dtype"]): row["dtype"] != dtype,
        "compiled" if compiled else "not compiled": compiled != own["compiled"],
        rules or "rules": bool(rules),
    }


def _other_rules(row: Mapping[Any, Any], own: str | None) -> str | None:
    """Return in what the rules differ: the statistic, or what a time includes."""
    if own == TIMM and str(row["source"]).startswith("timm"):
        return None
    theirs = "median" if str(row["protocol"]).startswith("median") else "mean"
    mine = statistic_of(own)
    return f"{theirs}, not {mine}" if theirs != mine else "other boundaries"
