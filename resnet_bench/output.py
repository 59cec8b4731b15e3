"""The output of every command: where text goes, how much of it, in which colour."""

import codecs
import contextlib
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TextIO

from resnet_bench.errors import InputOutputError
from resnet_bench.options import OUTPUT, STDOUT, option

if TYPE_CHECKING:
    from rich.console import Console

COLORS = ("auto", "always", "never")

#: What a terminal obeys or a reader cannot see: controls but line end and tab, marks
#: that turn the direction of text, other line ends, and halves of characters.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return a text with control characters shown as such: `\x1b` for an escape."""
    return UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


#: How streams that know few characters get the commonest others.
SPELLED = {
    "±": "+-",
    "µ": "u",
    "…": "...",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "\u00d7": "x",
    "—": "-",
    "\u2013": "-",
    "·": "|",
    "∞": "inf",
}

#: The name under which Python calls `spelled`.
SPELLING = "resnet-bench.spelled"


def spelled(error: UnicodeError) -> tuple[str, int]:
    """Return what is written for characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    told = (SPELLED.get(each) or ascii(each)[1:-1] for each in lacking)
    return "".join(told), error.end


def check_writable(
    folder: Path, name: str = "results folder", remedy: str = ""
) -> None:
    """Make a folder and write a file in it, before anything is measured.

    `name` is what it is to people. Raises InputOutputError, with the remedy.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 65536)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise InputOutputError(
            f"cannot write to {name} {folder}: {error.strerror or error}{remedy}"
        ) from error


def settle_streams() -> None:
    """Make stdout and stderr writable, whatever state the caller left them in.

    A closed one is the null device from here on: a run file must not get its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    codecs.register_error(SPELLING, spelled)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=SPELLING)


@dataclass(frozen=True, kw_only=True)
class DisplayOptions:
    """How much is printed, and in which colour."""

    heading: ClassVar[str] = OUTPUT

    quiet: bool = option(False, flags=("-q",), help="Print only the result.")
    verbose: int = option(
        0,
        flags=("-v",),
        count=True,
        help="Print more; -vv adds an error's traceback.",
    )
    color: str = option(
        "auto", choices=COLORS, help="Colours; auto follows the terminal and NO_COLOR."
    )


@dataclass(frozen=True)
class Output:
    """Results go to stdout; progress, warnings and file names to stderr."""

    display: DisplayOptions

    def console(self, stream: TextIO | None = None) -> "Console":
        """Return a rich console on stdout, or on the stream given."""
        from rich.console import Console

        return Console(
            file=stream or sys.stdout,
            force_terminal=self._forced(),
            no_color=self.display.color == "never" or None,
            highlight=False,
            soft_wrap=True,
        )

    def _forced(self) -> bool | None:
        if self.display.color == "always":
            return True
        if os.environ.get("TERM") == "dumb":
            return False
        return None

    @property
    def interactive(self) -> bool:
        """Whether stderr can show a line that changes."""
        dumb = os.environ.get("TERM", "dumb") == "dumb"
        return sys.stderr.isatty() and not dumb and not self.display.quiet

    def write(self, text: str) -> None:
        """Write a result to stdout, control characters shown as such."""
        text = printable(text)
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()

    def check_export(self, path: Path) -> None:
        """Try a file out before the work that fills it; raises InputOutputError.

        What is there stays as it is; a pipe is left alone, since its reader would
        take the closing for the end.
        """
        there = path.exists()
        if path == STDOUT or (there and not (path.is_file() or path.is_dir())):
            return
        # A link stays, whether or not it leads to a file.
        place = Path(os.path.realpath(path))
        try:
            place.open("a").close()
            if not there:
                place.unlink()
        except OSError as error:
            raise InputOutputError(f"cannot write {path}: {error.strerror}") from error

    def export(self, path: Path, text: str) -> None:
        """Write a result to a file, or to stdout for `-`; raises InputOutputError."""
        if path == STDOUT:
            self.write(text)
            return
        try:
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise InputOutputError(f"cannot write {path}: {error.strerror}") from error
        self.say(f"wrote {path}")

    def say(self, text: str) -> None:
        """Write a progress line to stderr, unless quiet."""
        if not self.display.quiet:
            to_stderr(text)

    def warn(self, text: str) -> None:
        """Write a warning to stderr, quiet or not."""
        to_stderr(f"warning: {text}")


def to_stderr(text: str) -> None:
    """Write a line, control characters shown as such.

    A terminal that has gone does not end a measurement.
    """
    with contextlib.suppress(OSError):
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
