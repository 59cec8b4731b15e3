"""`resnet-bench recommend`: which ResNet fits a budget on this machine."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from resnet_bench.catalogue import RUNTIMES, VARIANTS
from resnet_bench.commands.table import Reader
from resnet_bench.errors import ExitCode, UsageError
from resnet_bench.execution.base import machine_environment
from resnet_bench.options import ExportOptions, ResultsOptions, option
from resnet_bench.output import Output
from resnet_bench.present.exports import check_exports, show
from resnet_bench.present.shown import Shown

if TYPE_CHECKING:
    from resnet_bench.reports.recommend import Machine, Question

#: Beyond these a time in seconds or its inverse is no number any more.
SMALLEST, LARGEST = 1e-9, 1e15


@dataclass(frozen=True, kw_only=True)
class RecommendConfig(ResultsOptions, ExportOptions):
    """`recommend`: which ResNet fits a budget on this machine."""

    latency_ms: float | None = option(
        None,
        help="Milliseconds a call may take (one image, or -b images).",
        minimum=SMALLEST,
        maximum=LARGEST,
    )
    images_per_second: float | None = option(
        None,
        help="Images per second to reach.",
        minimum=SMALLEST,
        maximum=LARGEST,
    )
    mode: str = option(
        "infer",
        choices=("infer", "train"),
        help="What is timed: inference or a training step.",
    )
    device: str = option(
        "auto",
        metavar="auto|cpu|cuda|cuda:N",
        help="Device whose times count; auto prefers CUDA.",
    )
    batch_size: int = option(
        1,
        flags=("-b",),
        help="Images per call; other batches are not used.",
        minimum=1,
    )
    accuracy: str = option(
        "published",
        choices=("published", "finetune"),
        help="torchvision's ImageNet top-1, or that of this machine's newest finetune.",
    )
    measure: bool = option(
        False, help="Time all variants first (see speed), then answer."
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

        per_image = self.latency_ms is None
        seconds = 1 / (self.images_per_second or 1)
        if self.latency_ms is not None:
            seconds = self.latency_ms / 1e3
        budget = Budget(seconds, self.mode, per_image, self.batch_size)
        return Question(self.results, budget, self.accuracy)


def show_recommendation(config: RecommendConfig, output: Output) -> ExitCode:
    """Answer which ResNet fits the budget on this machine.

    INCOMPLETE when nothing does. Raises NotComparableError without a run to answer
    from, and UsageError for a missing device.
    """
    from resnet_bench.engine.devices import choose
    from resnet_bench.engine.runtimes.base import missing_packages
    from resnet_bench.present.machines import machine_title
    from resnet_bench.reports.recommend import Machine, recommend

    device = choose(config.device).name
    environment = machine_environment()
    machine = Machine(
        environment["machine_key"],
        device,
        machine_title(environment, device),
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=(environment.get("git") or {}).get("commit"),
        absent=frozenset(name for name in RUNTIMES if missing_packages(name)),
    )
    if config.measure:
        check_exports(config, output)
        _measure(config.question, machine, output)
    found = recommend(config.question, machine)
    show(Shown(json=found.json, tables=[found.table]), config, output)
    return ExitCode.OK if found.chosen else ExitCode.INCOMPLETE


def _measure(question: "Question", machine: "Machine", output: Output) -> None:
    """Time what the question needs and store the run, without printing its tables."""
    from resnet_bench.commands.run import RunRequest, Session
    from resnet_bench.experiments import EXPERIMENTS
    from resnet_bench.reports.recommend import known_accuracies, measurement
    from resnet_bench.reports.stored import StoredRuns

    accuracies = known_accuracies(StoredRuns(question.results), question, machine)
    sizes = {accuracy.image_size for accuracy in accuracies.values()}
    words = measurement(question, machine, min(sizes))
    request = RunRequest(results=question.results)
    session = Session(EXPERIMENTS["speed"], request, output, words, present=say_notices)
    session.carry_out(
        {
            "variants": tuple(VARIANTS),
            "device": machine.device,
            "batch_size": (question.budget.batch_size,),
            "image_size": (min(sizes),),
            "mode": question.budget.goal,
        }
    )


def say_notices(shown: Shown, options: ExportOptions, output: Output) -> None:
    """Print what disturbed a run that only serves a recommendation."""
    for notice in shown.notices:
        output.say(notice)


RECOMMEND = Reader(
    RecommendConfig,
    show_recommendation,
    (
        "recommend --latency-ms 50 --device cpu --measure",
        "recommend --images-per-second 100 --mode train --json",
    ),
)
