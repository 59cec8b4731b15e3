"""What the commands can be asked that read runs and the machine, not measure."""

from dataclasses import dataclass
from pathlib import Path

from resnet_bench.errors import UsageError
from resnet_bench.options import check, option


@dataclass(frozen=True, kw_only=True)
class ResultsConfig:
    """Where runs live; the same on every command."""

    results: Path = option(
        Path("results"), flags=("-o",), help="Folder in which runs are kept."
    )


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """In which forms a result is given."""

    json: bool = option(False, help="Print the result as one JSON object.")
    export_json: Path | None = option(
        None, help="Write the JSON object to a file; - is stdout.", metavar="FILE|-"
    )
    export_csv: Path | None = option(
        None, help="Write the table as CSV; - is stdout.", metavar="FILE|-"
    )
    export_markdown: Path | None = option(
        None, help="Write the tables as Markdown; - is stdout.", metavar="FILE|-"
    )
    wide: bool = option(False, help="Show every column of the tables.")

    @property
    def exports(self) -> dict[str, Path]:
        """The exports asked for: format and where to."""
        asked = {
            "json": self.export_json,
            "csv": self.export_csv,
            "markdown": self.export_markdown,
        }
        return {name: path for name, path in asked.items() if path is not None}


@dataclass(frozen=True, kw_only=True)
class ListConfig(ResultsConfig):
    """`list`: the stored runs."""

    json: bool = option(False, help="Print one JSON object.")
    wide: bool = option(False, help="Show every column.")


@dataclass(frozen=True, kw_only=True)
class ShowConfig(ResultsConfig, ExportOptions):
    """`show`: one stored run."""

    run: str = option(
        "latest",
        argument=True,
        metavar="[RUN]",
        help="A run id, its beginning, a folder, or latest.",
    )


@dataclass(frozen=True, kw_only=True)
class RecommendConfig(ResultsConfig, ExportOptions):
    """`recommend`: which ResNet fits a budget on this machine."""

    latency_ms: float | None = option(
        None, help="Milliseconds that a call on one batch may take."
    )
    images_per_second: float | None = option(
        None, help="Images that have to go through each second."
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
        (), flags=("-b",), help="Only these batches [default: all that were timed]."
    )
    accuracy: str = option(
        "published",
        choices=("published", "finetune"),
        help="torchvision's ImageNet top-1, or that of this machine's newest finetune.",
    )

    def __post_init__(self) -> None:
        """Check the values; raises UsageError."""
        if (self.latency_ms is None) == (self.images_per_second is None):
            raise UsageError(
                "recommend: expected one of --latency-ms and --images-per-second"
            )
        budgets = {
            "--latency-ms": self.latency_ms,
            "--images-per-second": self.images_per_second,
        }
        for name, value in budgets.items():
            # Beyond these a time in seconds or its inverse is no number any more.
            accepted = value is None or 1e-9 <= value <= 1e15
            check(accepted, name, value, "a number above 0")
        for size in self.batch_size:
            check(size >= 1, "--batch-size", size, "a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """`doctor`: what this machine is, and what would spoil a measurement."""

    json: bool = option(False, help="Print one JSON object.")


@dataclass(frozen=True, kw_only=True)
class ReportConfig(ResultsConfig):
    """`report`: stored runs as one page."""

    runs: tuple[str, ...] = option(
        (),
        argument=True,
        metavar="[RUN…]",
        help="Runs to show; without any, the newest of each machine and question.",
    )
    html: Path | None = option(
        None,
        metavar="FILE",
        help="Where the page goes [default: report.html in the results folder, with "
        "a README.md beside it].",
    )
    readme: tuple[Path, ...] = option(
        (),
        metavar="FILE,…",
        help="Render the marked blocks of these pages too.",
    )
    refresh: bool = option(
        False, help="Write tables and figures beside the complete runs again too."
    )
