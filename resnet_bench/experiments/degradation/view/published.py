"""Published errors of the CIFAR family beside a run's, by arm and depth."""

from typing import Any

import pandas as pd

from resnet_bench.experiments.degradation.view.frames_part import (
    results_frame,
    standard,
)
from resnet_bench.present.published import reference
from resnet_bench.present.tables import Table
from resnet_bench.store.reading import Run

#: What the published networks were trained on.
PUBLISHED_DATASET = "cifar10"
PUBLISHED_RECIPE = "paper"

METHOD = (
    "Plain and residual networks of one depth and seed have the same parameters, start "
    "from the same weights and see the same batches; only the shortcuts are switched.",
    "The error that claims use is the clean training error of the last step: whole "
    "training set, no augmentation, fixed weights, evaluation mode, batch-norm "
    "statistics recomputed exactly. Never the best epoch.",
    "The test set is read once, at the end. Its sampling error is Wilson's interval.",
    "Intervals are Student's t over seeds, paired across the arms. A network that "
    "diverged counts as chance.",
    "A claim is SUPPORTED or REFUTED by a margin that was fixed before the run, under "
    "the number of training steps that its sentence names.",
)


def published_table(run: Run) -> Table | None:
    """Return published errors beside those of the same arm and depth here.

    None if the run trained none of the published networks.
    """
    own = standard(results_frame(run))
    longest = own.sort_values("steps").groupby(["arm", "depth"]).last()
    known = reference("cifar_plain_vs_residual").to_dict("records")
    lines = [
        _line(row, longest.loc[key].to_dict(), run)
        for row in known
        if (key := (row["arm"], int(row["depth"]))) in longest.index
    ]
    if not lines:
        return None
    return Table(
        name="published",
        title="Errors on CIFAR-10 as published, and here",
        frame=pd.DataFrame(lines, dtype=object),
        narrow=[
            *("arm", "depth", "published_train_percent", "train_percent"),
            *("published_test_percent", "test_percent", "same_protocol"),
        ],
        notes=[
            "The published figures are single-seed and unofficial: orientation only."
        ],
        headers={"same_protocol": "same protocol?"},
    )


def _line(row: dict[Any, Any], own: dict[Any, Any], run: Run) -> dict[str, Any]:
    errors = ("train_percent", "test_percent")
    measured = [f"{name}{end}" for name in errors for end in ("", "_low", "_high")]
    return {
        "arm": row["arm"],
        "depth": int(row["depth"]),
        "published_train_percent": _number(row["train_error_percent"]),
        "published_test_percent": _number(row["test_error_percent"]),
        **{name: own[name] for name in measured},
        "same_protocol": same_protocol(run, int(own["steps"])),
        "source": row["source"],
    }


def _number(published: Any) -> Any:
    """Return a published figure as a number; bounds such as `>60` stay words."""
    try:
        return float(published)
    except ValueError:
        return published


def same_protocol(run: Run, steps: int) -> str:
    """Return in what the run differs from the published training."""
    dataset, recipe = run.config.get("dataset"), run.config.get("recipe")
    found = {
        f"{dataset}, not CIFAR-10": dataset != PUBLISHED_DATASET,
        f"{steps:,} steps, not 64,000": recipe != PUBLISHED_RECIPE,
    }
    differences = [words for words, differs in found.items() if differs]
    return f"no: {', '.join(differences)}" if differences else "yes"
