"""Reading run files: what was committed, in one typed object."""

import lzma
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_bench.errors import InputOutputError
from resnet_bench.records import Record
from resnet_bench.store.format import (
    RUN_ID,
    DamagedLineError,
    ExcessiveLineError,
    check_line,
    decode,
    decode_outline,
    is_whole,
    upgraded,
)

RUN_FILE = "run.jsonl"
#: No run file may be larger, unpacked: the largest of results/ has 11 MB.
LARGEST_BYTES = 200_000_000
#: Options that name a folder and say nothing of what was measured.
RESULTS_OPTIONS = ("-o", "--results")

#: What `xz run.jsonl` makes of it: an archived run, which is not resumed.
PACKED_RUN_FILE = "run.jsonl.xz"

#: Returns the content of the line of a number; raises DamagedLineError.
Decode = Callable[[bytes, int], dict[str, Any]]


@dataclass(frozen=True)
class CellEnd:
    """How an attempt at a cell ended; `status` is "ok" or "failed"."""

    status: str
    attempt: int
    error: str | None = None
    seconds: float | None = None
    group: int = 0
    #: The node it ran on, where a run has several; `Run.header["nodes"]` tells more.
    node: str | None = None


@dataclass(frozen=True)
class Run:
    """A run as read from its file.

    `records` holds the committed records only, each with its "type", "cell" and
    "attempt". `status` is "complete" or "partial"; `problems` are sentences about
    what was left out when reading.
    """

    folder: Path
    header: dict[str, Any]
    records: list[dict[str, Any]]
    cells: dict[str, CellEnd]
    status: str
    resumes: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    #: The highest attempt at each cell that left a trace, committed or not.
    attempts: dict[str, int] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The run id, which is also the folder's name."""
        return str(self.header["run"])

    @property
    def experiment(self) -> str:
        """The name of the experiment."""
        return str(self.header["experiment"])

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return dict(self.header.get("config") or {})

    @property
    def environment(self) -> dict[str, Any]:
        """The machine and software the run started on."""
        return dict(self.header.get("environment") or {})

    @property
    def device(self) -> str:
        """The device that the run measured."""
        return str(self.config.get("device") or "cpu")

    @property
    def command(self) -> str:
        """The command line of the run as stored, but for where its results went."""
        words = iter(map(str, self.header.get("argv") or []))
        kept = ["resnet-bench"]
        for word in words:
            if word in RESULTS_OPTIONS:
                next(words, None)
            elif not word.startswith("--results="):
                kept.append(word)
        return " ".join(kept)

    @property
    def words(self) -> list[str]:
        """The words of the command line; of `--option=value` the option alone."""
        argv = self.header.get("argv") or []
        return [str(word).partition("=")[0] for word in argv]

    @property
    def machine_key(self) -> str | None:
        """The hash of the hardware, by which runs may be compared."""
        return self.environment.get("machine_key")

    @property
    def grid(self) -> dict[str, dict[str, Any]]:
        """The parameters of every planned cell by key."""
        return dict(self.header.get("cells") or {})

    @property
    def failed(self) -> dict[str, CellEnd]:
        """The cells whose last attempt failed."""
        return {key: end for key, end in self.cells.items() if end.status != "ok"}

    @property
    def missing(self) -> list[str]:
        """Keys of planned cells that no attempt finished."""
        return [key for key in self.grid if key not in self.cells]

    def rows(self, record: type[Record] | str) -> list[dict[str, Any]]:
        """Return the records of one type, each joined with its cell's parameters."""
        name = record if isinstance(record, str) else record.type_name()
        grid = self.grid
        return [
            {**grid.get(row["cell"], {}), **row}
            for row in self.records
            if row["type"] == name
        ]


def read_run(folder: Path) -> Run:
    """Read the run in `folder` (or the run file itself), whose id is its folder's name.

    A torn end is left out and noted. Raises InputOutputError when the file is
    missing, damaged before its end, or of a newer schema.
    """
    return _read_run(folder, decode)


def read_outline(folder: Path) -> Run:
    """Read a run as `read_run` does, its records without their values.

    A list of many runs has no use for these, and they take most of the time.
    """
    return _read_run(folder, decode_outline)


def _read_run(folder: Path, decode_line: Decode) -> Run:
    path = run_file(folder) if folder.is_dir() else folder
    content = read_lines(path, decode_line)
    header, *rest = upgraded(content.lines, str(path))
    return assemble(path.parent, [_named(header, path), *rest], content.problems)


def _named(header: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the first line with the folder's name as the run's id, if it can be one.

    Where a folder was copied its name tells which of two runs is meant. A file under
    another name, such as a baseline's, keeps its id.
    """
    name = path.resolve().parent.name
    if path.name in (RUN_FILE, PACKED_RUN_FILE) and RUN_ID.fullmatch(name):
        check_line(header, str(path))
        return {**header, "run": name}
    return header


def run_file(folder: Path) -> Path:
    """Return the path of a folder's run file, packed or not; it may not exist."""
    usual, packed = folder / RUN_FILE, folder / PACKED_RUN_FILE
    return packed if packed.is_file() and not usual.is_file() else usual


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a run file, or of another one no larger, unpacked.

    Raises InputOutputError, also if it is not a file or larger than any run.
    """
    try:
        # A pipe would be waited for, a device read for ever.
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise InputOutputError(f"cannot read {path}: not a regular file")
        with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except (EOFError, lzma.LZMAError) as error:
        raise InputOutputError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise InputOutputError(
            f"cannot read {path}: {error.strerror or error}"
        ) from error
    if len(raw) > LARGEST_BYTES:
        limit = f"{LARGEST_BYTES / 1e6:.0f} MB"
        raise InputOutputError(f"{path} is larger than the limit of {limit}")
    return raw


def read_text(path: Path) -> str:
    """Return the text of a file that somebody else may have written.

    Raises InputOutputError as `read_bytes`, and for one that is not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InputOutputError(f"cannot read {path}: it is not UTF-8") from error


@dataclass(frozen=True)
class Content:
    """The whole lines of a run file; they end at byte `whole_bytes`."""

    lines: list[dict[str, Any]]
    whole_bytes: int
    problems: list[str]


def read_lines(path: Path, decode_line: Decode = decode) -> Content:
    """Decode the lines of a run file.

    What a crash leaves at the end, damaged lines with no whole line after them, is
    left out and named in `problems`. Raises InputOutputError when the file cannot
    be read, is no run file, or is damaged before its end.
    """
    content = _decoded(read_bytes(path).split(b"\n"), path, decode_line)
    if not content.lines or content.lines[0].get("kind") != "run":
        raise InputOutputError(f"{path}: not a run file")
    return content


def _decoded(pieces: list[bytes], path: Path, decode_line: Decode) -> Content:
    lines: list[dict[str, Any]] = []
    whole_bytes = 0
    if pieces and not pieces[-1]:
        pieces = pieces[:-1]
    for index, piece in enumerate(pieces):
        if piece.strip():
            try:
                lines.append(decode_line(piece, len(lines)))
            except DamagedLineError as error:
                excessive = isinstance(error, ExcessiveLineError)
                if not lines or excessive or any(map(is_whole, pieces[index + 1 :])):
                    raise InputOutputError(
                        f"{path}: line {index + 1} is damaged ({error})"
                    ) from error
                problem = (
                    f"{path}: damaged from line {index + 1} on; the rest was ignored"
                )
                return Content(lines, whole_bytes, [problem])
        whole_bytes += len(piece) + 1
    return Content(lines, whole_bytes, [])


def assemble(
    folder: Path,
    lines: Iterable[dict[str, Any]],
    problems: list[str] | None = None,
    *,
    committed_only: bool = True,
) -> Run:
    """Build the run from decoded lines of the current schema.

    `committed_only=False` keeps the records of cells still running, for a live
    view. Raises InputOutputError when a line lacks what its kind must have.
    """
    header, *rest = lines
    for line in (header, *rest):
        check_line(line, str(folder))
    cells = {line["cell"]: _cell_end(line) for line in rest if line["kind"] == "cell"}
    ends = [line["status"] for line in rest if line["kind"] == "end"]
    return Run(
        folder=folder,
        header=header,
        records=[
            {key: value for key, value in line.items() if key != "kind"}
            for line in rest
            if line["kind"] == "record" and _counts(line, cells, committed_only)
        ],
        cells=cells,
        status="complete" if ends and ends[-1] == "complete" else "partial",
        resumes=[line for line in rest if line["kind"] == "resume"],
        problems=problems or [],
        attempts=_attempts(rest),
    )


def _attempts(lines: Iterable[dict[str, Any]]) -> dict[str, int]:
    attempts: dict[str, int] = {}
    for line in lines:
        if line["kind"] in ("record", "cell"):
            seen = attempts.get(line["cell"], 0)
            attempts[line["cell"]] = max(seen, line["attempt"])
    return attempts


def _cell_end(line: dict[str, Any]) -> CellEnd:
    return CellEnd(
        status=line["status"],
        attempt=line["attempt"],
        error=line.get("error"),
        seconds=line.get("seconds"),
        group=line.get("group", 0),
        node=line.get("node"),
    )


def _counts(
    line: dict[str, Any], cells: dict[str, CellEnd], committed_only: bool
) -> bool:
    end = cells.get(line["cell"])
    if end is None:
        return not committed_only
    return end.status == "ok" and end.attempt == line["attempt"]
