"""Published accuracies after transfer beside a run's, by strategy."""

from typing import Any

import pandas as pd

from resnet_bench.experiments.finetune.view.groups import Group, groups_of
from resnet_bench.present.published import reference
from resnet_bench.present.tables import Table
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

METHOD = (
    "Accuracy is that of the last epoch on the target's test half; nothing is chosen "
    "by it. Intervals are Student's t over seeds.",
    "Every row names where its weights come from, with a checksum in the run file; "
    "rows of different origin are never compared or averaged.",
    "Training seconds leave evaluation out. Time to accuracy uses a target fixed "
    "before the run; where it was not reached, it is infinite.",
    "Controls: logistic regression on raw pixels, a probe on a frozen random network, "
    "and pixels under one fixed permutation, where transfer must not help.",
)


def published_table(run: Run) -> Table | None:
    """Return the published order of strategies beside the run's; None if no overlap."""
    published = reference("transfer_resnet50").set_index("strategy")
    lines = [
        _line(group, published.loc[STRATEGIES[group.strategy]].to_dict(), run)
        for group in groups_of(run)
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
