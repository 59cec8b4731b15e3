"""How accurate a variant is: as torchvision published it, or as `finetune` measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.view.groups import Group, groups_of
from resnet_bench.present.published import reference
from resnet_bench.store.reading import Run

#: torchvision's accuracies are for this image size.
IMAGENET_SIZE = 224


@dataclass(frozen=True)
class Accuracy:
    """A top-1 accuracy in percent, for images of one size, and where it is from.

    `weights` names torchvision's weights, or how the network was fine-tuned.
    """

    percent: float
    weights: str
    image_size: int
    published: bool

    @property
    def origin(self) -> str:
        """In words whose figure it is."""
        if self.published:
            return f"ImageNet top-1 of torchvision's {self.weights}, not measured here"
        return f"measured here: {self.weights}"


def published_accuracies() -> dict[int, Accuracy]:
    """Return the best published accuracy of each variant."""
    found = {depth: best_weights(depth) for depth in VARIANTS}
    return {
        depth: Accuracy(best[1], best[0], IMAGENET_SIZE, published=True)
        for depth, best in found.items()
        if best is not None
    }


def best_weights(variant: int) -> tuple[str, float] | None:
    """Return torchvision's best weights of a variant and their top-1 in percent."""
    table = reference("torchvision_weights")
    found = table[table["variant"] == variant]
    if found.empty:
        return None
    best = found.sort_values("acc1_percent").iloc[-1]
    return str(best["weights"]), float(best["acc1_percent"])


def finetuned_accuracies(runs: Sequence[Run]) -> dict[int, Accuracy]:
    """Return each variant's best strategy in the newest of `finetune`'s runs.

    `runs` are in the order of time. One run only: accuracies on two tasks are not
    set against each other.
    """
    for run in reversed(runs):
        whole = [each for each in groups_of(run) if _counts(each)]
        if whole:
            dataset = str(run.config.get("dataset") or "the run's images")
            return _best_of_each(whole, dataset)
    return {}


def _counts(group: Group) -> bool:
    return group.variant is not None and group.fraction == 1 and not group.is_control


def _best_of_each(groups: Sequence[Group], dataset: str) -> dict[int, Accuracy]:
    best: dict[int, Group] = {}
    for group in groups:
        known = best.get(int(group.variant or 0), group)
        winner = max(known, group, key=lambda each: each.accuracy.estimate)
        best[int(group.variant or 0)] = winner
    return {
        depth: Accuracy(
            group.accuracy.estimate,
            f"{group.strategy} on {dataset}, {len(group.by_seed)} seeds",
            int(group.rows[0]["image_size"]),
            published=False,
        )
        for depth, group in best.items()
    }


#: What is known of each variant's accuracy.
Accuracies = Mapping[int, Accuracy]
