"""Plain against residual networks of identical weights, with a verdict per claim."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resnet_bench.experiments.base import Experiment, OtherRuns
from resnet_bench.experiments.degradation.records import DegradationCell
from resnet_bench.experiments.degradation.spec import Config, expand
from resnet_bench.experiments.degradation.studies import RECORDS
from resnet_bench.records import Record
from resnet_bench.store.reading import Run

if TYPE_CHECKING:
    from resnet_bench.engine.ranks import Ranks
    from resnet_bench.present.shown import Shown


class Degradation(Experiment[Config, DegradationCell]):
    """Compare plain and residual networks of several depths."""

    name = "degradation"
    title = "Degradation"
    question = "Why residual: what does a shortcut change?"
    answers = ("landscape", "training-curves", "error-by-depth")
    config = Config
    records = RECORDS
    examples = (
        "degradation",
        "degradation --study depth,lesion --depths 8,20,56 --seeds 5",
    )
    method = (
        "Plain and residual networks of the same depth and seed have the same "
        "parameters, start from the same weights and see the same batches; they "
        "differ only in the shortcuts.",
        "Claims use the clean training error of the last step, never of the best "
        "epoch: whole training set, no augmentation, fixed weights, evaluation mode, "
        "batch-norm statistics recomputed exactly.",
        "The test set is read once, at the end. Its sampling error is given by "
        "Wilson's interval.",
        "Claims about trainings count seeds and use exact tests. Intervals of "
        "gradients and other means are Student's t over seeds, plain and residual "
        "paired. A network that diverged counts as chance level.",
        "A claim is SUPPORTED or REFUTED by a margin that was fixed before the run, "
        "and for the number of training steps that its sentence names.",
    )

    def expand(self, config: Config) -> Sequence[DegradationCell]:
        """Return the cells that a prepared config comes to."""
        return expand(config)

    def prepare(self, config: Config) -> Config:
        """Return the config as it is carried out here; raises UsageError."""
        from resnet_bench.experiments.degradation.run import prepare

        return prepare(config)

    def announcements(self, config: Config) -> Sequence[str]:
        """Say what a folder of images holds."""
        return config.announce_folder()

    def rehearse(self, config: Config) -> None:
        """Load, or download if asked, the data and weights."""
        from resnet_bench.experiments.degradation.run import rehearse

        rehearse(config)

    def estimate(
        self, config: Config, cells: Sequence[DegradationCell]
    ) -> float | None:
        """Return the seconds that the cells take one after the other."""
        from resnet_bench.experiments.degradation.run import estimate

        return estimate(config, cells)

    def run(self, cell: DegradationCell, ranks: "Ranks") -> Iterator[Record]:
        """Yield what the cell measures."""
        from resnet_bench.experiments.degradation.run import run

        return run(cell, ranks)

    def show(self, run: Run, others: OtherRuns) -> "Shown":
        """Return what the run shows."""
        from resnet_bench.experiments.degradation.view.show import show

        return show(run, others)
