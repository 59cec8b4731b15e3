"""The ladder of settings: each step against the one before and against the start."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from resnet_bench.catalogue import RUNTIMES, TORCH
from resnet_bench.experiments.speed.cells import phase_field
from resnet_bench.experiments.speed.settings import RUNGS
from resnet_bench.experiments.speed.view.drawing import (
    MILLISECONDS,
    end_of,
    legend_below,
    name_bars,
    whisker,
)
from resnet_bench.experiments.speed.view.rows import (
    SpeedRow,
    described,
    each_once,
    place,
    varying,
)
from resnet_bench.experiments.speed.view.tables import bounded, known_columns
from resnet_bench.present import theme
from resnet_bench.present.numbers import percent, rounded
from resnet_bench.present.tables import MAXIMUM_NARROW_COLUMNS, Table
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: What a ladder is climbed for: the phase that decides and its first call's field.
GOALS = {"train": "step", "infer": "inference"}
FIRST_CALLS = {
    "step": "first_step_seconds",
    "inference": "first_inference_seconds",
}

NOTE = (
    "x start: times as fast as eager float32; error: relative 2-norm of the logits' "
    "difference from float32 torch on the same images and weights; same top-1: images "
    "with the same top-1 prediction; pays off: calls after which compiling or "
    "exporting is faster overall than torch's fastest setting without either."
)


@dataclass(frozen=True)
class Step:
    """A row of the ladder between its start and the row before it.

    `ready` are the rows before it that are neither compiled nor exported.
    """

    row: SpeedRow
    start: SpeedRow
    previous: SpeedRow | None
    ready: Sequence[SpeedRow] = ()

    def speedup(self, phase: str) -> Interval | None:
        """Return how many times as fast as the start the step is."""
        return self.start.ratio_to(self.row, phase)

    def gain(self, phase: str) -> Interval | None:
        """Return how many times as fast as the step before it is."""
        return self.previous.ratio_to(self.row, phase) if self.previous else None

    def ratio_to_previous(self, phase: str) -> Interval | None:
        """Return the step's time over that of the step before it."""
        return self.row.ratio_to(self.previous, phase) if self.previous else None

    def conversion_seconds(self, phase: str) -> float | None:
        """Return what compiling or exporting took; None where nothing is converted.

        That is exporting and loading, and what the first call took beyond a usual one.
        """
        usual, first = self.row.phase(phase), self.row.known(FIRST_CALLS[phase])
        if usual is None or first is None or is_ready(self.row):
            return None
        exporting = float(self.row.known("conversion_seconds") or 0.0)
        return exporting + max(0.0, float(first) - usual.estimate)

    def break_even_calls(self, phase: str) -> float | None:
        """Return after how many calls converting has paid off; None if it never does.

        Against the fastest setting of torch before it that needs none.
        """
        cost, after = self.conversion_seconds(phase), self.row.phase(phase)
        ready = [time.estimate for row in self.ready if (time := row.phase(phase))]
        if cost is None or after is None or not ready:
            return None
        saved = min(ready) - after.estimate
        return cost / saved if saved > 0 else None

    @property
    def json(self) -> dict[str, Any]:
        """What the step adds to its row's JSON object."""
        phases = GOALS.values()
        ratios = {phase: self.ratio_to_previous(phase) for phase in phases}
        return {
            "rung": self.row.parameters["rung"],
            "ratio_to_previous": {p: each and each.json for p, each in ratios.items()},
            "conversion_seconds": {p: self.conversion_seconds(p) for p in phases},
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
        previous = measured[-1] if measured else None
        ready = [each for each in measured if is_ready(each)]
        steps.append(Step(row, start, previous, ready))
    return steps


def is_ready(row: SpeedRow) -> bool:
    """Whether the network runs as it is built, neither compiled nor exported."""
    return not (row.parameters["compiled"] or row.parameters.get("runtime"))


#: What sets the ladders of one model apart.
SIZES = ("batch_size", "image_size", "threads")


def _ladder_of(row: SpeedRow) -> tuple[Any, ...]:
    names = ("variant", "model", "shortcut", *SIZES)
    return tuple(row.parameters[name] for name in names)


def _telling_apart(steps: Sequence[Step]) -> list[str]:
    """Return the sizes by which ladders are named: the batch, and others that vary."""
    differ = {"batch_size", *varying([step.row for step in steps])}
    return [name for name in SIZES if name in differ]


@dataclass(frozen=True)
class Recommendation:
    """The fastest step of one model's ladder for one goal.

    `sizes` name the ladder; `tied` are steps that the samples do not tell from it;
    `beaten` the fastest steps of a kind that it is not of, by what that kind is called.
    """

    step: Step
    goal: str
    sizes: Sequence[str] = SIZES
    tied: Sequence[Step] = ()
    beaten: Mapping[str, Step] = field(default_factory=dict)

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
            **{name: row.parameters[name] for name in SIZES},
            "goal": self.goal,
            "rung": row.parameters["rung"],
            "options": self.options,
            "tied": [step.row.parameters["rung"] for step in self.tied],
            "beaten": {
                kind: step.row.parameters["rung"] for kind, step in self.beaten.items()
            },
        }

    @property
    def sentence(self) -> str:
        """The recommendation as a person reads it."""
        row = self.step.row
        speedup = self.step.speedup(GOALS[self.goal])
        gain = ""
        if speedup is not None and row is not self.step.start:
            gain = f", {speedup.estimate:.2f} times as fast as eager float32"
            gain += (
                f" [{speedup.low:.2f}, {speedup.high:.2f}]"
                if speedup.low > 1 and math.isfinite(speedup.high)
                else ", but these samples do not show that it is faster at all"
            )
        verb = "train" if self.goal == "train" else "infer"
        rungs = ", ".join(step.row.parameters["rung"] for step in self.tied)
        tie = f"; these samples cannot distinguish it from {rungs}" if rungs else ""
        others = "".join(
            f"; {_times(step.row.ratio_to(row, GOALS[self.goal]))} as fast as {kind} "
            f"({RUNGS[step.row.parameters['rung']].options or 'the defaults'})"
            for kind, step in self.beaten.items()
        )
        sizes = described(row.parameters, self.sizes)
        return (
            f"Fastest way to {verb} {row.name} at {sizes}: {self.options}"
            f"{gain}{self._answers}{tie}{others}"
        )

    @property
    def _answers(self) -> str:
        """How far its answers are those of float32, where it computes otherwise."""
        same = self.step.row.known("top1_agreement")
        if same is None or self.goal == "train" or keeps_float32(self.step.row):
            return ""
        return f", the same top-1 prediction on {percent(same)} of images"


def _times(ratio: Interval | None) -> str:
    return (
        "not known how many times" if ratio is None else f"{ratio.estimate:.2f} times"
    )


def keeps_float32(row: SpeedRow) -> bool:
    """Whether a row computes the float32 function, up to the order of additions."""
    reduced = row.parameters["amp"] or row.parameters["tf32"]
    return row.parameters["dtype"] == "float32" and not reduced


#: Kinds of steps that a person may be bound to.
KINDS: dict[str, Callable[[SpeedRow], bool]] = {
    "torch's fastest": lambda row: row.parameters.get("runtime") is None,
    "the fastest in float32": keeps_float32,
}


def recommendations(steps: Sequence[Step]) -> list[Recommendation]:
    """Return the fastest step of each ladder, for training and for inference."""
    ladders = _ladders(steps)
    sizes = _telling_apart(steps)
    return [
        Recommendation(
            fastest,
            goal,
            sizes,
            _tied(ladder, fastest, phase),
            _beaten(ladder, fastest, phase) if goal == "infer" else {},
        )
        for ladder in ladders.values()
        for goal, phase in GOALS.items()
        if (fastest := _fastest(ladder, phase)) is not None
    ]


def is_trusted(row: SpeedRow) -> bool:
    """Whether a row was timed and computes what it should."""
    return row.status == "ok" and not row.has_wrong_answers


def _fastest(ladder: Sequence[Step], phase: str) -> Step | None:
    times = [
        (interval.estimate, step)
        for step in ladder
        if is_trusted(step.row) and (interval := step.row.phase(phase))
    ]
    return min(times, key=itemgetter(0), default=(0.0, None))[1]


def _ladders(steps: Sequence[Step]) -> dict[int, list[Step]]:
    ladders: dict[int, list[Step]] = {}
    for step in steps:
        ladders.setdefault(id(step.start), []).append(step)
    return ladders


def _beaten(ladder: Sequence[Step], fastest: Step, phase: str) -> dict[str, Step]:
    """Return the fastest step of each kind that the fastest of all is not of."""
    best = {
        kind: _fastest([step for step in ladder if holds(step.row)], phase)
        for kind, holds in KINDS.items()
        if not holds(fastest.row)
    }
    return {kind: step for kind, step in best.items() if step}


def _tied(ladder: Sequence[Step], fastest: Step, phase: str) -> list[Step]:
    """Return the steps that may be as fast, the start aside, which is told anyway."""
    others = [step for step in ladder if is_trusted(step.row)]
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
    sizes = [name for name in SIZES if frame[name].nunique() > 1]
    wanted = ["model", *sizes, "rung", "inference_seconds", "inference_start_ratio"]
    if known_columns(frame, ["step_seconds"]):
        wanted += ["step_seconds", "step_start_ratio", "logit_error_fraction"]
    else:
        wanted += ["logit_error_fraction", "top1_agreement_fraction"]
        wanted += ["inference_break_even_calls", "inference_peak_memory_bytes"]
    wanted = wanted[:MAXIMUM_NARROW_COLUMNS]
    return Table(
        name="ladder",
        title="The ladder: one setting after the other",
        frame=frame,
        narrow=known_columns(frame, wanted),
        notes=[
            *refusals(run),
            *(each.sentence for each in recommended),
            *_origins(steps),
            NOTE,
        ],
        headers={
            "batch_size": "batch",
            "image_size": "px",
            "rung": "setting",
            "inference_seconds": "infer",
            "inference_start_ratio": "x start",
            "step_start_ratio": "x start",
            "logit_error_fraction": "error",
            "top1_agreement_fraction": "same top-1",
            "inference_break_even_calls": "pays off",
            "inference_peak_memory_bytes": "memory",
        },
    )


def _origins(steps: Sequence[Step]) -> list[str]:
    """Return which weights the answers were compared with, where that is known."""
    known = [(step.row, step.row.known("weights_origin")) for step in steps]
    return each_once(
        (row, f"answers compared on weights {origin}")
        for row, origin in known
        if origin
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
        columns[f"{phase}_conversion_seconds"] = step.conversion_seconds(phase)
        columns[f"{phase}_break_even_calls"] = step.break_even_calls(phase)
    columns["logit_error_fraction"] = row.known("logit_error")
    columns["top1_agreement_fraction"] = row.known("top1_agreement")
    told = row.known("told") or {}
    columns |= row.peak_memory
    columns["told"] = ", ".join(f"{name}={value}" for name, value in told.items())
    return columns | {"verdict": row.verdict}


def refusals(run: Run) -> list[str]:
    """Return one sentence on the steps that this machine could not take, and why."""
    reasons: dict[str, list[str]] = {}
    for name, reason in run.config.get("unsupported") or []:
        reasons.setdefault(reason, []).append(name)
    each = [f"{', '.join(names)} ({why})" for why, names in reasons.items()]
    return [f"Left out: {'; '.join(each)}."] if each else []


#: Panels of the figure beside each other, and inches of a panel and of a bar.
PANELS_IN_A_ROW = 2
PANEL_WIDTH, BAR_INCHES = 5.6, 0.3

#: How dark bars are that compute the float32 function, and those that do not.
KEEPS_STRENGTH, CHANGES_STRENGTH = 1.0, 0.45


#: The figures of a ladder: the goal of each, and what it is of.
FIGURES = {"ladder": ("infer", "Inference"), "ladder-training": ("train", "Training")}


def ladder_figures(run: Run, steps: Sequence[Step]) -> dict[str, Figure]:
    """Return how many times as fast as the start each step is, by file name."""
    made: dict[str, Figure] = {}
    for name, (goal, words) in FIGURES.items():
        phase = GOALS[goal]
        timed = [step for step in steps if step.row.status == "ok"]
        timed = [step for step in timed if step.speedup(phase)]
        if timed:
            made[name] = _figure(run, timed, phase, f"{words} by setting")
    return made


def _figure(run: Run, steps: Sequence[Step], phase: str, title: str) -> Figure:
    """Draw a panel per ladder."""
    ladders = list(_ladders(steps).values())
    across = min(PANELS_IN_A_ROW, len(ladders))
    down = -(-len(ladders) // across)
    most = max(map(len, ladders))
    where = place(run, [step.row for step in steps])
    height = 1.1 + down * (0.9 + BAR_INCHES * most)
    width = max(7.2, across * PANEL_WIDTH)
    made = theme.figure(f"{title} · {where}", width=width, height=height)
    panels = made.subplots(down, across, squeeze=False).flatten()
    names = dict.fromkeys(_runtime_of(step) for step in steps)
    colours = {**theme.palette(n for n in names if n != TORCH), TORCH: theme.NEUTRAL}
    sizes = _telling_apart(steps)
    for axes, ladder in zip(panels, ladders, strict=False):
        row = ladder[0].row
        title = f"{row.name}, {described(row.parameters, sizes)}"
        axes.set_title(theme.drawable(title))
        _panel(axes, ladder, phase, colours)
    for axes in panels[len(ladders) :]:
        axes.set_visible(False)
    handles = [Patch(facecolor=colours[n], label=RUNTIMES[n].title) for n in names]
    pale = theme.tint(theme.NEUTRAL, CHANGES_STRENGTH)
    handles.append(
        Patch(facecolor=pale, label="pale: does not compute the float32 function")
    )
    return legend_below(made, handles)


def _runtime_of(step: Step) -> str:
    return step.row.parameters.get("runtime") or TORCH


def _panel(
    axes: Axes, ladder: Sequence[Step], phase: str, colours: Mapping[object, str]
) -> None:
    """Draw one ladder: a bar per step with its interval, time and equal answers."""
    axes.set_xlabel("times as fast as eager float32")
    name_bars(axes, [step.row.parameters["rung"] for step in ladder])
    axes.axvline(1.0, color="#999999", lw=1)
    speedups: list[float] = []
    for y, step in enumerate(ladder):
        speedup = step.speedup(phase)
        if speedup is None:
            continue
        strength = KEEPS_STRENGTH if keeps_float32(step.row) else CHANGES_STRENGTH
        colour = theme.tint(colours[_runtime_of(step)], strength)
        axes.barh(y, speedup.estimate, 0.72, color=colour)
        whisker(axes, speedup.estimate, y, speedup)
        speedups.append(speedup.estimate)
        _tell(axes, step, phase, speedup, y)
    axes.set_xlim(0, 1.45 * max(speedups, default=1.0))


def _tell(axes: Axes, step: Step, phase: str, speedup: Interval, y: int) -> None:
    """Write the time beside a bar, and equal first choices where some differ."""
    time, same = step.row.phase(phase), step.row.known("top1_agreement")
    if time is None:
        return
    words = f"{rounded(time.estimate * MILLISECONDS)} ms"
    if phase == "inference" and same is not None and same < 1:
        words += f", {percent(same)} same top-1"
    if step.row.has_wrong_answers:
        words += ", wrong answers"
    at = min(end_of(speedup), 1.1 * speedup.estimate)
    axes.annotate(
        words, (at, y), (5, 0), textcoords="offset points", va="center", fontsize=8.5
    )
