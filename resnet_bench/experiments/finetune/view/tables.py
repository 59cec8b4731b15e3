"""The tables of `finetune`: accuracy by strategy, and the controls."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.view.front import Front
from resnet_bench.experiments.finetune.view.groups import (
    ControlGain,
    Group,
    gain_over_scratch,
)
from resnet_bench.experiments.finetune.view.words import (
    control_sentence,
    origin_sentence,
    setting,
    source_sentences,
)
from resnet_bench.present.published import reference
from resnet_bench.present.tables import Table
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: What the published table calls each strategy of this project.
STRATEGIES = {
    "probe": "linear probe",
    "full": "full fine-tune",
    "scratch": "random init",
}
#: Published data sets that are shown: an easy, a middling and a fine-grained one.
DATASETS = ("cifar10", "cifar100", "flowers102", "aircraft")
PUBLISHED_VARIANT = 50
PUBLISHED_WEIGHTS = "imagenet"


def published_table(run: Run, groups: Sequence[Group]) -> Table | None:
    """Return the published order of strategies beside the run's; None if no overlap."""
    published = reference("transfer_resnet50").set_index("strategy")
    lines = [
        _line(group, published.loc[STRATEGIES[group.strategy]].to_dict(), run)
        for group in groups
        if group.strategy in STRATEGIES and not group.is_control and group.fraction == 1
    ]
    if not lines:
        return None
    return Table(
        name="published",
        title="Accuracy after transfer, here and as published for ResNet-50",
        frame=pd.DataFrame(lines, dtype=object),
        narrow=[
            *("model", "strategy", "accuracy_percent"),
            *(f"{name}_percent" for name in DATASETS),
            "same_protocol",
        ],
        headers={"same_protocol": "same protocol?", "accuracy_percent": "here"},
    )


def _line(group: Group, published: dict[Any, Any], run: Run) -> dict[str, Any]:
    accuracy = group.accuracy
    return {
        "model": group.name,
        "strategy": group.strategy,
        "accuracy_percent": accuracy.estimate,
        "accuracy_percent_low": accuracy.low,
        "accuracy_percent_high": accuracy.high,
        **{f"{name}_percent": published[name] for name in DATASETS},
        "same_protocol": same_protocol(group, run),
        "source": published["source"],
    }


def same_protocol(group: Group, run: Run) -> str:
    """Return in what a row differs from the published training."""
    origin = str(group.rows[0]["weights_origin"])
    dataset = run.config.get("dataset")
    found = {
        f"{dataset}": dataset not in DATASETS,
        group.name: group.variant != PUBLISHED_VARIANT,
        f"weights {origin}": not origin.startswith(PUBLISHED_WEIGHTS)
        and group.strategy != "scratch",
        "another schedule": True,
    }
    return f"no: {', '.join(words for words, differs in found.items() if differs)}"


NARROW = (
    "network",
    "strategy",
    "data_fraction",
    "test_accuracy_percent",
    "sampling_points",
    "gain_points",
    "training_seconds",
    "to_target_seconds",
)
HEADERS = {
    "test_accuracy_percent": "accuracy",
    "class_mean_accuracy_percent": "class mean",
    "sampling_points": "test set ±",
    "gain_points": "gain",
    "data_fraction": "data",
    "training_seconds": "training",
    "to_target_seconds": "to target",
}
NOTES = (
    "Accuracy: test half, last epoch, mean and 95 % t interval over seeds. Test set "
    "±: half of Wilson's 95 % interval that so many test images leave. Gain: over "
    "scratch, paired by seed.",
)
MEDIANS = (
    "nll",
    "calibration_error",
    "trainable_parameters",
    "step_seconds",
    "images_per_second",
    "peak_memory_bytes",
    "total_seconds",
)


CONTROL_COLUMNS = (
    "network",
    "pairs",
    "gain_points",
    "half_width_points",
    "sampling_points",
    "verdict",
)


def run_tables(
    run: Run,
    groups: Sequence[Group],
    gains: Sequence[ControlGain],
    found: Front | None,
) -> list[Table]:
    """Return the tables of accuracies, of the negative control and of the front."""
    if not groups:
        return []
    made = [accuracy_table(run, groups, gains)]
    if gains:
        made.append(control_table(run, gains))
    return [*made, front_table(run, found)] if found else made


def accuracy_table(
    run: Run, groups: Sequence[Group], gains: Sequence[ControlGain]
) -> Table:
    """Return a row per network, strategy and share of the data, controls last."""
    target = run.config.get("target_accuracy")
    shown = [group for group in groups if not group.permuted]
    frame = pd.DataFrame([_row(group, groups) for group in shown], dtype=object)
    several = len({group.fraction for group in shown}) > 1
    notes = [
        origin_sentence(run),
        *NOTES,
        f"To target: training time, evaluation excluded, until {target:g} % test "
        "accuracy was first seen; median over seeds, ∞ if most never reached it.",
        *source_sentences(run),
        control_sentence(gains),
    ]
    return Table(
        name="accuracy",
        title=f"Accuracy after transfer\n{setting(run)}",
        frame=frame,
        narrow=[name for name in NARROW if several or name != "data_fraction"],
        notes=[note for note in notes if note],
        headers=HEADERS,
    )


def _row(group: Group, groups: Sequence[Group]) -> dict[str, Any]:
    first = group.rows[0]
    class_mean = group.median("class_mean_accuracy_percent")
    return {
        "network": group.name,
        "strategy": group.title,
        "data_fraction": group.fraction,
        **bounded("test_accuracy_percent", group.accuracy),
        "class_mean_accuracy_percent": class_mean,
        "sampling_points": group.sampling_points,
        **bounded("gain_points", gain_over_scratch(group, groups)),
        "training_seconds": group.median("training_seconds"),
        "to_target_seconds": group.seconds_to_target,
        **{name: group.median(name) for name in MEDIANS},
        "seeds": len(group.rows),
        "epochs": first["epochs"],
        "steps": first["steps"],
        "learning_rate": first["learning_rate"],
        "train_images": first["train_images"],
        "test_images": first["test_images"],
        "image_size": first["image_size"],
        "stem": first["stem"],
        "threads": first["threads"],
        "weights_origin": first["weights_origin"],
        "weights_sha256": _one(row["weights_sha256"] for row in group.rows),
    }


def control_table(run: Run, gains: Sequence[ControlGain]) -> Table:
    """Return the gain on permuted pixels, pooled and by variant, with verdicts."""
    rows = [
        {
            "network": VARIANTS[each.variant].title if each.variant else "all",
            "pairs": each.gain.samples,
            **bounded("gain_points", each.gain),
            "half_width_points": each.half_width,
            "sampling_points": each.sampling_points,
            "verdict": str(each.verdict),
        }
        for each in gains
    ]
    return Table(
        name="negative-control",
        title=f"Negative control: pixels permuted\n{setting(run)}",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=list(CONTROL_COLUMNS),
        notes=[
            "Gain: probe on the trained backbone less probe on a random one (the mean "
            "of several draws), both on pixels moved by one fixed permutation, every "
            "image of a small data set tested once (five folds). Its interval is over "
            "seeds, for all networks within networks; test set ±: half the 95 % "
            "interval over images. Verdict on: no gain where there is no image "
            "structure to transfer."
        ],
        headers={**HEADERS, "half_width_points": "half-width"},
    )


def front_table(run: Run, found: Front) -> Table:
    """Return accuracy beside step time and memory, and ImageNet's as reported."""
    by_time = found.kept(lambda point: point.step_milliseconds)
    by_memory = found.kept(lambda point: point.peak_mebibytes)
    rows = [
        {
            "network": VARIANTS[point.variant].title,
            **bounded("test_accuracy_percent", point.accuracy),
            "step_seconds": point.cost.step_seconds,
            "time_front": point in by_time,
            "peak_memory_bytes": point.cost.peak_bytes,
            "memory_front": point in by_memory,
            "reported_percent": point.reported_percent,
        }
        for point in found.points
    ]
    return Table(
        name="front",
        title=f"Accuracy and the cost of a step: {found.strategy}\n{setting(run)}",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=[name for name in rows[0] if not name.endswith(("_low", "_high"))],
        notes=[
            f"Step and peak memory: training, {found.where}. Best: no cheaper network "
            "is as accurate. ImageNet: top-1 of torchvision's V1 weights, reported, "
            "not measured here."
        ],
        headers={
            **HEADERS,
            "step_seconds": "step",
            "time_front": "best by time",
            "peak_memory_bytes": "memory",
            "memory_front": "best by memory",
            "reported_percent": "ImageNet",
        },
    )


def bounded(name: str, interval: Interval | None) -> dict[str, float | None]:
    """Return an interval as the columns of a frame."""
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {
        name: interval.estimate,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }


def _one(values: Any) -> Any:
    """Return the value that all seeds share, or None where they differ."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
