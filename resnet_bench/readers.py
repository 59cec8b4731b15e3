"""What the commands can be asked that read runs and the machine, not measure."""

from dataclasses import dataclass
from pathlib import Path

from resnet_bench.options import option


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
        False, help="Write tables and figures beside the runs shown again too."
    )
