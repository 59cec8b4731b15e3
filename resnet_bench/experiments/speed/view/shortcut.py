"""What the shortcuts cost: each residual network against itself without them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from resnet_bench.experiments.speed.cells import MEMORY_KINDS, PLAIN, RESIDUAL
from resnet_bench.experiments.speed.view.rows import (
    RATIO_PHASES,
    SETTINGS,
    SpeedRow,
    described,
    name_columns,
    varying,
)
from resnet_bench.experiments.speed.view.tables import bounded, known_columns, named
from resnet_bench.present.tables import Table
from resnet_bench.statistics.estimates import ratio_of_means
from resnet_bench.statistics.intervals import Interval

MEMORY = {f"{kind}_memory_ratio": kind for kind in MEMORY_KINDS}

NOTE = (
    "x: with shortcuts over without, with 95 % intervals: times paired by round, peak "
    "memory by means over passes in fresh processes. Extra: what the 1x1 convolutions "
    "and norms of projection shortcuts add; the additions themselves count no MAC."
)


@dataclass(frozen=True)
class Shortcut:
    """A residual row and the plain one of the same model and setting."""

    residual: SpeedRow
    plain: SpeedRow

    def time(self, phase: str) -> Interval | None:
        """Return the phase's time with over without, paired by round."""
        return self.residual.ratio_to(self.plain, phase)

    @property
    def memory(self) -> dict[str, Interval | None]:
        """Peak memory with over without, None where either is unknown."""
        return {name: self._over(kind) for name, kind in MEMORY.items()}

    def _over(self, kind: str) -> Interval | None:
        with_it, without = self._peaks(kind)
        # Passes in processes of their own have nothing in common by which to pair them.
        return ratio_of_means(with_it, without) if with_it and without else None

    def _peaks(self, kind: str) -> tuple[list[int], list[int]]:
        return self.residual.peaks(kind), self.plain.peaks(kind)

    def same_bytes(self, kind: str) -> int | None:
        """Return in how many passes each peak was the same to the byte, else None."""
        sides = self._peaks(kind)
        passes = min(map(len, sides))
        same = all(len(set(side)) == 1 for side in sides)
        return passes if same and passes > 1 else None

    @property
    def extras(self) -> dict[str, float | None]:
        """How much more work and weights there are with shortcuts."""
        return {f"extra_{name}": self._more(name) for name in ("gmac", "parameters")}

    def _more(self, name: str) -> float | None:
        with_it, without = self.residual.work[name], self.plain.work[name]
        return None if with_it is None or without is None else with_it - without

    @property
    def json(self) -> dict[str, Any]:
        """The cost of the network's shortcuts for machines."""
        times = {phase: self.time(phase) for phase in RATIO_PHASES}
        return {
            "variant": self.residual.parameters["variant"],
            **self.residual.settings,
            "ratio_to_plain": {p: time and time.json for p, time in times.items()},
            **{name: self._memory_json(name) for name in MEMORY},
            **self.extras,
        }

    def _memory_json(self, name: str) -> dict[str, Any] | None:
        """Return a ratio of means; the same bytes in all passes have no bounds."""
        ratio = self.memory[name]
        if ratio is None:
            return None
        same = self.same_bytes(MEMORY[name]) is not None
        unbounded = dict.fromkeys(("low", "high")) if same else {}
        return {**ratio.json, **unbounded, "same_bytes": same}


def shortcuts_of(rows: Sequence[SpeedRow]) -> list[Shortcut]:
    """Return every residual row that has its plain counterpart."""
    plain = {_key(row): row for row in rows if row.parameters["shortcut"] == PLAIN}
    return [
        Shortcut(row, plain[_key(row)])
        for row in rows
        if row.parameters["shortcut"] == RESIDUAL
        and _key(row) in plain
        and row.visits
        and plain[_key(row)].visits
    ]


def _key(row: SpeedRow) -> tuple[Any, ...]:
    names = ("variant", "rung", *SETTINGS)
    return tuple(row.parameters.get(name) for name in names)


def shortcut_table(found: Sequence[Shortcut]) -> Table | None:
    """Return the cost of each network's shortcuts; None without such a pair."""
    if not found:
        return None
    differ = varying([each.residual for each in found])
    frame = pd.DataFrame([_frame_row(each, differ) for each in found], dtype=object)
    first = named(frame)
    ratios = {f"{phase}_ratio": phase for phase in RATIO_PHASES}
    known = known_columns(frame, [*ratios, *MEMORY])
    return Table(
        name="shortcut",
        title="What the shortcuts cost: residual over plain",
        frame=frame,
        narrow=[*first, *known[: 6 - len(first)], "extra_gmac", "extra_parameters"],
        notes=[NOTE, *_memory_notes(found, differ)],
        headers={
            **ratios,
            "train_memory_ratio": "memory",
            "inference_memory_ratio": "infer memory",
            "extra_gmac": "extra",
            "extra_parameters": "extra param.",
        },
    )


def _frame_row(each: Shortcut, differ: Sequence[str]) -> dict[str, Any]:
    columns = name_columns(each.residual, differ)
    for phase in RATIO_PHASES:
        columns |= bounded(f"{phase}_ratio", each.time(phase))
    for name, ratio in each.memory.items():
        same = each.same_bytes(MEMORY[name]) is not None
        columns |= bounded(name, ratio)
        # A width of 0 would be read as certainty; the note below says what was seen.
        columns |= dict.fromkeys((f"{name}_low", f"{name}_high")) if same else {}
    return columns | each.extras


def _memory_notes(found: Sequence[Shortcut], differ: Sequence[str]) -> list[str]:
    """Say of which rows a peak was the same in all passes, and in how many."""
    exact: dict[int, list[str]] = {}
    for each in found:
        setting = described(each.residual.parameters, differ)
        name = ", ".join(filter(None, [each.residual.name, setting]))
        for kind in MEMORY_KINDS:
            passes = each.same_bytes(kind)
            if passes is not None:
                exact.setdefault(passes, []).append(f"{name} ({kind})")
    return [
        f"Peak memory without an interval was the same to the byte in all {passes} "
        f"passes: {'; '.join(names)}."
        for passes, names in exact.items()
    ]
