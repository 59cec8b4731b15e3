"""Figures of training: curves, error by depth, budgets, recipes, treatments."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resnet_bench.experiments.degradation.claims.statistics import RECIPES
from resnet_bench.experiments.degradation.grid import SHORTCUTS
from resnet_bench.experiments.degradation.records import (
    CurvePoint,
    TrainingResult,
)
from resnet_bench.experiments.degradation.view.frames import (
    Material,
    depth_colours,
    error_interval,
    log_scale,
    marks,
    number_ticks,
    over_seeds,
    reference_line,
    standard,
    whiskers,
)
from resnet_bench.present.theme import NEUTRAL, SHORTCUT_COLOURS

PERCENT = (0.0, 100.0)
CURVES = {
    "running_error_percent": "training error (%)",
    "running_loss": "training loss (log scale)",
}

#: What whiskers of errors show.
SEEDS = "median over seeds and its interval"

#: How the thousand study's networks are trained, and the colour of each way.
RECIPE_COLOURS = {
    "standard": ("as it is", NEUTRAL),
    "zero-gamma": (RECIPES["zero-gamma"], "#44AA99"),
    "paper-warm-up": (RECIPES["paper-warm-up"], "#882255"),
}

#: What the treatments of a network are called beside their marks.
TREATMENT_WORDS = {
    "lambda-0.25": "shortcut x/4",
    "lambda-0.5": "shortcut x/2",
    "lambda-0.75": "shortcut 3x/4",
    "convolution-shortcut": "shortcut 1x1 convolution",
    "option-b": "shortcut +x, projected\nwhere the shape changes",
    "pre-activation": "shortcut +x, pre-activation",
    "dirac": "Dirac start",
    "wide": "twice as wide",
    "adam": "Adam",
}


def training_curves(made: Material) -> Figure | None:
    """Draw error and loss over steps, plain beside residual (He et al. 2015, Fig. 6).

    A thick line is the mean over seeds, thin ones are the seeds.
    """
    frame = made.records(CurvePoint)
    if frame.empty:
        return None
    frame = frame[frame["depth"].isin(made.evidence.depths)]
    if not _comparable(frame):
        return None
    title = (
        "Do deeper networks train worse? Plain beside residual, same initial weights"
    )
    drawn = made.figure(title, width=9.6, height=7.0)
    grid = drawn.subplots(2, 2, sharex=True, sharey="row")
    colours = depth_colours(frame["depth"].tolist())
    for row, (field, label) in enumerate(CURVES.items()):
        for column, shortcut in enumerate(SHORTCUTS):
            axes = grid[row][column]
            of_shortcut = frame[frame["shortcut"] == shortcut]
            _curves(axes, of_shortcut, field, "depth", colours)
            axes.set_ylabel(label if column == 0 else "")
        if field == "running_loss":
            log_scale(grid[row][0])
    for column, shortcut in enumerate(SHORTCUTS):
        grid[0][column].set_title(f"{shortcut} (running mean of an epoch)", fontsize=10)
        grid[1][column].set_xlabel("training steps")
    grid[0][0].set_ylim(0, 100)
    grid[0][0].set_xlim(left=0)
    _line_legend(drawn, {f"{depth} layers": each for depth, each in colours.items()})
    return drawn


def _comparable(frame: pd.DataFrame) -> bool:
    """Return whether there is more than one network to compare."""
    return len(frame[["shortcut", "depth"]].drop_duplicates()) > 1


def _curves(
    axes: Axes, frame: pd.DataFrame, field: str, by: str, colours: Mapping[Any, str]
) -> None:
    """Draw a field over the steps in a colour for each value of the column `by`."""
    for value, group in frame.groupby(by):
        colour = colours[value]
        for _, of_seed in group.groupby("seed"):
            axes.plot(
                of_seed["step"], of_seed[field], color=colour, linewidth=0.6, alpha=0.45
            )
        mean = group.groupby("step")[field].mean()
        axes.plot(mean.index, mean, color=colour, linewidth=2.2)
    axes.grid(axis="y")


def _line_legend(drawn: Figure, colours: Mapping[str, str]) -> None:
    lines = [
        Line2D([], [], color=colour, linewidth=2.2, label=label)
        for label, colour in colours.items()
    ]
    drawn.legend(
        handles=lines, loc="outside right upper", title="thick: mean\nof seeds"
    )


def error_by_depth(made: Material) -> Figure | None:
    """Draw clean training and test error against depth for plain and residual."""
    frame = standard(made.networks)
    depths = made.evidence.depths
    frame = frame[(frame["budget"] == 1) & frame["depth"].isin(depths)]
    if not _comparable(frame):
        return None
    title = "Error against depth after the last step"
    drawn = made.figure(title, width=8.4, height=5.0)
    axes = drawn.subplots()
    # Legends fill column by column: a column per shortcut.
    marks = [
        mark
        for shortcut in SHORTCUTS
        for mark in _shortcut_by_depth(
            axes, frame[frame["shortcut"] == shortcut], shortcut
        )
    ]
    chance = {row["chance_error_percent"] for row in made.evidence.rows(TrainingResult)}
    reference_line(axes, max(chance), "chance")
    number_ticks(axes, depths)
    axes.set_xlabel("depth (layers)")
    axes.set_ylabel("error (%)")
    axes.set_ylim(-2, 100)
    axes.grid(axis="y")
    drawn.legend(handles=marks, loc="outside lower center", ncols=2)
    return drawn


def _shortcut_by_depth(axes: Axes, frame: pd.DataFrame, shortcut: str) -> list[Any]:
    """Draw one shortcut's training and test error and return their marks."""
    colour = SHORTCUT_COLOURS[shortcut]
    axes.fill_between(
        frame["depth"],
        frame["sampling_low"],
        frame["sampling_high"],
        color=colour,
        alpha=0.13,
        linewidth=0,
    )
    label = f"{shortcut}: training error, {SEEDS}"
    style = {**marks(shortcut), "label": label, "zorder": 3}
    train = whiskers(axes, training_errors(frame), "depth", PERCENT, **style)
    label = f"{shortcut}: test error; band: its 95 % interval"
    (test,) = axes.plot(
        frame["depth"], frame["test_percent"], color=colour, linestyle="--", label=label
    )
    return [train, test]


def training_errors(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its training error as `estimate`, `low` and `high`."""
    names = {"": "estimate", "_low": "low", "_high": "high"}
    return frame.rename(
        columns={f"train_percent{bound}": name for bound, name in names.items()}
    )


def budgets(made: Material) -> Figure | None:
    """Draw the error against the steps of one and of longer budgets."""
    frame = standard(made.networks)
    longer = set(frame.loc[frame["budget"] > 1, "depth"])
    if not longer:
        return None
    frame = frame[frame["depth"].isin(longer)]
    title = "More steps: does the plain network catch up?"
    drawn = made.figure(title, width=8.4, height=4.6)
    axes = drawn.subplots()
    styles = dict(zip(sorted(longer), (":", "-"), strict=False))
    for (shortcut, depth), group in frame.groupby(["shortcut", "depth"]):
        whiskers(
            axes,
            training_errors(group),
            "steps",
            PERCENT,
            linestyle=styles[depth],
            label=f"{shortcut}-{depth}",
            **marks(str(shortcut)),
        )
    number_ticks(axes, sorted(set(frame["steps"])))
    axes.set_xlabel("training steps (log scale); every point is a training of its own")
    axes.set_ylabel(f"training error (%), batch norm recalibrated\n{SEEDS}")
    axes.set_ylim(-2, 100)
    axes.grid(axis="y")
    drawn.legend(loc="outside right upper")
    return drawn


def recipes(made: Material) -> Figure | None:
    """Draw the training error of the thousand study's networks by recipe.

    A thick line is the mean over seeds, thin ones are the seeds.
    """
    evidence = made.evidence
    if "thousand" not in evidence.studies:
        return None
    rows = [
        row
        for row in evidence.rows(CurvePoint)
        if row["depth"] in (max(evidence.depths), evidence.extreme)
        and row["treatment"] in RECIPE_COLOURS
        and row["budget"] == 1
        and row["train_images"] is None
    ]
    if not rows:
        return None
    networks = list(pd.DataFrame(rows).groupby(["shortcut", "depth", "width"]))
    title = "Do networks of 100 and of 1000 layers train?"
    drawn = made.figure(title, width=1.8 + 2.8 * len(networks), height=4.2)
    panels = drawn.subplots(1, len(networks), sharex=True, sharey=True, squeeze=False)
    colours = {name: colour for name, (_, colour) in RECIPE_COLOURS.items()}
    for axes, ((shortcut, depth, width), frame) in zip(
        panels[0], networks, strict=True
    ):
        _curves(axes, frame, "running_error_percent", "treatment", colours)
        axes.set_title(f"{shortcut}-{depth}, {width} channels", fontsize=10)
        axes.set_xlabel("training steps")
    panels[0][0].set_ylabel("training error, mean of an epoch (%)")
    panels[0][0].set_ylim(-2, 100)
    panels[0][0].set_xlim(left=0)
    _line_legend(drawn, dict(RECIPE_COLOURS.values()))
    return drawn


def treatments(made: Material) -> Figure | None:
    """Draw the training error with other shortcuts, and with other remedies."""
    evidence = made.evidence
    if not evidence.studies & {"shortcut", "controls"}:
        return None
    results = [
        row
        for row in made.evidence.rows(TrainingResult)
        if row["depth"] == evidence.middle
        and row["budget"] == 1
        and row["train_images"] is None
        and row["treatment"] in ("standard", *TREATMENT_WORDS)
    ]
    if not results:
        return None
    frame = over_seeds(
        pd.DataFrame(results),
        ("shortcut", "treatment"),
        "train_error_recalibrated_percent",
        error_interval,
    )
    frame = frame.sort_values(
        ["estimate", "shortcut"], ascending=False, ignore_index=True
    )
    title = f"Depth {evidence.middle}: other shortcuts, and none with other remedies"
    drawn = made.figure(title, width=8.4, height=1.6 + 0.36 * len(frame))
    axes = drawn.subplots()
    for shortcut, group in frame.groupby("shortcut"):
        _treatment_marks(axes, group, str(shortcut))
    pairs = zip(frame["shortcut"], frame["treatment"], strict=True)
    labels = [_treatment_label(shortcut, treatment) for shortcut, treatment in pairs]
    axes.set_yticks(frame.index, labels)
    axes.set_xlim(-2, 100)
    axes.set_xlabel(f"training error (%), batch norm recalibrated, {SEEDS}")
    axes.grid(axis="x")
    drawn.legend(loc="outside lower center", ncols=2)
    return drawn


def _treatment_marks(axes: Axes, frame: pd.DataFrame, shortcut: str) -> None:
    low = frame["estimate"] - frame["low"].clip(lower=PERCENT[0])
    high = frame["high"].clip(upper=PERCENT[1]) - frame["estimate"]
    known = (frame["samples"] > 1).astype(float)
    axes.errorbar(
        frame["estimate"],
        frame.index,
        xerr=[low.clip(0, 100) * known, high.clip(0, 100) * known],
        **marks(shortcut),
        linestyle="none",
        capsize=3,
        linewidth=1.8,
        label=f"{shortcut} network",
    )


def _treatment_label(shortcut: str, treatment: str) -> str:
    if treatment == "standard":
        return "shortcut +x" if shortcut == "residual" else "no shortcut"
    return TREATMENT_WORDS[treatment]
