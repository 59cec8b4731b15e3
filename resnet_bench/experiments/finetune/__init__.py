"""Accuracy after transfer, by variant and strategy."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resnet_bench.experiments.base import Experiment, OtherRuns
from resnet_bench.experiments.finetune.cells import (
    RECORDS,
    FinetuneCell,
)
from resnet_bench.experiments.finetune.grid import expand
from resnet_bench.experiments.finetune.spec import (
    Config,
    announce,
)
from resnet_bench.experiments.pretrain.spec import PretrainCell
from resnet_bench.records import Record
from resnet_bench.store.reading import Run

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks
    from resnet_bench.present.shown import Shown


class Finetune(Experiment[Config, FinetuneCell | PretrainCell]):
    """Measure accuracy after transfer, by fine-tuning strategy."""

    name = "finetune"
    title = "Fine-tuning"
    question = "What does transfer give with few labels?"
    answers = ("gain-from-transfer", "accuracy-by-variant")
    config = Config
    records = RECORDS
    runs_on_page = 3
    examples = (
        "finetune --data-dir photos --save-model networks",
        "finetune --dataset cifar10 --data-dir ~/data --weights imagenet",
    )
    method = (
        "Accuracy is that of the last epoch on the target's test half; nothing is "
        "selected by it. Intervals are over seeds and test images, on the logit "
        "scale; renderings of one digit count as one image.",
        "Every row names where its weights come from, with a checksum in the run "
        "file; rows of different origin are never compared or averaged.",
        "Training time excludes evaluation. Time to accuracy uses a target fixed "
        "before the run; it is infinite where the target was not reached.",
        "The controls are logistic regression on raw pixels, a probe on a frozen "
        "random network, and pixels under one fixed permutation, where transfer must "
        "not help.",
    )

    def expand(self, config: Config) -> Sequence[FinetuneCell | PretrainCell]:
        """Return the cells that a prepared config comes to."""
        return expand(config)

    def prepare(self, config: Config) -> Config:
        """Return the config as it is carried out here; raises UsageError."""
        from resnet_bench.experiments.finetune.run import prepare

        return prepare(config)

    def announcements(self, config: Config) -> Sequence[str]:
        """Say where the weights come from, and what a folder of images holds."""
        return [*announce(config), *config.announce_folder()]

    def rehearse(self, config: Config) -> None:
        """Load, or download if asked, the data and weights."""
        from resnet_bench.experiments.finetune.run import rehearse

        rehearse(config)

    def estimate(
        self, config: Config, cells: Sequence[FinetuneCell | PretrainCell]
    ) -> float | None:
        """Return the seconds that the cells take one after the other."""
        from resnet_bench.experiments.finetune.run import estimate

        return estimate(config, cells)

    def run(
        self, cell: FinetuneCell | PretrainCell, ranks: "Ranks"
    ) -> Iterator[Record]:
        """Yield what the cell measures."""
        from resnet_bench.experiments.finetune.run import run

        return run(cell, ranks)

    def show(self, run: Run, others: OtherRuns) -> "Shown":
        """Return what the run shows."""
        from resnet_bench.experiments.finetune.view.show import show

        return show(run, others)
