"""What a run of `speed` says in a few sentences."""

from collections.abc import Sequence

from resnet_bench.experiments.speed.view.ladder import recommendations
from resnet_bench.experiments.speed.view.row import SpeedRow

#: Phases that stand for a whole call, the first that was timed counts.
CALLS = {"step": "A training step", "inference": "Inference"}


def headline(rows: Sequence[SpeedRow]) -> list[str]:
    """Return how much longer each network takes, and the fastest way to run it."""
    return [
        *_comparison(rows),
        *(f"{each.sentence}." for each in recommendations(rows)),
    ]


def _comparison(rows: Sequence[SpeedRow]) -> list[str]:
    """Return a sentence on the rows that differ from the first in the network only."""
    for phase, words in CALLS.items():
        others = [
            row
            for row in rows[1:]
            if row.settings == rows[0].settings and row.ratio_to(rows[0], phase)
        ]
        if others:
            first = rows[0]
            told = ", ".join(_ratio(row, first, phase) for row in others)
            return [f"{words} takes, beside that of {first.name}: {told}."]
    return []


def _ratio(row: SpeedRow, first: SpeedRow, phase: str) -> str:
    ratio = row.ratio_to(first, phase)
    work, own = row.known("multiply_adds"), first.known("multiply_adds")
    beside = f" for {work / own:.2f} times the multiply-adds" if work and own else ""
    if ratio is None:
        return row.name
    bounds = f"[{ratio.low:.2f}, {ratio.high:.2f}]"
    return f"{row.name} {ratio.estimate:.2f} times as long {bounds}{beside}"
