"""Accuracy by network, strategy and shots, by class, and published figures."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from resnet_bench.experiments.finetune.view.groups import (
    Group,
    gain_over_random,
    gain_over_scratch,
    setting,
    whole,
)
from resnet_bench.present.published import (
    beside_published,
    published_table,
    same_protocol,
)
from resnet_bench.present.tables import Table, interval_columns
from resnet_bench.store.reading import Run

NARROW = (
    "network",
    "strategy",
    "shots",
    "test_accuracy_percent",
    "gain_points",
    "training_seconds",
    "to_target_seconds",
)
HEADERS = {
    "test_accuracy_percent": "accuracy",
    "class_mean_accuracy_percent": "class mean",
    "gain_points": "gain",
    "training_seconds": "training",
    "to_target_seconds": "to target",
}

#: Of these the table shows the median over seeds, and what all seeds have in common.
MEDIANS = (
    "nll",
    "calibration_error",
    "trainable_parameters",
    "step_seconds",
    "images_per_second",
    "peak_memory_bytes",
    "total_seconds",
)
COMMON = (
    "epochs",
    "steps",
    "learning_rate",
    "train_images",
    "test_images",
    "image_size",
    "stem",
    "threads",
    "weights_origin",
)


def accuracy_table(
    run: Run, groups: Sequence[Group], first: Iterable[str], last: Iterable[str]
) -> Table:
    """Return a row per network, strategy and number of shots.

    `first` and `last` are sentences around those that explain the columns.
    """
    target = run.config.get("target_accuracy")
    shown = [group for group in groups if not group.permuted]
    several = any(group.shots is not None for group in shown)
    return Table(
        name="accuracy",
        title=f"Accuracy after transfer\n{setting(run)}",
        frame=pd.DataFrame([_row(group, groups) for group in shown], dtype=object),
        narrow=[name for name in NARROW if several or name != "shots"],
        notes=[
            *first,
            "Accuracy: test half, last epoch, with its 95 % interval over seeds and "
            "test images. Gain: over scratch, paired by seed and image.",
            f"To target: training time, evaluation excluded, until {target:g} % test "
            "accuracy was first seen; median over seeds, ∞ if most never reached it. "
            "Shots: training images of each class.",
            *last,
        ],
        headers=HEADERS,
    )


def _row(group: Group, groups: Sequence[Group]) -> dict[str, Any]:
    class_mean = group.median("class_mean_accuracy_percent")
    hashes = {row["weights_sha256"] for row in group.rows}
    return {
        "network": group.name,
        "strategy": group.title,
        "shots": group.shots_title,
        **interval_columns("test_accuracy_percent", group.accuracy),
        "class_mean_accuracy_percent": class_mean,
        **interval_columns("gain_points", gain_over_scratch(group, groups)),
        **interval_columns("over_random_points", gain_over_random(group, groups)),
        "training_seconds": group.median("training_seconds"),
        "to_target_seconds": group.seconds_to_target,
        **{name: group.median(name) for name in MEDIANS},
        "seeds": len(group.rows),
        **{name: group.rows[0][name] for name in COMMON},
        "weights_sha256": hashes.pop() if len(hashes) == 1 else None,
    }


#: What the published table calls each strategy of this project.
PUBLISHED_STRATEGIES = {
    "probe": "linear probe",
    "full": "full fine-tune",
    "scratch": "random init",
}
#: Published data sets that are shown: an easy, two middling and a fine-grained one.
PUBLISHED_DATASETS = ("cifar10", "cifar100", "flowers102", "aircraft")
PUBLISHED_VARIANT = 50
PUBLISHED_WEIGHTS = "imagenet"


def published_accuracies(run: Run, groups: Sequence[Group]) -> Table | None:
    """Return the published order of strategies beside the run's; None if no overlap."""
    rows = [
        {
            "model": group.name,
            "strategy": group.strategy,
            **interval_columns("accuracy_percent", group.accuracy),
            "published_strategy": PUBLISHED_STRATEGIES.get(group.strategy),
            "same_protocol": same_protocol(_differences(run, group)),
        }
        for group in whole(groups)
        if not group.is_control
    ]
    keys = {"published_strategy": "strategy"}
    lines = [
        {
            **own,
            **{f"{name}_percent": published[name] for name in PUBLISHED_DATASETS},
            "source": published["source"],
        }
        for own, published in beside_published(rows, "transfer_resnet50", keys)
    ]
    return published_table(
        lines,
        title="Accuracy after transfer, here and as published for ResNet-50",
        narrow=[
            *("model", "strategy", "accuracy_percent"),
            *(f"{name}_percent" for name in PUBLISHED_DATASETS),
        ],
        headers={"accuracy_percent": "here"},
    )


def _differences(run: Run, group: Group) -> dict[str, bool]:
    """Return in which words a row differs from the published training, if it does."""
    origin = str(group.rows[0]["weights_origin"])
    dataset = run.config.get("dataset")
    return {
        f"{dataset}": dataset not in PUBLISHED_DATASETS,
        group.name: group.variant != PUBLISHED_VARIANT,
        f"weights {origin}": not origin.startswith(PUBLISHED_WEIGHTS)
        and group.strategy != "scratch",
        "another schedule": True,
    }
