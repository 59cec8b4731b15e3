"""`resnet-bench recommend`: which ResNet fits a budget on this machine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_bench.commands.table import Reader
from resnet_bench.errors import ExitCode, UsageError
from resnet_bench.execution.base import machine_environment
from resnet_bench.options import ExportOptions, ResultsOptions, option
from resnet_bench.output import Output
from resnet_bench.present.printing import show
from resnet_bench.present.shown import Shown

if TYPE_CHECKING:
    from resnet_bench.reports.recommend import Question

#: Beyond these a time in seconds or its inverse is no number any more.
SMALLEST, LARGEST = 1e-9, 1e15


@dataclass(frozen=True, kw_only=True)
class RecommendConfig(ResultsOptions, ExportOptions):
    """`recommend`: which ResNet fits a budget on this machine."""

    latency_ms: float | None = option(
        None,
        help="Milliseconds that a call on one batch may take.",
        minimum=SMALLEST,
        maximum=LARGEST,
    )
    images_per_second: float | None = option(
        None,
        help="Images that have to go through each second.",
        minimum=SMALLEST,
        maximum=LARGEST,
    )
    mode: str = option(
        "infer", choices=("infer", "train"), help="What a call is: inference or a step."
    )
    device: str = option(
        "auto",
        metavar="auto|cpu|cuda|cuda:N",
        help="Whose times count; auto prefers CUDA.",
    )
    batch_size: tuple[int, ...] = option(
        (),
        flags=("-b",),
        help="Only these batches [default: all that were timed].",
        minimum=1,
    )
    accuracy: str = option(
        "published",
        choices=("published", "finetune"),
        help="torchvision's ImageNet top-1, or that of this machine's newest finetune.",
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        super().__post_init__()
        if (self.latency_ms is None) == (self.images_per_second is None):
            raise UsageError(
                "recommend: expected one of --latency-ms and --images-per-second"
            )

    @property
    def question(self) -> "Question":
        """What is asked of the runs in the results folder."""
        from resnet_bench.reports.budgets import Budget
        from resnet_bench.reports.recommend import Question

        if self.latency_ms is not None:
            budget = Budget(self.latency_ms / 1e3, self.mode)
        else:
            seconds = 1 / (self.images_per_second or 1)
            budget = Budget(seconds, self.mode, per_image=True)
        return Question(self.results, budget, self.batch_size, self.accuracy)


def show_recommendation(config: RecommendConfig, output: Output) -> ExitCode:
    """Answer which ResNet fits the budget on this machine.

    INCOMPLETE when nothing does. Raises NotComparableError without a run to answer
    from, and UsageError for a device that is not there.
    """
    from resnet_bench.engine.devices import choose
    from resnet_bench.present.machines import machine_title
    from resnet_bench.reports.recommend import Machine, recommend

    device = choose(config.device).name
    environment = machine_environment()
    title = machine_title(environment, device)
    found = recommend(
        config.question, Machine(environment["machine_key"], device, title)
    )
    show(Shown(json=found.json, tables=[found.table]), config, output)
    return ExitCode.OK if found.chosen else ExitCode.INCOMPLETE


RECOMMEND = Reader(
    RecommendConfig,
    show_recommendation,
    (
        "recommend --latency-ms 50 --device cpu",
        "recommend --images-per-second 100 --mode train --json",
    ),
)
