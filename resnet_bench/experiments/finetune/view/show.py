"""What a person sees of `finetune`: JSON, tables, figures and sentences."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.finetune.cells import (
    RAW_PIXELS,
    TransferResult,
)
from resnet_bench.experiments.finetune.spec import LEAST_STEPS
from resnet_bench.experiments.finetune.view.classes import (
    class_table,
    confusion_figure,
    samples_figure,
)
from resnet_bench.experiments.finetune.view.control import (
    ControlGain,
    control_figure,
    control_gains,
    control_sentences,
    control_table,
)
from resnet_bench.experiments.finetune.view.figures import accuracy_figures
from resnet_bench.experiments.finetune.view.front import (
    Front,
    front_figure,
    front_of,
    front_table,
)
from resnet_bench.experiments.finetune.view.groups import (
    Group,
    Row,
    gain_over_random,
    gain_over_scratch,
    groups_of,
    origins,
    points,
)
from resnet_bench.experiments.finetune.view.tables import (
    accuracy_table,
    published_accuracies,
)
from resnet_bench.experiments.pretrain.spec import SourceResult
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

#: Columns of a cell's training that a row of the JSON object carries as its own.
TRAINING = ("dataset", "batch_size", "target_accuracy_percent", "device", "amp")

#: A network whose accuracy on the source is below this share of the best one's has
#: hardly learned it.
HARDLY_LEARNED = 0.8

#: Which gains the headline tells, and over what.
TOLD_GAINS = {
    "full": ("scratch", gain_over_scratch),
    "probe": ("a random backbone", gain_over_random),
}

#: More networks and shots than this are told of at the fewest shots only.
MOST_SENTENCES = 6

#: What is shown otherwise or serves other numbers.
LEFT_OUT = frozenset({"training", "right_answers", "renderings"})


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows; groups, control gains and the front are made once."""
    groups = groups_of(run)
    gains = control_gains(groups)
    front = front_of(groups, others)
    published = published_accuracies(run, groups)
    origin, caveats = origin_sentence(run), caveats_of(run, groups)
    return Shown(
        json=_json(run, groups, gains, front),
        tables=_tables(run, groups, gains, front),
        notices=[origin, *caveats],
        headline=[origin, *transfer_sentences(groups), *caveats],
        conclusion=saved_lines(run),
        published=[published] if published else [],
        draw=partial(_figures, run, groups, gains, front),
    )


def _tables(
    run: Run, groups: Sequence[Group], gains: Sequence[ControlGain], front: Front | None
) -> list[Table]:
    if all(group.permuted for group in groups):
        return []
    first = [origin_sentence(run)]
    last = [*source_sentences(run), *control_sentences(gains)]
    made = [accuracy_table(run, groups, first, last)]
    if gains:
        made.append(control_table(run, gains))
    made.append(class_table(run, groups))
    return [*made, front_table(run, front)] if front else made


def _figures(
    run: Run, groups: Sequence[Group], gains: Sequence[ControlGain], front: Front | None
) -> dict[str, Figure]:
    """Return the figures that the run can fill, by file name."""
    drawn = {
        **accuracy_figures(run, groups),
        "samples": samples_figure(run),
        "confusion": confusion_figure(run, groups),
        "controls": control_figure(run, gains),
        "accuracy-step-time-front": front_figure(run, front) if front else None,
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _json(
    run: Run, groups: Sequence[Group], gains: Sequence[ControlGain], front: Front | None
) -> dict[str, Any]:
    """Return rows, controls, the negative control and a summary over seeds.

    SI units; what is unknown or unbounded is null, as is a target not reached.
    """
    results = [_flat(row) for row in run.rows(TransferResult)]
    return {
        "run": run.id,
        "rows": [row for row in results if row["part"] == "strategy"],
        "controls": [row for row in results if row["part"] == "control"],
        "negative_control": [each.json for each in gains],
        "sources": [_flat(row) for row in run.rows(SourceResult)],
        "front": front and front.json,
        "summary": [_summary(group, groups) for group in groups],
    }


def _flat(row: Row) -> Row:
    training = row.get("training") or {}
    rest = {key: value for key, value in row.items() if key not in LEFT_OUT}
    return {**{name: training.get(name) for name in TRAINING}, **rest}


def _summary(group: Group, groups: Sequence[Group]) -> Row:
    gain = gain_over_scratch(group, groups)
    over_random = gain_over_random(group, groups)
    to_target = group.seconds_to_target
    return {
        "variant": group.variant,
        "strategy": group.strategy,
        "shots": group.shots,
        "permuted": group.permuted,
        "control": group.is_control,
        "weights_origin": group.rows[0]["weights_origin"],
        "test_accuracy_percent": group.accuracy.json,
        "gain_over_scratch_points": gain and gain.json,
        "gain_over_random_points": over_random and over_random.json,
        "training_seconds": group.median("training_seconds"),
        "step_seconds": group.median("step_seconds"),
        "peak_memory_bytes": group.median("peak_memory_bytes"),
        "seconds_to_target": to_target if math.isfinite(to_target) else None,
    }


def origin_sentence(run: Run) -> str:
    """Return the sentence about the weights that nobody may miss."""
    found = origins(run)
    if not found:
        return "WEIGHTS: random; nothing here was pre-trained."
    origin = ", ".join(found)
    if any(name.startswith("suite") for name in found):
        return (
            f"WEIGHTS: {origin}, trained by this suite; nothing here was pre-trained "
            "on ImageNet."
        )
    if any("unverified" in name for name in found):
        return f"WEIGHTS: {origin}; the file's hash was not checked."
    return f"WEIGHTS: {origin}."


def source_sentences(run: Run) -> list[str]:
    """Return what the source checkpoints reached, and whether they were cached."""
    rows = run.rows(SourceResult)
    if not rows:
        return []
    accuracies = sorted(row["source_accuracy_percent"] for row in rows)
    ends = dict.fromkeys(f"{accuracies[place]:.1f}" for place in (0, -1))
    reused = sum(row["reused"] for row in rows)
    return [
        f"Source checkpoints: {len(rows)} ({reused} from the cache), test accuracy "
        f"{' to '.join(ends)} % on {run.config.get('source')}.",
        *_hardly_learned(run, rows),
    ]


def _hardly_learned(run: Run, rows: Sequence[Row]) -> list[str]:
    """Name the networks that stayed far behind the best one on the source."""
    found: dict[int, list[float]] = {}
    for row in rows:
        variant = run.grid[row["cell"]]["variant"]
        found.setdefault(variant, []).append(row["source_accuracy_percent"])
    reached = {variant: mean(found[variant]) for variant in sorted(found)}
    best = max(reached.values())
    weak = [
        f"{VARIANTS[variant].title} {accuracy:.1f} %"
        for variant, accuracy in reached.items()
        if accuracy < HARDLY_LEARNED * best
    ]
    if not weak:
        return []
    return [
        f"Some networks hardly learned the source ({', '.join(weak)}; the best "
        f"{best:.1f} %), so they have little to transfer: compare them after more "
        "--source-epochs."
    ]


def transfer_sentences(groups: Sequence[Group]) -> list[str]:
    """Return what each network reached and what transfer gained it.

    Of many networks those with the fewest shots: that is when people fine-tune.
    """
    told: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        if group.variant and not group.permuted:
            told.setdefault((group.images_title, group.name), []).append(group)
    if len(told) > MOST_SENTENCES:
        fewest = next(iter(told))[0]
        told = {key: own for key, own in told.items() if key[0] == fewest}
    return [
        f"{name}, {images}: {'; '.join(_reached_and_gained(own))}."
        for (images, name), own in told.items()
    ]


def _reached_and_gained(groups: Sequence[Group]) -> list[str]:
    """Return what one network's strategies reached, and what full and probe gained."""
    reached = [
        f"{group.strategy} {group.accuracy.estimate:.1f} %"
        for group in groups
        if not group.is_control
    ]
    gains = []
    for group in groups:
        if group.strategy in TOLD_GAINS:
            other, gain_over = TOLD_GAINS[group.strategy]
            if gain := gain_over(group, groups):
                gains.append(f"{group.strategy} gains {points(gain)} over {other}")
    return [", ".join(reached), *gains]


def saved_lines(run: Run) -> list[str]:
    """Return where networks are saved and the Python that uses one, if there is any."""
    saved = [row for row in run.rows(TransferResult) if row.get("saved")]
    if not saved:
        return []
    best = max(saved, key=lambda row: float(row["test_accuracy_percent"]))
    folder = Path(best["saved"]).parent
    count = f"{len(saved)} network{'s are' if len(saved) > 1 else ' is'}"
    return [
        f"{count} saved in {folder}; in Python, the most accurate one:",
        *best["usage"],
    ]


def caveats_of(run: Run, groups: Sequence[Group]) -> list[str]:
    """Return what a reader must know before believing the numbers."""
    rows = run.rows(TransferResult)
    said = []
    dataset = str(run.config.get("dataset"))
    for kind, _, source in (origin.partition(":") for origin in origins(run)):
        if kind == "suite" and share_images(dataset, source):
            said.append(
                f"{source}, on which the backbone was trained, shares training images "
                f"with {dataset}: this does not measure transfer to unseen data"
            )
    diverged = {row["cell"] for row in rows if row["diverged"]}
    if diverged:
        said.append(
            f"trainings that diverged: {len(diverged)}; their final accuracy counts"
        )
    skipped = max((row["skipped_images"] for row in rows), default=0)
    if skipped:
        said.append(f"images left out because they could not be decoded: {skipped}")
    said += _twins(rows) + _few_steps(rows)
    unfinished = len(run.missing) + len(run.failed)
    if unfinished:
        said.append(f"{unfinished} of {len(run.grid)} cells have no result")
    if len({row["seed"] for row in rows}) == 1:
        said.append("one seed: intervals are over test images only; try --seeds 3")
    return [*said, *_beaten_by_pixels(groups)]


def _twins(rows: Sequence[Row]) -> list[str]:
    twins = max((row.get("twins", 0) for row in rows), default=0)
    # Tests out of fold count the training images too.
    tested = min((row["test_images"] for row in rows), default=0)
    if not twins:
        return []
    return [
        f"test images that are also training images: {twins} of {tested}; on new "
        "images accuracy is lower"
    ]


def _few_steps(rows: Sequence[Row]) -> list[str]:
    """Say when trainings took too few steps to get anywhere, and what would do."""
    whole_trainings = (row for row in rows if not row["diverged"])
    few = [row for row in whole_trainings if 0 < row["steps"] < LEAST_STEPS]
    if not few:
        return []
    row = min(few, key=lambda one: int(one["steps"]))
    epochs = math.ceil(LEAST_STEPS * row["epochs"] / row["steps"])
    return [
        f"{row['train_images']} images, {row['steps']} steps: too few to judge; try "
        f"--epochs {epochs}"
    ]


def share_images(dataset: str, source: str) -> bool:
    """Whether two data sets hold some of the same images.

    Digits on photographs are drawn from the digits of the same name.
    """
    both = {name.removeprefix("photo-") for name in (dataset, source)}
    return len(both) == 1 or (
        "digits" in both and all(name.startswith("digits") for name in both)
    )


def _beaten_by_pixels(groups: Sequence[Group]) -> list[str]:
    """Say which networks do no better than logistic regression on raw pixels."""
    said = []
    for control in (group for group in groups if group.strategy == RAW_PIXELS):
        level = control.accuracy.estimate
        rivals = [g for g in groups if not g.is_control and g.shots == control.shots]
        below = [group for group in rivals if group.accuracy.estimate <= level]
        if below:
            said.append(
                f"logistic regression on raw pixels reaches {level:.1f} % with "
                f"{control.images_title}; rows that do no better: {len(below)} of "
                f"{len(rivals)}"
            )
    return said
