"""Training on a source task, for later transfer."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resnet_bench.experiments.base import Experiment, OtherRuns
from resnet_bench.experiments.pretrain.spec import RECORDS, Config, PretrainCell, expand
from resnet_bench.records import Record
from resnet_bench.store.reading import Run

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks
    from resnet_bench.present.shown import Shown


class Pretrain(Experiment[Config, PretrainCell]):
    """Train checkpoints from which finetune can start."""

    name = "pretrain"
    title = "Source weights"
    config = Config
    records = RECORDS
    examples = (
        "pretrain --variants 18,34",
        "pretrain --variants 50 --dataset cifar100 --data-dir ~/data",
    )

    def expand(self, config: Config) -> Sequence[PretrainCell]:
        """Return the cells that a prepared config comes to."""
        return expand(config)

    def prepare(self, config: Config) -> Config:
        """Return the config as it is carried out here; raises UsageError."""
        from resnet_bench.experiments.pretrain.run import prepare

        return prepare(config)

    def announcements(self, config: Config) -> Sequence[str]:
        """Say what a folder of images holds."""
        return config.announce_folder()

    def rehearse(self, config: Config) -> None:
        """Load, or download if asked, the data and weights."""
        from resnet_bench.experiments.pretrain.run import rehearse

        rehearse(config)

    def estimate(self, config: Config, cells: Sequence[PretrainCell]) -> float | None:
        """Return the seconds that the cells take one after the other."""
        from resnet_bench.experiments.pretrain.run import estimate

        return estimate(config, list(cells))

    def run(self, cell: PretrainCell, ranks: "Ranks") -> Iterator[Record]:
        """Yield what the cell measures."""
        from resnet_bench.experiments.pretrain.run import run

        return run(cell, ranks)

    def show(self, run: Run, others: OtherRuns) -> "Shown":
        """Return what the run shows."""
        from resnet_bench.experiments.pretrain.view import show

        return show(run, others)
