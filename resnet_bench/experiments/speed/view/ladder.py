"""The ladder of settings: each step against the one before and against the start."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from resnet_bench.experiments.speed.cells import phase_field
from resnet_bench.experiments.speed.settings import RUNGS
from resnet_bench.experiments.speed.view.drawing import (
    legend_below,
    limit_axis,
    look_of,
    name_bars,
    sample,
    whisker,
)
from resnet_bench.experiments.speed.view.rows import SpeedRow, place
from resnet_bench.experiments.speed.view.tables import bounded, known_columns
from resnet_bench.present import theme
from resnet_bench.present.tables import Table
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: What a ladder is climbed for: the phase that decides and its first call's field.
GOALS = {"train": "step", "infer": "inference"}
FIRST_CALLS = {
    "step": "first_step_seconds",
    "inference": "first_inference_seconds",
}

NOTE = (
    "x start: times faster than eager float32; error: relative 2-norm of the logits "
    "against float32 on equal images and weights; same top-1: images with the same "
    "first choice; break-even: calls after which compiling has paid off."
)


@dataclass(frozen=True)
class Step:
    """A row of the ladder between its start and the row before it."""

    row: SpeedRow
    start: SpeedRow
    previous: SpeedRow | None

    def speedup(self, phase: str) -> Interval | None:
        """Return how many times faster than the start the step is."""
        return self.start.ratio_to(self.row, phase)

    def gain(self, phase: str) -> Interval | None:
        """Return how many times faster than the step before it is."""
        return self.previous.ratio_to(self.row, phase) if self.previous else None

    def ratio_to_previous(self, phase: str) -> Interval | None:
        """Return the step's time over that of the step before it."""
        return self.row.ratio_to(self.previous, phase) if self.previous else None

    def compile_seconds(self, phase: str) -> float | None:
        """Return what the first call took beyond a usual one, where it compiles."""
        usual, first = self.row.phase(phase), self.row.known(FIRST_CALLS[phase])
        if usual is None or first is None or not self.row.parameters["compiled"]:
            return None
        return float(first) - usual.estimate

    def break_even_calls(self, phase: str) -> float | None:
        """Return after how many calls compiling has paid off; None if it never does."""
        cost = self.compile_seconds(phase)
        before = self.previous.phase(phase) if self.previous else None
        after = self.row.phase(phase)
        if cost is None or before is None or after is None:
            return None
        saved = before.estimate - after.estimate
        return cost / saved if saved > 0 else None

    @property
    def json(self) -> dict[str, Any]:
        """What the step adds to its row's JSON object."""
        phases = GOALS.values()
        ratios = {phase: self.ratio_to_previous(phase) for phase in phases}
        return {
            "rung": self.row.parameters["rung"],
            "ratio_to_previous": {p: each and each.json for p, each in ratios.items()},
            "logit_error": self.row.known("logit_error"),
            "top1_agreement": self.row.known("top1_agreement"),
            "compile_seconds": {p: self.compile_seconds(p) for p in phases},
            "break_even_calls": {p: self.break_even_calls(p) for p in phases},
        }


def steps_of(rows: Sequence[SpeedRow]) -> list[Step]:
    """Return every ladder's rows with their neighbours, in grid order.

    The start is the first row of the same model and sizes; the row before is the
    last one that gave a result.
    """
    steps: list[Step] = []
    for row in rows:
        if row.parameters.get("rung") is None:
            continue
        before = [step.row for step in steps if _ladder_of(step.row) == _ladder_of(row)]
        measured = [each for each in before if each.status == "ok"]
        start = before[0] if before else row
        steps.append(Step(row, start, measured[-1] if measured else None))
    return steps


def _ladder_of(row: SpeedRow) -> tuple[Any, ...]:
    names = ("variant", "model", "shortcut", "batch_size", "image_size", "threads")
    return tuple(row.parameters[name] for name in names)


@dataclass(frozen=True)
class Recommendation:
    """The fastest step of one model's ladder for one goal.

    `tied` are steps that the samples do not tell from it.
    """

    step: Step
    goal: str
    tied: Sequence[Step] = ()

    @property
    def options(self) -> str:
        """The options that reproduce the setting without the ladder."""
        return RUNGS[self.step.row.parameters["rung"]].options or "the defaults"

    @property
    def json(self) -> dict[str, Any]:
        """The recommendation for machines."""
        row = self.step.row
        return {
            "variant": row.parameters["variant"],
            "model": row.parameters["model"],
            "goal": self.goal,
            "rung": row.parameters["rung"],
            "options": self.options,
            "tied": [step.row.parameters["rung"] for step in self.tied],
        }

    @property
    def sentence(self) -> str:
        """The recommendation as a person reads it."""
        row = self.step.row
        speedup = self.step.speedup(GOALS[self.goal])
        gain = ""
        if speedup is not None and row is not self.step.start:
            gain = f", {speedup.estimate:.2f} times as fast as eager float32 "
            gain += (
                f"[{speedup.low:.2f}, {speedup.high:.2f}]"
                if speedup.low > 1 and math.isfinite(speedup.high)
                else "by these samples, which do not settle that it is faster at all"
            )
        verb = "train" if self.goal == "train" else "infer"
        rungs = ", ".join(step.row.parameters["rung"] for step in self.tied)
        tie = f"; these samples do not tell it from {rungs}" if rungs else ""
        return f"Fastest way to {verb} {row.name}: {self.options}{gain}{tie}"


def recommendations(steps: Sequence[Step]) -> list[Recommendation]:
    """Return the fastest step of each ladder, for training and for inference."""
    ladders: dict[int, list[Step]] = {}
    for step in steps:
        ladders.setdefault(id(step.start), []).append(step)
    return [
        Recommendation(fastest, goal, _tied(ladder, fastest, phase))
        for ladder in ladders.values()
        for goal, phase in GOALS.items()
        if (fastest := _fastest(ladder, phase)) is not None
    ]


def _fastest(ladder: Sequence[Step], phase: str) -> Step | None:
    times = [
        (interval.estimate, step)
        for step in ladder
        if step.row.status == "ok" and (interval := step.row.phase(phase))
    ]
    return min(times, key=itemgetter(0), default=(0.0, None))[1]


def _tied(ladder: Sequence[Step], fastest: Step, phase: str) -> list[Step]:
    """Return the steps that may be as fast, the start aside, which is told anyway."""
    others = [step for step in ladder if step.row.status == "ok"]
    return [
        step
        for step in others
        if step not in (fastest, ladder[0])
        and (ratio := step.row.ratio_to(fastest.row, phase)) is not None
        and not (ratio.bounded and ratio.low > 1)
    ]


def ladder_table(
    run: Run, steps: Sequence[Step], recommended: Sequence[Recommendation]
) -> Table | None:
    """Return the table of the ladder; None for a run without one."""
    if not steps:
        return None
    frame = pd.DataFrame([_frame_row(step) for step in steps], dtype=object)
    wanted = ["model", "rung", "inference_seconds", "inference_start_ratio"]
    wanted += ["step_seconds", "step_start_ratio", "logit_error_fraction"]
    return Table(
        name="ladder",
        title="The ladder: each setting keeps what the one before it set",
        frame=frame,
        narrow=known_columns(frame, wanted),
        notes=[*refusals(run), *(each.sentence for each in recommended), NOTE],
        headers={
            "rung": "setting",
            "inference_seconds": "infer",
            "inference_start_ratio": "x start",
            "step_start_ratio": "x start",
            "logit_error_fraction": "error",
            "top1_agreement_fraction": "same top-1",
        },
    )


def _frame_row(step: Step) -> dict[str, Any]:
    row = step.row
    columns: dict[str, Any] = {
        "model": row.name,
        "rung": row.parameters["rung"],
        "batch_size": row.parameters["batch_size"],
        "image_size": row.parameters["image_size"],
        "threads": row.parameters["threads"],
    }
    for phase in ("inference", "step"):
        columns |= bounded(phase_field(phase), row.phase(phase))
        columns |= bounded(f"{phase}_start_ratio", step.speedup(phase))
        columns |= bounded(f"{phase}_previous_ratio", step.gain(phase))
        columns[f"{phase}_compile_seconds"] = step.compile_seconds(phase)
        columns[f"{phase}_break_even_calls"] = step.break_even_calls(phase)
    columns["logit_error_fraction"] = row.known("logit_error")
    columns["top1_agreement_fraction"] = row.known("top1_agreement")
    return columns | {"verdict": row.verdict}


def refusals(run: Run) -> list[str]:
    """Return a sentence for each step that this machine could not take."""
    refused = run.config.get("unsupported") or []
    return [f"{name} was left out: {reason}." for name, reason in refused]


def ladder_figure(run: Run, steps: Sequence[Step]) -> Figure | None:
    """Return how many times faster each step is than the start, with intervals."""
    steps = [step for step in steps if step.row.status == "ok"]
    if not steps:
        return None
    title = f"The ladder of settings · {place(run, [step.row for step in steps])}"
    names = [f"{step.row.name}\n{step.row.parameters['rung']}" for step in steps]
    made = theme.figure(title, height=1.6 + 0.55 * len(steps))
    axes = theme.axes(made, x="times faster than eager float32", y="")
    name_bars(axes, names)
    axes.axvline(1.0, color="#999999", lw=1)
    colours = theme.palette(step.row.identity for step in steps)
    speedups: list[Interval] = []
    for y, step in enumerate(steps):
        identity = step.row.identity
        for offset, (goal, phase) in zip((-0.14, 0.14), GOALS.items(), strict=True):
            look = look_of(identity, colours[identity], filled=goal == "train")
            speedup = step.speedup(phase)
            if speedup is not None:
                speedups.append(speedup)
                whisker(axes, speedup.estimate, y + offset, speedup, lw=None, **look)
    limit_axis(axes, [each.estimate for each in speedups])
    calls = [sample("training step"), sample("inference", mfc="white")]
    return legend_below(made, calls)
